"""The machine around the command: tools that are not there, rights, a full disk, another run."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

import pytest

from bad_input.cause import Cause, Place
from support.project import MODEL, edit_params

RUN = ("run", MODEL)
STAGES = ("artifacts", "dvc.lock")
HOLD = """
import fcntl, os, sys, time
stream = open(sys.argv[1], "a+")
fcntl.flock(stream, fcntl.LOCK_EX)
os.ftruncate(stream.fileno(), 0)
os.write(stream.fileno(), str(os.getpid()).encode())
print("held", flush=True)
mark = f":{os.fstat(stream.fileno()).st_ino} "
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    time.sleep(0.2)
    if any("->" in line and mark in line for line in open("/proc/locks")):  # somebody waits for it
        break
"""


def environment(**values: str | None) -> Callable[[Place], None]:
    """Set variables, or unset those that are None; ``{folder}`` is filled in."""

    def arrange(place: Place) -> None:
        for name, value in values.items():
            place.env.pop(name, None)
            if value is not None:
                place.env[name] = value.format(folder=place.folder)

    return arrange


def removed(*names: str) -> Callable[[Place], None]:
    def arrange(place: Place) -> None:
        for name in names:
            path = place.root / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return arrange


def held(name: str, seconds: float) -> Callable[[Place], None]:
    """Another process holds a lock of the project's; it lets go when somebody waits, or after ``seconds``."""

    def arrange(place: Place) -> None:
        path = place.root / ".finetide" / name
        path.parent.mkdir(exist_ok=True)
        holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path), str(seconds)], stdout=subprocess.PIPE)
        atexit.register(holder.kill)
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"

    return arrange


def rights(name: str, mode: int) -> Callable[[Place], None]:
    """Take rights away from the user that the command runs as. Root, who arranges it, keeps all."""

    def arrange(place: Place) -> None:
        for folder in place.folder.parents:  # pytest's own folders are closed to others
            if folder.stat().st_mode & 0o055 != 0o055:
                folder.chmod(folder.stat().st_mode | 0o055)
        place.env["HOME"] = str(place.folder)
        path = place.root / name
        path.chmod(mode)

    return arrange


def full_disk(name: str) -> Callable[[Place], None]:
    """A disk of its own below the project, with what was there before and no room for one byte more."""

    def arrange(place: Place) -> None:
        path = place.root / name
        kept = place.folder / "kept"
        path.rename(kept)
        small_disk(name, 1024)(place)
        shutil.copytree(kept, path, dirs_exist_ok=True)
        shutil.rmtree(kept)
        with (path / "filler.tmp").open("wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(4096))

    return arrange


def small_disk(name: str, kilobytes: int) -> Callable[[Place], None]:
    """A disk of its own below the project, with room for nearly nothing."""

    def arrange(place: Place) -> None:
        path = place.root / name
        path.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(path)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no disk can be mounted here: {getattr(error, 'stderr', error)}".strip())
        atexit.register(subprocess.run, ["umount", "--lazy", str(path)], check=False)

    return arrange


def both(*arranges: Callable[[Place], None]) -> Callable[[Place], None]:
    def arrange(place: Place) -> None:
        for one in arranges:
            one(place)

    return arrange


def broken_dvc_config(place: Place) -> None:
    (place.root / ".dvc" / "config").write_text("[core\n")


def other_floor(place: Place) -> None:
    """Makes the judge stage stale."""
    edit_params(place.root, lambda params: params["judge"].update(floor=0.01))


INIT = ("init", "{root}", "--task", "text-classification", "--name", MODEL, "--reference", "{folder}/shop.csv",
        "--text", "body", "--label", "intent", "--base", "{folder}/micro-base")  # fmt: skip
ADVANCE = ("advance", MODEL, "{folder}/week-47.csv")


def week_47(place: Place) -> None:
    (place.folder / "week-47.csv").write_text("body,intent,side\nwhere is my parcel,delivery,train\n")


CAUSES = [
    # Tools.
    Cause("no tool", "run without git", RUN, environment(PATH="{folder}/nothing"), 2,
          ("git is not installed", "apt install git")),
    Cause("no tool", "init without git", INIT, environment(PATH="{folder}/nothing"), 2,
          ("git is not installed",), start="empty"),
    Cause("no tool", "check without git", ("check",), environment(PATH="{folder}/nothing"), 2,
          ("✗ git: git is not installed", "install git", "checks failed")),
    Cause("no tool", "no DVC project", RUN, removed(".dvc"), 2, ("{root}", "is not a DVC project", "dvc init")),
    Cause("no tool", "check without a DVC project", ("check",), removed(".dvc"), 2,
          ("✗ dvc: {root}: has no .dvc folder", "dvc init")),
    Cause("no tool", "no git repository", RUN, removed(".git"), 2,
          ("{root}", "is not in a git repository", "bring the .git folder back", "the ledger is in it")),
    Cause("no tool", "status without a git repository", ("status",), removed(".git"), 2,
          ("{root}", "is not in a git repository", "bring the .git folder back", "the ledger is in it")),
    Cause("no tool", "check without a git repository", ("check",), removed(".git"), 2,
          ("✗ git: {root}: is not in a git repository", "bring the .git folder back")),
    Cause("no tool", "DVC's settings are torn", RUN, broken_dvc_config, 5, ("{root}", "`dvc ", "failed", "config")),
    Cause("no tool", "the data are neither here nor in DVC's cache", RUN,
          removed(".dvc/cache", f"data/{MODEL}/raw/shop.csv"), 5,
          ("shop.csv", "`dvc pull", "failed", "No remote provided", "dvc remote add"), harmless=("data",)),
    # Rights.
    Cause("no right", "a read-only project", RUN, rights(".", 0o555), 7,
          ("{root}", "permission denied", "give yourself the right"), as_user=True),
    Cause("no right", "status in a read-only project", ("status",), rights(".", 0o555), 0, ("mail: never-run",),
          as_user=True),
    Cause("no right", "params.yaml cannot be read", RUN, rights("params.yaml", 0), 7,
          ("{root}/params.yaml", "permission denied", "give yourself the right"), as_user=True),
    Cause("no right", "a data file cannot be read", RUN, rights(f"data/{MODEL}/raw/shop.csv", 0), 7,
          ("{root}/data/mail/raw/shop.csv", "permission denied", "give yourself the right"), as_user=True),
    Cause("no right", "new data cannot be put in", ADVANCE, both(week_47, rights(f"data/{MODEL}/raw", 0o555)), 7,
          ("{root}/data/mail/raw", "permission denied", "give yourself the right"), as_user=True),
    Cause("no right", "the report cannot be written", ("report", MODEL, "--output", "{root}/artifacts/page.html"),
          rights("artifacts", 0o555), 7, ("{root}/artifacts", "permission denied", "give yourself the right"),
          start="trained", as_user=True),
    Cause("no right", "DVC's cache cannot be written", RUN, both(removed(".dvc/cache"), lambda place: (
          place.root / ".dvc" / "cache").mkdir(), rights(".dvc/cache", 0o555)), 7,
          (".dvc/cache", "ermission denied", "give yourself the right"), harmless=STAGES, as_user=True),
    Cause("no right", "what serves cannot be written", RUN, both(lambda place: (place.root / "serving").mkdir(),
          rights("serving", 0o555)), 7, ("{root}/serving", "permission denied", "give yourself the right"),
          as_user=True),
    # Space.
    Cause("no space", "for what stages write", RUN, small_disk("artifacts", 8), 7,
          ("no space left on device", "artifacts/mail", "free some space"), harmless=STAGES),
    Cause("no space", "for the training", RUN, small_disk(".finetide/checkpoints", 32), 7,
          ("no space left on device", "free some space"), harmless=STAGES),
    Cause("no space", "for what serves", RUN, small_disk("serving", 64), 7,
          ("no space left on device", "serving/", "free some space"), harmless=STAGES),
    Cause("no space", "for DVC's cache", RUN, small_disk(".dvc/cache", 16), 7,
          ("o space left on device", "free some space"), harmless=STAGES),
    Cause("no space", "for new data", ADVANCE, both(week_47, full_disk(f"data/{MODEL}/raw")), 7,
          ("no space left on device", "data/mail/raw", "free some space"), start="trained"),
    # Others at work.
    Cause("busy", "a second run at the same time", RUN, held("run.flock", 60), 4,
          ("{root}", "another run is at work in this folder (process ", "finetide status", "git worktree")),
    Cause("busy", "new data beside a run", ADVANCE, both(week_47, held("run.flock", 60)), 4,
          ("{root}", "another run is at work in this folder (process "), start="trained"),
    Cause("busy", "status beside a run", ("status",), held("run.flock", 60), 0, ("mail: running",), start="trained"),
    Cause("busy", "status beside a stage", ("status",), held("dvc.flock", 60), 0, ("mail: running",), start="trained"),
    Cause("busy", "history beside a run", ("history",), held("run.flock", 60), 0, ("promoted", "v1"), start="trained"),
    Cause("busy", "a run while DVC is at work says that it waits", RUN, held("dvc.flock", 60), 0,
          ("waiting: process ", "{root}", "nothing changed since"), start="trained"),
    # Variables that programs count on.
    Cause("surroundings", "no HOME", RUN, environment(HOME=None), 0, ("nothing changed since",), start="trained"),
    Cause("surroundings", "a HOME that is not there", RUN, environment(HOME="{folder}/nowhere"), 0,
          ("nothing changed since",), start="trained"),
    Cause("surroundings", "a TMPDIR that is not there", RUN, environment(TMPDIR="{folder}/nowhere"), 0,
          ("nothing changed since",), start="trained"),
    Cause("surroundings", "no PATH", RUN, environment(PATH=None), 0, ("nothing changed since",), start="trained"),
    Cause("surroundings", "git's variables of another repository", RUN, environment(GIT_DIR="{folder}/nowhere"), 0,
          ("nothing changed since",), start="trained"),
]  # fmt: skip

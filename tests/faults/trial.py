"""One kill: a run, a SIGKILL, a second run, and a look at whether anything was lost, doubled or left lying about."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil
from ruamel.yaml import YAML

from support.forked import Ended, Forks
from support.project import MODEL, environment

Target = Literal["stage", "dvc", "run", "tree"]
TARGETS: tuple[Target, ...] = ("stage", "dvc", "run", "tree")
ORPHAN_SECONDS = 10
DONE = re.compile(r"^  ✓ (\w+) +[\d.]+ s +ran", re.MULTILINE)
# What a killed writer may leave beside its target, all of it to be swept by the next run.
LEFTOVERS = re.compile(r"(^|/)(\.keep-[^/]*|\.[^/]+\.(\d+-)?[a-z0-9_]{8}|[^/]*\.lock(\.[^/]*)?)(/|$)")


@dataclass(frozen=True)
class Ending:
    """All that two equal runs have in common."""

    outputs: dict[str, str]
    champion: str
    events: list[str]
    files: dict[str, str]


@dataclass(frozen=True)
class Kill:
    """``at``: seconds after the start, for ``target``; or a named ``point``; or the number of a ``step``."""

    number: int
    target: Target | None = None
    at: float | None = None
    point: str | None = None
    step: int | None = None


@dataclass
class Trial:
    """``struck``: where; ``wrong``: what should not be, empty when all is well; ``repaired``: what the run said."""

    kill: Kill
    struck: str
    wrong: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    log: str = ""

    def as_line(self, commit: str) -> str:
        """Args: commit: of the code that was killed."""
        kill = {key: value for key, value in asdict(self.kill).items() if value is not None}
        found = {"struck": self.struck, "repaired": self.repaired, "wrong": self.wrong}
        return json.dumps({**kill, **found, "commit": commit})


def ending(root: Path) -> Ending:
    """Read it from the project. Raises: whatever reading it raises, when a file is torn."""
    lock: Any = YAML(typ="safe").load((root / "dvc.lock").read_text(encoding="utf-8"))
    outputs = {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}
    alias = json.loads((root / "serving" / MODEL / "champion.json").read_text(encoding="utf-8"))
    tags = _git(root, "tag", "--list", f"finetide/{MODEL}/*").split()
    events = [json.loads(_git(root, "tag", "--list", "--format=%(contents)", tag))["event"] for tag in sorted(tags)]
    events += sorted(tag for tag in _git(root, "tag", "--list").split() if not tag.startswith("finetide/"))
    files = {
        name: hashlib.sha256((root / name).read_bytes()).hexdigest()
        for name in ("params.yaml", "dvc.yaml", "finetide.lock", f"data/{MODEL}/window.json")
    }
    files["head"] = _git(root, "rev-parse", "HEAD")
    files["staged"] = _git(root, "diff", "--cached", "--name-only")
    return Ending(outputs, alias["hash"], events, files)


def undisturbed(forks: Forks, template: Path, folder: Path) -> tuple[Ending, float, int]:
    """The ending of a run that nobody kills, its seconds, and the number of its steps."""
    root = copy(template, folder)
    count = folder / "count"
    count.write_bytes(bytes(8))
    env = {**environment(), "FT_COUNT": str(count), "FT_ROOT": str(root), "FT_STRUCK": str(folder / "struck")}
    started = time.monotonic()
    ended = forks.call(root, ["run"], folder / "log", env)
    seconds = time.monotonic() - started
    assert ended.code == 0, ended.output
    found = ending(root)
    steps = int.from_bytes(count.read_bytes(), "little")
    shutil.rmtree(folder)
    return found, seconds, steps


def run_trial(forks: Forks, template: Path, folder: Path, kill: Kill, expected: Ending) -> Trial:
    """Kill a run in a copy of ``template``, run again, compare. The copy is removed when all is well."""
    root = copy(template, folder)
    trial = Trial(kill, "")
    served = root / "serving" / MODEL / "champion.json"
    at_first = _served(served)
    first = _first_run(forks, root, folder, trial)
    at_kill = _served(served)
    signed = root / ".finetide" / "run.flock"
    begun = signed.exists() and signed.stat().st_size > 0  # else it was killed before its first act
    try:
        second = forks.call(root, ["run"], folder / "second.log", environment())
    except TimeoutError as error:
        trial.wrong.append(f"the second run hung: {error}")
        second = Ended(-1, (folder / "second.log").read_text(encoding="utf-8", errors="replace"))
    trial.repaired = [line for line in second.output.splitlines() if "repaired" in line]
    trial.log = f"{first}\n--- killed: {trial.struck} ---\n{second.output}"
    if second.code != 0:
        trial.wrong.append(f"the second run ended with {second.code}")
    ended = " is in service" in first  # its last words: nothing was left to repair
    cut_off = " run" in trial.struck.partition(": killed")[2].replace(",", "") and begun and not ended
    if cut_off and not trial.repaired:
        trial.wrong.append("the second run does not say that the first was cut off")
    again = sorted(set(DONE.findall(first)) & set(DONE.findall(second.output)))
    if again:
        trial.wrong.append(f"was reported as done, and ran again: {', '.join(again)}")
    try:
        found = ending(root)
    except Exception as error:
        trial.wrong.append(f"the project cannot be read: {error!r}")
    else:
        for name, value in asdict(expected).items():
            if asdict(found)[name] != value:
                trial.wrong.append(f"{name} differ: {asdict(found)[name]} instead of {value}")
    if at_kill not in (at_first, expected.champion):
        trial.wrong.append(f"served between the runs: {at_kill} instead of {at_first} or {expected.champion}")
    trial.wrong += [f"left over: {name}" for name in leftovers(root)]
    if not trial.wrong:
        shutil.rmtree(folder)
    return trial


def _served(alias: Path) -> str | None:
    """The hash of what a reader of the alias is given; None when there is no alias."""
    return json.loads(alias.read_text(encoding="utf-8"))["hash"] if alias.exists() else None


def leftovers(root: Path) -> list[str]:
    """Half-written files outside of the folders of temporary things."""
    found = []
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if name.startswith((".finetide/", ".dvc/tmp/")) or name in ("dvc.lock", "finetide.lock"):
            continue
        if LEFTOVERS.search(name) and not name.endswith("/.lock"):
            found.append(name)
    return sorted(found)


def _first_run(forks: Forks, root: Path, folder: Path, trial: Trial) -> str:
    kill, log, struck = trial.kill, folder / "first.log", folder / "struck"
    env = {**environment(), "FT_STRUCK": str(struck)}
    if kill.point:
        env["FT_POINT"] = kill.point
    if kill.step:
        (folder / "count").write_bytes(bytes(8))
        env.update(FT_COUNT=str(folder / "count"), FT_STEP=str(kill.step), FT_ROOT=str(root))
    pid = forks.start(root, ["run"], log, env)
    family: list[psutil.Process] = []
    if kill.at is not None:
        time.sleep(kill.at)
        family = _family(pid)
        trial.struck = _strike(family, kill.target or "tree")
    try:
        forks.wait(pid, 300)
    except TimeoutError as error:
        trial.wrong.append(f"the first run hung: {error}")
    if kill.at is None:
        trial.struck = struck.read_text().strip() if struck.exists() else "not reached"
    # A stage whose run is gone must not write on.
    _, alive = psutil.wait_procs([process for process in family if process.pid != pid], timeout=ORPHAN_SECONDS)
    for process in alive:
        trial.wrong.append(f"{_role(process)} lived on after its run was gone")
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""


def _family(pid: int) -> list[psutil.Process]:
    try:
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _role(process: psutil.Process) -> str:
    try:
        return str(process.name()).removeprefix("ft-")
    except psutil.NoSuchProcess:
        return "gone"


def _strike(family: list[psutil.Process], target: Target) -> str:
    """Kill; returns which processes there were, from the top down, and which was killed."""
    roles = [_role(process) for process in family]
    wanted = {"run": family[:1], "dvc": family[1:2], "stage": family[-1:], "tree": family}[target] or family
    killed = []
    for process in wanted:
        killed.append(_role(process))
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return f"{' > '.join(roles) or 'ended'}: killed {', '.join(killed) or 'nothing'}"


def copy(template: Path, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder, symlinks=True)
    return folder / "project"


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, env=environment(), capture_output=True, text=True, check=True)
    return done.stdout.strip()

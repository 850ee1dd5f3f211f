"""A git worktree a model, in which scheduled runs work, so that they and a person in the checkout never meet.

It lies in ``.finetide/worktrees/MODEL`` and follows the checkout's commit. What is in service, and DVC's cache, are the
checkout's own: a promotion made there moves the alias that servers read.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from finetide.contracts.window import Window
from finetide.errors import ProjectError
from finetide.files import sha256_bytes, write_bytes, write_text
from finetide.lifecycle.catch_up import catch_up
from finetide.pipeline import dvc
from finetide.registry import approvals, history, ledger
from finetide.registry.git import Repository, call, failure, open_repository
from finetide.registry.window import read_window, recompute, window_path

_NO_HOOKS = ("-c", f"core.hooksPath={os.devnull}")
CONFIGURED = ".finetide/configured"


def worktree_path(root: Path, model: str) -> Path:
    """The project's folder in the worktree, whether it is there or not."""
    return _top(root, model) / open_repository(root).prefix


def require_commit(repository: Repository) -> None:
    """Raises: ProjectError before the first commit: a half-done edit must not run at night."""
    if repository.head() is None:
        raise ProjectError(
            "has no commit yet, and scheduled runs work on what is committed",
            where=str(repository.folder),
            fix='git add -A && git commit -m "the project as init wrote it"',
        )


def place_of_file(root: Path, model: str, file: str) -> Path:
    """The project whose window names a raw file: the checkout's, else that of scheduled runs, else the checkout's."""
    return worktree_path(root, model) if file in _ahead(root, model) else root


def place_of_arrivals(root: Path, model: str) -> Path:
    """The project that knows what arrived last: that of scheduled runs while they hold files that the checkout has not
    caught up with, else the checkout's."""
    return worktree_path(root, model) if _ahead(root, model) else root


def _ahead(root: Path, model: str) -> set[str]:
    """Raw files that the window of scheduled runs names and the checkout's does not."""
    project = worktree_path(root, model)
    if not (project / "dvc.yaml").is_file():
        return set()
    here, there = ({one.path for one in read_window(place, model).files} for place in (root, project))
    return there - here


def make(root: Path, model: str) -> Path:
    """The project's folder in the worktree of ``model``, made where it is not there. Nothing in it is changed else.

    Raises: ProjectError without a commit, or when the project's files are not committed.
    """
    repository = open_repository(root)
    require_commit(repository)
    top = _top(root, model)
    with _lock(top):
        if not _is_worktree(top):
            shutil.rmtree(top, ignore_errors=True)  # half made by one that was killed; its data are in DVC's cache
            _git(repository, "worktree", "prune")
            _git(repository, *_NO_HOOKS, "worktree", "add", "--quiet", "--force", "--detach", str(top), "HEAD")
    project = top / repository.prefix
    missing = [name for name in ("params.yaml", "dvc.yaml", ".dvc/config") if not (project / name).is_file()]
    if missing:
        fix = "git add -A && git commit, then again"
        raise ProjectError(f"{', '.join(missing)}: not committed", where=str(root), fix=fix)
    return project


def follow(root: Path, project: Path, model: str) -> list[str]:
    """Bring the worktree to the checkout's commit; what its own runs took in stays. Call it under its run lock.

    Args: root: the checkout's project; project: the one in the worktree, see `make`.

    Returns: a line for each thing that changed.
    """
    lines = _move(root, project, model)
    _share(root, project)
    _configure(root, project)
    for approval in approvals.approvals_folder(root, model).glob("*.json"):  # one given in the checkout counts here too
        here = approvals.approvals_folder(project, model) / approval.name
        if not here.exists():
            write_bytes(here, approval.read_bytes())
    return [*lines, *catch_up(project, model)]


def home_of(project: Path) -> Path:
    """The checkout's project of one in a worktree; of any other, itself."""
    pointer = project / ".finetide" / "home"
    return Path(pointer.read_text(encoding="utf-8").strip()) if pointer.is_file() else project


def _move(root: Path, project: Path, model: str) -> list[str]:
    wanted, here = open_repository(root).head(), open_repository(project)
    if wanted is None or here.head() == wanted:
        return []
    own = read_window(project, model)
    kept = {path: path.read_bytes() for path in (project / "dvc.lock",) if path.exists()}
    pointers = {path: path.read_bytes() for path in window_path(project, model).parent.rglob("raw/**/*.dvc")}
    _git(here, *_NO_HOOKS, "checkout", "--quiet", "--force", "--detach", wanted)
    for path, data in {**kept, **pointers}.items():
        if not path.exists() or path in kept:
            write_bytes(path, data)
    _merge_window(project, model, own)
    return [f"follows commit {wanted[:12]} of the checkout"]


def _merge_window(project: Path, model: str, own: Window) -> None:
    """The runs' own window, in its order, plus the files that were committed since."""
    committed = read_window(project, model)
    files = {file.path: file.sha256 for file in (*own.files, *committed.files)}
    if len(files) == len(own.files):
        own.write(window_path(project, model))
        return
    entries = ledger.read(project, model)
    start = committed.start if history.champion(entries) is None else own.start
    recompute(own, entries, files, start).write(window_path(project, model))


def _share(root: Path, project: Path) -> None:
    """One store and one alias for all: links into the checkout."""
    (root / "serving").mkdir(exist_ok=True)
    link = project / "serving"
    if not link.is_symlink():
        link.symlink_to(root / "serving", target_is_directory=True)
    (project / ".finetide").mkdir(exist_ok=True)
    write_text(project / ".finetide" / "home", f"{root}\n")


def _configure(root: Path, project: Path) -> None:
    """DVC's cache is the checkout's, and so are its remotes: their relative paths begin there."""
    mine = [root / ".dvc" / name for name in ("config", "config.local")]
    state = sha256_bytes(b"\0".join(path.read_bytes() for path in mine if path.exists()) + str(root).encode())
    marker = project / CONFIGURED
    if marker.exists() and marker.read_text() == state:
        return
    if mine[1].exists():
        shutil.copyfile(mine[1], project / ".dvc" / "config.local")
    settings = [("cache.dir", os.path.relpath(dvc.checked(root, ["cache", "dir"]).strip(), project))]
    for line in dvc.checked(root, ["config", "--list"]).splitlines():
        name, _, value = line.partition("=")
        if name.startswith("remote.") and name.endswith(".url") and "://" not in value:
            settings.append((name, os.path.relpath(value, project)))
    for name, value in settings:
        dvc.checked(project, ["config", "--local", name, value])
    write_text(marker, state)


def _is_worktree(top: Path) -> bool:
    """Asked for its top, git would name the checkout around a folder that is none."""
    if not (top / ".git").is_file():
        return False
    found = call(top, ["rev-parse", "--show-toplevel"])
    return found.code == 0 and Path(found.out.decode().strip()).resolve() == top.resolve()


def _top(root: Path, model: str) -> Path:
    return root / ".finetide" / "worktrees" / model


@contextmanager
def _lock(top: Path) -> Iterator[None]:
    top.parent.mkdir(parents=True, exist_ok=True)
    with top.with_name(f"{top.name}.flock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _git(repository: Repository, *arguments: str) -> None:
    outcome = call(repository.folder, arguments)
    if outcome.code != 0:
        raise failure(repository.folder, arguments, outcome)

"""Git as a subprocess with argument lists: plumbing commands only, so that no setting changes what they print."""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from finetide.errors import ProjectError, ToolError

NAME, EMAIL = "finetide", "finetide@localhost"
# Git sets these for its hooks; inherited, they would send us to another index, or past the project's folder.
_REDIRECTS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")


@dataclass(frozen=True)
class Outcome:
    code: int
    out: bytes
    err: str


@dataclass(frozen=True)
class Repository:
    """The git repository around a project. ``prefix``: POSIX path from its top to the project, ``""`` or ``a/b/``."""

    folder: Path
    prefix: str

    def git(self, *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> bytes:
        """What the command prints. Raises: ToolError with git's own words when it fails."""
        outcome = call(self.folder, arguments, stdin=stdin, env=env)
        if outcome.code != 0:
            raise failure(self.folder, arguments, outcome)
        return outcome.out

    def line(self, *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> str:
        return self.git(*arguments, stdin=stdin, env=env).decode().strip()

    def head(self) -> str | None:
        """The commit that is checked out; None before the first one."""
        outcome = call(self.folder, ["rev-parse", "--verify", "--quiet", "HEAD^{commit}"])
        return outcome.out.decode().strip() if outcome.code == 0 else None

    def objects(self, hashes: Sequence[str]) -> dict[str, tuple[str, bytes]]:
        """Hash → type and content, in one process. Objects that are missing or do not have their hash are left out."""
        outcome = call(self.folder, ["cat-file", "--batch"], stdin="".join(f"{name}\n" for name in hashes).encode())
        found: dict[str, tuple[str, bytes]] = {}
        rest = outcome.out
        while rest:
            header, _, rest = rest.partition(b"\n")
            parts = header.decode(errors="replace").split(" ")
            if len(parts) != 3:
                continue
            content, rest = rest[: int(parts[2])], rest[int(parts[2]) + 1 :]
            if object_hash(parts[1], content, like=parts[0]) == parts[0]:
                found[parts[0]] = (parts[1], content)
        return found

    @contextmanager
    def lock(self, name: str) -> Iterator[Path]:
        """One writer at a time in all worktrees of the repository; yields the folder of its refs.

        The kernel frees it when its holder dies.
        """
        common = (self.folder / self.line("rev-parse", "--git-common-dir")).resolve()
        with (common / name).open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield common

    def identity(self) -> dict[str, str]:
        """Environment that names the author of our objects: the user as configured, else finetide."""
        name, email = self._configured()
        return {
            "GIT_AUTHOR_NAME": name or NAME,
            "GIT_AUTHOR_EMAIL": email or EMAIL,
            "GIT_COMMITTER_NAME": name or NAME,
            "GIT_COMMITTER_EMAIL": email or EMAIL,
        }

    def who(self) -> str:
        """``NAME <EMAIL>`` as configured in git, else the login name."""
        name, email = self._configured()
        if name:
            return f"{name} <{email}>" if email else name
        try:
            return getpass.getuser()
        except (KeyError, OSError):  # a container's user without an entry in passwd
            return f"uid {os.getuid()}"

    def _configured(self) -> tuple[str, str]:
        name = os.environ.get("GIT_COMMITTER_NAME") or self._setting("user.name")
        email = os.environ.get("GIT_COMMITTER_EMAIL") or self._setting("user.email")
        return name.strip(), email.strip()

    def _setting(self, key: str) -> str:
        return call(self.folder, ["config", "--get", key]).out.decode(errors="replace").strip()


def _git_above(folder: Path) -> Path | None:
    """The ``.git`` of the folder or of the nearest one above."""
    return next((path / ".git" for path in (folder, *folder.resolve().parents) if (path / ".git").exists()), None)


def no_repository(folder: Path) -> ProjectError:
    """What to say where no ``.git`` is: a new one would forget what was in service."""
    return ProjectError(
        "is not in a git repository", where=str(folder), fix="bring the .git folder back (a clone of the project has "
        "it): the ledger is in it; `git init` here is for a new project only",
    )  # fmt: skip


def open_repository(folder: Path) -> Repository:
    """Raises: ProjectError when git is missing, or ``folder`` is not in the work tree of a repository."""
    if not folder.is_dir():
        raise ProjectError("no such folder", where=str(folder))
    outcome = call(folder, ["rev-parse", "--is-inside-work-tree", "--show-prefix"])
    if "not a git repository" in outcome.err and (found := _git_above(folder)):
        raise ToolError(
            "git does not take this for a repository any more", where=str(found), fix="mend it: `git fsck` says more; "
            "HEAD, config and refs must be there and whole",
        )  # fmt: skip
    if "not a git repository" in outcome.err or outcome.out.startswith(b"false"):
        raise no_repository(folder)
    if outcome.code != 0:
        raise failure(folder, ["rev-parse", "--show-prefix"], outcome)
    _, _, prefix = outcome.out.decode().partition("\n")
    return Repository(folder, prefix.removesuffix("\n"))


def call(
    folder: Path, arguments: Sequence[str], *, stdin: bytes = b"", env: Mapping[str, str] | None = None
) -> Outcome:
    """Run ``git ARGUMENTS`` in ``folder``; a failure is returned, not raised. Raises: ProjectError without git."""
    surrounding = {key: value for key, value in os.environ.items() if key not in _REDIRECTS}
    surrounding |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", **(env or {})}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=surrounding, input=stdin, capture_output=True, check=False
        )
    except FileNotFoundError as error:
        raise ProjectError("git is not installed", fix="install it, e.g. `apt install git`") from error
    return Outcome(done.returncode, done.stdout, done.stderr.decode(errors="replace").strip())


def failure(folder: Path, arguments: Sequence[str], outcome: Outcome) -> ToolError:
    return ToolError(f"`git {' '.join(arguments)}` failed: {outcome.err or outcome.code}", where=str(folder))


def object_hash(kind: str, content: bytes, *, like: str) -> str:
    """Git's hash of an object. ``like``: any hash of the repository; its length tells SHA-1 from SHA-256."""
    data = f"{kind} {len(content)}\0".encode() + content
    return hashlib.sha1(data).hexdigest() if len(like) == 40 else hashlib.sha256(data).hexdigest()

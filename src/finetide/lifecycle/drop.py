"""Where files are dropped, a folder or a prefix on S3: they are taken in once whole. Nothing there is ever changed.

When is a file whole? Its size and time of change are the same over two looks ``quiet_seconds`` apart, and once more
after it was copied. Names that end in .part or .tmp, and hidden ones, are not looked at: who writes slowly, or
copies with a tool that sets times, writes under such a name and renames. The two looks are for those who do not. An
object on S3 appears whole, so one look is enough; it has to be the same after it was copied.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from finetide.config.params import model_params
from finetide.config.schedule import bucket_of
from finetide.contracts.operate import DropRecord, Seen
from finetide.errors import FinetideError, InputError, IntegrityError
from finetide.files import sha256_file
from finetide.lifecycle.prepare import advance_window
from finetide.pipeline.s3 import Object, Prefix
from finetide.registry import raw
from finetide.registry.window import read_window

Wait = Callable[[float], None]
# Its date does not change with its rights, and what was refused is looked at again only when it changed.
_UNREADABLE = "cannot be read by the user of this run; fix: let it be read, then touch it"


@dataclass(frozen=True)
class Look:
    """What tells one content of a dropped file from another without reading it; see `Seen`."""

    size: int
    modified: int
    etag: str | None


GONE = Look(-1, -1, None)


class Place(Protocol):
    """Where files are dropped. ``grows``: a file can be seen there while it is written."""

    grows: bool

    def looks(self) -> dict[str, Look]:
        """Of everything that may be data, by name."""

    def look(self, name: str) -> Look: ...

    def copy(self, name: str, look: Look, target: Path) -> bool:
        """False where that content is not there any more. Raises: InputError for a name that no file can have."""


class Folder:
    grows = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def looks(self) -> dict[str, Look]:
        found = raw.candidates(self._folder) if self._folder.is_dir() else ()
        names = sorted(path.relative_to(self._folder).as_posix() for path in found)
        return {name: self.look(name) for name in names}

    def look(self, name: str) -> Look:
        try:
            found = (self._folder / name).stat()
        except FileNotFoundError:  # renamed or taken away meanwhile
            return GONE
        return Look(found.st_size, found.st_mtime_ns, None)

    def copy(self, name: str, look: Look, target: Path) -> bool:
        try:
            shutil.copyfile(self._folder / name, target)
        except FileNotFoundError:
            return False
        return True


class Bucket:
    """The same on S3. Raises from all methods: see `finetide.pipeline.s3.Prefix`."""

    grows = False

    def __init__(self, address: str) -> None:
        self._prefix = Prefix(address)

    def looks(self) -> dict[str, Look]:
        found = self._prefix.objects()
        # A key that ends in a slash is what consoles make for an empty folder.
        names = sorted(name for name in found if name[-1:] not in ("", "/") and raw.may_be_data(name.split("/")))
        return {name: self._seen(found[name]) for name in names}

    def look(self, name: str) -> Look:
        found = self._prefix.find(name)
        return GONE if found is None else self._seen(found)

    def copy(self, name: str, look: Look, target: Path) -> bool:
        return self._prefix.copy(name, Object(look.size, look.etag or ""), target)

    @staticmethod
    def _seen(found: Object) -> Look:
        return Look(found.size, 0, found.etag)


def place_of(root: Path, model: str) -> Place:
    """Args: root: the checkout's project, against which a relative ``schedule.drop`` is taken."""
    given = model_params(root, model).schedule.drop
    return Bucket(given) if bucket_of(given) else Folder(root / given)


def pick_up(root: Path, project: Path, model: str, *, wait: Wait = time.sleep) -> list[Seen]:
    """Enter what is new and whole into the window of ``project``.

    Args: root: the checkout's project, whose drop folder it is; project: where the run works.

    Returns: what became of each file that was looked at now. One that still grows is in the next look.

    Raises: ToolError when S3 does not answer; what was taken in before it stays in, and the rest comes with the next.
    """
    place = place_of(root, model)
    before = {seen.name: seen for seen in _read(root, model).files}
    inside = {file.sha256 for file in read_window(project, model).files}
    fresh = {name: look for name, look in place.looks().items() if _is_new(look, before.get(_shown(name)), inside)}
    if not fresh:
        return []
    if place.grows:
        wait(model_params(root, model).schedule.quiet_seconds)
        now = place.looks()
        fresh = {name: look for name, look in fresh.items() if now.get(name) == look}
    scratch = project / ".finetide" / "drop"
    scratch.mkdir(parents=True, exist_ok=True)
    found: dict[str, Seen] = {}
    try:
        with tempfile.TemporaryDirectory(dir=scratch) as copied:
            _enter(place, Path(copied), project, model, fresh, found)
    except BaseException:  # what was refused is named by the look that comes to its end
        _write(root, model, before, [seen for seen in found.values() if seen.outcome != "refused"])
        raise
    _write(root, model, before, list(found.values()))
    return list(found.values())


def _enter(
    place: Place, copied: Path, project: Path, model: str, fresh: dict[str, Look], found: dict[str, Seen]
) -> None:
    """Args: found: filled with what became of each that did not change meanwhile."""
    there = {file.sha256: file.path for file in read_window(project, model).files}

    def enter(names: Sequence[str]) -> None:
        for name in names:
            seen = _tried(place, copied / Path(name).name, project, model, name, fresh[name], there)
            if seen is not None:
                found[name] = seen

    enter(list(fresh))
    # Late labels may have come before the rows that they are about.
    if any(seen.outcome == "taken" for seen in found.values()):
        enter([name for name, seen in found.items() if seen.outcome == "refused" and seen.sha256])


def _tried(
    place: Place, copy: Path, project: Path, model: str, name: str, look: Look, there: dict[str, str]
) -> Seen | None:
    """Args: there: SHA-256 → name of the window's files, to which one that is taken in is added.

    Returns: what became of it; None where it changes still.
    """
    try:
        if not place.copy(name, look, copy) or place.look(name) != look:
            return None
    except (InputError, PermissionError) as error:
        why = _UNREADABLE if isinstance(error, PermissionError) else str(error)
        return _seen(name, look, "", "refused", why)
    sha256 = sha256_file(copy)
    outcome: Literal["taken", "refused", "duplicate"]
    if sha256 in there:
        same = there[sha256]
        why = "in the window already" if same == copy.name else f"has the bytes of {same}"
        outcome = "taken" if same == copy.name else "duplicate"
    else:
        outcome, why = _advance(project, model, copy)
        if outcome == "taken":
            there[sha256] = copy.name
    copy.unlink()
    return _seen(name, look, sha256, outcome, why)


def _seen(name: str, look: Look, sha256: str, outcome: Literal["taken", "refused", "duplicate"], why: str) -> Seen:
    return Seen(
        name=_shown(name), size=look.size, modified=look.modified, etag=look.etag, sha256=sha256, outcome=outcome,
        why=_shown(why),
    )  # fmt: skip


def _shown(name: str) -> str:
    """A name whose bytes are no UTF-8, as an old zip leaves them, in signs that a file and a log can hold."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _advance(project: Path, model: str, copy: Path) -> tuple[Literal["taken", "refused"], str]:
    """One by one, so that a bad file keeps no good one out."""
    try:
        lines = advance_window(project, model, [copy])
    except IntegrityError:
        raise  # not this file's fault
    except InputError as error:
        return "refused", str(error).replace(f"{copy.parent}/", "")
    return "taken", lines[0] if lines else "nothing new in it"


def _is_new(look: Look, known: Seen | None, inside: set[str]) -> bool:
    """Never seen, changed since, or taken into a worktree that is gone. Args: inside: SHA-256 of the window's files."""
    if known is None or Look(known.size, known.modified, known.etag) != look:
        return True
    return known.outcome != "refused" and known.sha256 not in inside


def _path(root: Path, model: str) -> Path:
    return root / ".finetide" / "drop" / f"{model}.json"


def _read(root: Path, model: str) -> DropRecord:
    try:
        return DropRecord.read(_path(root, model))
    except (FileNotFoundError, FinetideError):
        return DropRecord(files=())


def _write(root: Path, model: str, before: dict[str, Seen], found: list[Seen]) -> None:
    files = {**before, **{seen.name: seen for seen in found}}
    DropRecord(files=tuple(files[name] for name in sorted(files))).write(_path(root, model))

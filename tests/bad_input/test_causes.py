"""Every cause ends with one clear error: its exit code, no traceback, earlier outputs as they were, no leftovers.

The list of all causes, with what is said, is docs/causes.md: `make causes` writes it, a test compares.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from bad_input import page
from bad_input.cause import Cause, Place, tree
from bad_input.causes import CAUSES
from support.forked import Forks
from support.project import MODEL, environment

NOBODY = 65534
PAGE = page.PAGE.read_text(encoding="utf-8") if page.PAGE.exists() else ""


def test_causes_are_many_and_named_once() -> None:
    assert len({cause.kind for cause in CAUSES}) >= 25
    assert len(CAUSES) >= 120
    assert len({cause.name for cause in CAUSES}) == len(CAUSES)


def _marked(number: int, cause: Cause) -> object:
    """Each class's first cause and every sixteenth of the others run by default; CI runs all of them."""
    first = next(other for other in CAUSES if other.kind == cause.kind) is cause
    name = f"{cause.kind}: {cause.name}"
    return pytest.param(cause, id=name, marks=[] if first or number % 16 == 0 else [pytest.mark.slow])


@pytest.mark.parametrize("cause", [_marked(number, cause) for number, cause in enumerate(CAUSES)])
def test_cause(cause: Cause, forks: Forks, starts: dict[str, Path], tmp_path: Path) -> None:
    if cause.as_user and os.getuid() != 0:
        pytest.skip("needs root, to become another user")
    folder = tmp_path / "f"
    shutil.copytree(starts[cause.start], folder, symlinks=True)
    place = Place(folder, folder / "project", environment())
    cause.arrange(place)
    before = tree(folder, harmless=_in_project(cause))
    if cause.as_user:
        for path in [tmp_path, *tmp_path.rglob("*")]:
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    arguments = [word.format(root=place.root, folder=folder) for word in cause.command]
    cwd = place.root if place.root.is_dir() else folder
    log = tmp_path / "log"
    log.touch(mode=0o666)
    ended = forks.call(cwd, arguments, log, place.env, uid=NOBODY if cause.as_user else -1)
    shown = f"{cause.name}: finetide {' '.join(arguments)} ended with {ended.code}\n{ended.output}"
    assert "Traceback" not in ended.output, shown
    assert ended.code == cause.exit_code, shown
    missing = [piece for piece in cause.says if piece.format(root=place.root, folder=folder) not in ended.output]
    assert not missing, f"not said: {missing}\n{shown}"
    after = tree(folder, harmless=_in_project(cause))
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    assert not changed, f"changed: {changed}\n{shown}"
    said = page.message(ended.output, {f"{place.root}/": "", str(place.root): ".", str(folder): ".."})
    if folder_of_page := os.environ.get("FT_CAUSES"):
        written = json.dumps({"said": said, "code": ended.code})
        (Path(folder_of_page) / f"{CAUSES.index(cause)}.json").write_text(written, encoding="utf-8")
    elif f"(Python {page.PYTHON})" in PAGE:  # another Python words some of its own errors otherwise
        assert page.entry(cause, said, ended.code) in PAGE, f"make causes\n{page.entry(cause, said, ended.code)}"


def test_the_page_has_these_causes_only() -> None:
    assert f"{len(CAUSES)} causes in {len({cause.kind for cause in CAUSES})} classes" in PAGE
    assert len(re.findall(r"^\*\*.+\*\*: `finetide .*` ends with \d+$", PAGE, re.MULTILINE)) == len(CAUSES)


def _in_project(cause: Cause) -> tuple[str, ...]:
    inside = (".finetide", ".dvc/tmp", ".dvc/cache", ".git", *cause.harmless)
    if cause.start == "trained" and cause.command[0] == "run":
        inside += (f"data/{MODEL}/window.json",)  # what changed is a reason to pin the champion in service
    return tuple(f"project/{name}" for name in inside)

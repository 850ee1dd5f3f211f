"""DVC's record of what ran is lost after a promotion: the same weights are not judged and promoted once more."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from finetide.registry import ledger
from support.forked import Forks
from support.project import MODEL, edit_params, environment


@pytest.mark.parametrize("left", [None, 0.0, 0.5], ids=["gone", "empty", "torn"])
def test_a_lost_lock_comes_back_from_the_ledger(
    left: float | None, forks: Forks, starts: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(starts["trained"], tmp_path / "f", symlinks=True)
    root = tmp_path / "f" / "project"
    lock, entries = root / "dvc.lock", ledger.read(root, MODEL)
    whole = lock.read_bytes()
    lock.unlink()
    if left is not None:
        lock.write_bytes(whole[: int(len(whole) * left)])
    ended = forks.call(root, ["run", MODEL], tmp_path / "log", environment())
    assert ended.code == 0, ended.output
    assert f"{MODEL}: repaired: dvc.lock has the stages of entry {len(entries)} of the ledger again" in ended.output
    assert lock.read_bytes() == whole
    assert ledger.read(root, MODEL) == entries, ended.output


def test_what_changed_while_it_was_lost_is_still_seen(forks: Forks, starts: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(starts["trained"], tmp_path / "f", symlinks=True)
    root = tmp_path / "f" / "project"
    (root / "dvc.lock").unlink()
    edit_params(root, lambda params: params["judge"].update(bootstrap=1001), MODEL)
    ended = forks.call(root, ["run", MODEL], tmp_path / "log", environment())
    assert ended.code in (0, 4), ended.output
    assert f"{MODEL}: champion: none → v1\n" in ended.output

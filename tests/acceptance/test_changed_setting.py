"""A setting is changed between two files: the challenger meets the champion in service; putting it back works."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.forked import Forks
from support.messages import rows, write_csv
from support.project import MODEL, edit_params, environment, micro_project

pytestmark = pytest.mark.slow


def bootstrap(root: Path, draws: int) -> None:
    def change(params: Any) -> None:
        params["evaluate"]["bootstrap"] = draws

    edit_params(root, change)


def lenient(params: Any) -> None:
    params["judge"].update(floor=0.0, label_floor=0.0, non_inferiority_margin=0.9)
    params["policy"]["retrain_on"] = ["none", "harmless", "adapt", "cannot-tell"]


def test_a_setting_changed_after_a_promotion_and_put_back(tmp_path: Path, forks: Forks) -> None:
    root = micro_project(tmp_path, [write_csv(tmp_path / "shop.csv", rows(90, "shop", 1))])
    edit_params(root, lenient)
    log = tmp_path / "log"
    assert "v1 is in service" in forks.call(root, ["run"], log, environment()).output
    first = json.loads((root / "serving" / MODEL / "champion.json").read_text())["hash"]
    bootstrap(root, 90)
    said = forks.call(root, ["run"], log, environment())
    assert said.code == 0, said.output
    assert "mail: champion: none → v1" in said.output
    judged = json.loads((root / "artifacts" / MODEL / "judge" / "judge.json").read_text())
    assert judged["champion_hash"] == first
    again = forks.call(root, ["run"], log, environment())
    assert again.code == 0
    assert "promoted (nothing changed since)" in again.output


def test_outputs_brought_back_from_the_cache_take_what_follows_along(tmp_path: Path, forks: Forks) -> None:
    root = micro_project(tmp_path, [write_csv(tmp_path / "shop.csv", rows(90, "shop", 1))])
    edit_params(root, lenient)
    before = (root / "params.yaml").read_bytes()
    log = tmp_path / "log"
    assert forks.call(root, ["run"], log, environment()).code == 0
    for draws in (90, 80):
        bootstrap(root, draws)
        forks.call(root, ["run"], log, environment())
    (root / "params.yaml").write_bytes(before)
    once = forks.call(root, ["run"], log, environment())
    assert once.code == 0, once.output
    assert ": stale" not in once.output, once.output

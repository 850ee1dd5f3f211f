"""`finetide check` on projects with one thing wrong; more of them in tests/bad_input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetide.preflight import Mark, Result, examine
from support.messages import rows, write_csv
from support.micro import micro_base
from support.project import MODEL, edit_params, micro_project


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("preflight")
    return micro_project(folder, [write_csv(folder / "shop.csv", rows(60, "shop", 1))])


def failures(root: Path) -> dict[str, str]:
    found: list[Result] = list(examine(root, None))
    return {result.what: result.detail for result in found if result.mark is Mark.FAILED}


def changed(root: Path, change: Callable[[Any], None]) -> dict[str, str]:
    before = (root / "params.yaml").read_text()
    edit_params(root, change)
    try:
        return failures(root)
    finally:
        (root / "params.yaml").write_text(before)


def test_a_project_as_init_wrote_it_passes(root: Path) -> None:
    assert failures(root) == {}


def test_a_layer_rule_that_covers_nothing_is_found_before_training(root: Path) -> None:
    found = changed(root, lambda params: params["train"]["phases"][1]["layers"][0].update(match="encodr"))
    assert list(found) == [f"{MODEL}: layers"]
    said = found[f"{MODEL}: layers"]
    assert f"params.yaml: models.{MODEL}.train.phases[1].layers[0].match: matches no parameter" in said
    assert "near: encoder" in said


def test_layers_that_cannot_be_found_are_told_before_training(root: Path, tmp_path: Path) -> None:
    def few(params: Any) -> None:
        params["train"]["phases"][1]["layers"] = {"auto": 39}

    where = f"params.yaml: models.{MODEL}.train.phases[1].layers.auto"
    assert changed(root, few) == {
        f"{MODEL}: layers": f"{where}: auto needs a stack of blocks, and this model has none (found 39)\n"
        "  fix: write full"
    }
    micro_base(tmp_path / "micro-base", layers=2)
    two = micro_project(tmp_path, [write_csv(tmp_path / "shop.csv", rows(60, "shop", 1))])
    assert changed(two, few) == {
        f"{MODEL}: layers": f"{where}: 4 candidates are told apart by 5 steps each, and the better half by as many "
        "again (found 39)\n  fix: at least 40"
    }
    assert changed(two, lambda params: params["train"]["phases"][1].update(layers={"auto": 40})) == {}


def test_all_that_is_wrong_is_said_at_once(root: Path) -> None:
    def change(params: Any) -> None:
        params["base"]["sha256"] = "0" * 64
        params["train"]["phases"][1]["layers"].pop()

    suite = root / "data" / MODEL / "suite.json"
    before = suite.read_text()
    suite.write_text(before[:-20])
    try:
        found = changed(root, change)
    finally:
        suite.write_text(before)
    assert {f"{MODEL}: base model", f"{MODEL}: suite"} <= set(found)
    assert MODEL in str(found)

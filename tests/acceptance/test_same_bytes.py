"""`dvc repro` and the flow give the same bytes, from different folders, with and without flows/."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from support.messages import rows, write_csv
from support.project import MODEL, finetide, micro_project, run

pytestmark = pytest.mark.slow
VOLATILE = ("deps", "cmd", "params")


def output_hashes(root: Path) -> dict[str, str]:
    """Stage output → hash, as dvc.lock has it."""
    lock: Any = YAML(typ="safe").load((root / "dvc.lock").read_text())
    return {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}


def test_repro_and_flow_agree_from_two_folders(tmp_path: Path) -> None:
    shop, airline = rows(150, "shop", 1), rows(120, "airline", 2)
    made = []
    for name in ("one", "another/deeper"):
        folder = tmp_path / name
        files = [write_csv(folder / "shop.csv", shop), write_csv(folder / "airline.csv", airline)]
        root = micro_project(folder, files[:1], files[1:])
        # One base for both: its path is a parameter, and where it lies is the user's choice.
        (root / "params.yaml").write_text(
            (root / "params.yaml").read_text().replace(str(folder / "micro-base"), str(tmp_path / "one" / "micro-base"))
        )
        made.append(root)
    run(made[0], sys.executable, "-m", "dvc", "repro")
    flow = run(made[1], sys.executable, "-m", "finetide_flows.retrain", MODEL)
    assert "promoted" in flow.stdout
    one, other = output_hashes(made[0]), output_hashes(made[1])
    assert len(one) > 15
    assert one == other
    # After a plain repro, promote puts it in service; then run has nothing to do.
    assert "v1" in finetide(made[0], "promote", MODEL).stdout
    assert "nothing changed" in finetide(made[0], "run").stdout
    assert "nothing changed" in run(made[1], sys.executable, "-m", "finetide_flows.retrain", MODEL).stdout

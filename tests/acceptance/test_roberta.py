"""RoBERTa all the way: byte-level BPE, positions that start after padding, no token types, to a verified bundle."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from support.forked import Forks
from support.messages import rows, write_csv
from support.micro import micro_base
from support.project import MODEL, edit_params, environment, micro_project


@pytest.mark.slow
def test_roberta_with_a_named_policy_ends_in_a_verified_bundle(tmp_path: Path, forks: Forks) -> None:
    micro_base(tmp_path / "micro-base", layers=2, family="Roberta")
    root = micro_project(tmp_path, [write_csv(tmp_path / "shop.csv", rows(120, "shop", 1))])

    def change(params: Any) -> None:
        params["judge"].update(floor=0.0, label_floor=0.0)
        next(phase for phase in params["train"]["phases"] if phase["kind"] == "tune")["layers"] = {"last": 1}

    edit_params(root, change)
    ended = forks.call(root, ["run"], tmp_path / "log", environment())
    assert ended.code == 0, ended.output
    assert "blocks 1 to 1 of 2: 16 parameter tensors, lr × 1" in ended.output
    alias = json.loads((root / "serving" / MODEL / "champion.json").read_text())
    bundle = root / alias["bundle"]
    verified = forks.call(root, ["verify", str(bundle)], tmp_path / "log", environment())
    assert verified.code == 0, verified.output
    training = json.loads((root / "artifacts" / MODEL / "train" / "training.json").read_text())
    assert any("layer.0." in name for name in training["frozen_proof"])
    (tmp_path / "new.csv").write_text("body\nwhere is my parcel\nZoë's café: naïve ☕\n", encoding="utf-8")
    asked = ["predict", str(bundle), "--input", "../new.csv", "--output", "../out.csv", "--text", "body"]
    told = forks.call(root, asked, tmp_path / "log", environment())
    assert told.code == 0, told.output
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as stream:
        assert [row["body"] for row in csv.DictReader(stream)] == ["where is my parcel", "Zoë's café: naïve ☕"]

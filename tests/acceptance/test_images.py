"""The road of an image model: a folder a class → a bundle in service, new images, a second version."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from finetide.config.images import ImageColumnParams
from finetide.contracts.metrics import Metrics
from finetide.files import tree_hashes
from finetide.init.project import Wanted, create
from finetide.runtime import load
from support.images import LABELS, members, micro_vision, picture, write_folder, write_zip
from support.project import edit_params, finetide

MODEL = "shapes"
COLUMNS = ImageColumnParams(image="image", label="label", split=None, group=None)


def quick(params: Any) -> None:
    params["shift"].update(permutations=199, max_rows=60, min_rows=20)
    for phase in params["train"]["phases"]:
        if phase["kind"] == "tune":
            phase["duration"].update(epochs=2)
    params["evaluate"]["bootstrap"] = 50
    params["judge"].update(bootstrap=50, floor=0.2, non_inferiority_margin=0.5, slice_margin=0.9)
    params["export"]["int8"] = False


@pytest.mark.slow
def test_from_a_folder_to_service_and_on(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "photos", members(40))
    micro_vision(tmp_path / "base", "ResNet")
    root = tmp_path / "project"
    wanted = Wanted("image-classification", MODEL, (folder,), (), COLUMNS, str(tmp_path / "base"), None)
    assert "read 120 rows with 3 labels: bar, disc, ring" in list(create(root, wanted))
    edit_params(root, quick, MODEL)
    assert "✗" not in finetide(root, "check").stdout
    assert "v1 is in service" in finetide(root, "run").stdout
    metrics = Metrics.read(root / "artifacts" / MODEL / "evaluate" / "metrics.json")
    assert {"accuracy", "balanced_accuracy", "ece"} <= set(metrics.roles["reference"])
    assert {"majority", "nearest mean of 5", "probe"} <= set(metrics.baselines)
    bundles = {path.name for path in (root / "serving" / MODEL).iterdir() if path.is_dir()}
    before = tree_hashes(root / "artifacts" / MODEL)
    again = finetide(root, "run").stdout
    assert "nothing" in again or "up to date" in again
    assert tree_hashes(root / "artifacts" / MODEL) == before

    image = tmp_path / "one.png"
    picture("disc", 500).save(image)
    assert load(f"{MODEL}@champion", root=root).predict([image])[0].label in LABELS
    write_folder(tmp_path / "new", members(3, start=200))
    finetide(root, "predict", MODEL, "--input", str(tmp_path / "new"), "--output", str(tmp_path / "out.csv"))
    with (tmp_path / "out.csv").open() as stream:
        found = list(csv.DictReader(stream))
    assert [row["image"] for row in found] == sorted(members(3, start=200))
    assert {row["label"] for row in found} <= set(LABELS)

    incoming = write_zip(tmp_path / "later.zip", members(30, dark=True, start=100))
    finetide(root, "advance", MODEL, str(incoming))
    said = finetide(root, "run", check=False).stdout
    assert "domain AUC" in said
    assert {path.name for path in (root / "serving" / MODEL).iterdir() if path.is_dir()} >= bundles

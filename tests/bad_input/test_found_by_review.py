"""Faults that a reviewer met: each one clear error now, or none at all where nothing was wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from finetide import base
from finetide.cli.shared import check_target
from finetide.config.images import ImageColumnParams
from finetide.config.ingest import ColumnParams
from finetide.config.load import check, read_yaml
from finetide.config.params import Params
from finetide.data.images.archive import read_zip
from finetide.data.images.pack import packed
from finetide.data.payload import read_split
from finetide.engine import inference
from finetide.errors import (
    BaseModelError,
    ConfigError,
    DataError,
    InputError,
    IntegrityError,
    MachineError,
    ToolError,
)  # fmt: skip
from finetide.files import read_json
from finetide.images import check_processor
from finetide.init.project import Wanted, create
from finetide.pipeline import dvc, journal, run
from finetide.predicting import predict_images
from finetide.registry import ledger, raw
from finetide.registry.alias import read_alias
from finetide.registry.git import open_repository
from support.images import encoded, members, micro_vision, picture, write_folder, write_zip
from support.messages import rows, write_csv
from support.micro import micro_base
from support.registry import MODEL, append_many, git, make_project

COLUMNS = ImageColumnParams(image="image", label="label", split=None, group=None)
PRESETS = Path(__file__).parents[2] / "src/finetide/init/presets"


def test_lines_of_the_journal_that_are_none_are_skipped(tmp_path: Path) -> None:
    journal.append(tmp_path, "m", stage="train", state="ran")
    with journal.path_of(tmp_path, "m").open("ab") as stream:
        stream.write(b"\xff\xfe\x00\n1\n[]\n" + b"[" * 100_000 + b"\n")
    journal.append(tmp_path, "m", stage="judge", state="ran")
    assert [event["stage"] for event in journal.read(tmp_path, "m")] == ["train", "judge"]


def test_a_torn_table_between_stages_is_named(tmp_path: Path) -> None:
    table = tmp_path / "split.parquet"
    pd.DataFrame({"row_id": ["a"]}).to_parquet(table)
    table.write_bytes(table.read_bytes()[:100])

    class Stage:
        def dep(self, name: str) -> Path:
            return tmp_path / name

    stage: Any = Stage()
    with pytest.raises(IntegrityError, match=r"split.parquet: is not a readable Parquet file") as torn:
        read_split(stage)
    assert torn.value.fix == "run its stage again: dvc repro"


def test_an_altered_output_is_no_change_of_what_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the window would be pinned anew and everything trained again, where DVC brings one file back."""
    altered = {
        "split@m": [{"changed outs": {"split.parquet": "modified"}}],
        "train@m": [{"changed deps": {"split.parquet": "modified"}}],
    }
    monkeypatch.setattr(dvc, "json_output", lambda *_: altered)
    assert not run.modified(tmp_path, altered)
    altered["train@m"][0]["changed deps"]["params.yaml"] = {"models.m.train": "modified"}  # type: ignore[assignment]
    assert run.modified(tmp_path, altered)


def test_a_device_is_no_place_for_a_file() -> None:
    with pytest.raises(InputError, match="/dev/full: is no regular file"):
        check_target(Path("/dev/full"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image_std": [0.5, 0.0, 0.5]}, "image_std must be above 0"),
        ({"resample": 99}, "resample must be one of Pillow's numbers"),
        ({"size": "big"}, "size says no whole number of pixels"),
        ({"size": {"height": 0, "width": 0}}, "size must be at least one pixel"),
        ({"image_mean": [0.5, 0.5]}, "image_mean must have 3 numbers"),
    ],
)
def test_preprocessing_that_spoils_every_image(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    micro_vision(tmp_path / "base")
    path = tmp_path / "base" / base.IMAGES
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(BaseModelError, match=said) as refused:
        check_processor(tmp_path / "base")
    assert refused.value.where == str(path)


def test_a_vision_model_without_its_preprocessing_is_told_what_it_lacks(tmp_path: Path) -> None:
    micro_vision(tmp_path / "base")
    (tmp_path / "base" / base.IMAGES).unlink()
    with pytest.raises(BaseModelError, match=r"has no preprocessor_config.json") as refused:
        base.pin(f"path:{tmp_path / 'base'}", None, tmp_path)
    assert refused.value.fix == "save the image processor and the config beside the weights"


def test_features_that_are_no_numbers_are_the_bases_fault() -> None:
    with pytest.raises(BaseModelError, match="base: gives no finite features for 1 of 3 rows"):
        inference._finite(np.array([[1, 2], [np.nan, 0], [3, 4]], np.float32))


def test_names_that_are_no_text(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    write_folder(folder, members(2))
    os.rename(folder / "disc" / "000.png", os.fsencode(folder) + b"/disc/\xff\xfe.png")
    with pytest.raises(DataError, match="has a name that is not UTF-8"):
        packed(folder, tmp_path)
    with pytest.raises(InputError, match="has a name that is not UTF-8"):
        predict_images(None, folder, tmp_path / "out.csv", scores=False)  # type: ignore[arg-type]


def test_a_link_out_of_the_folder_is_not_predicted(tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    outside.write_bytes(encoded(picture("disc", 1)))
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "link.png").symlink_to(outside)
    with pytest.raises(InputError, match="is a link that leads out of the folder"):
        predict_images(None, folder, tmp_path / "out.csv", scores=False)  # type: ignore[arg-type]


def test_a_misspelt_split_is_no_label(tmp_path: Path) -> None:
    one = members(2)
    both = {f"train/{name}": data for name, data in one.items()} | {f"tset/{name}": data for name, data in one.items()}
    path = write_zip(tmp_path / "all.zip", both)
    with pytest.raises(DataError, match=r"all.zip: has a folder tset beside train, with the same labels in it"):
        list(read_zip(path, "all.zip", COLUMNS, "auto"))
    right = write_zip(tmp_path / "right.zip", {name.replace("tset", "test"): data for name, data in both.items()})
    assert {found.split for found in read_zip(right, "right.zip", COLUMNS, "auto")} == {"train", "test"}


@pytest.mark.parametrize("text", ["stages: null", "stages: {ingest@m: 3}", "stages: [a]", "other: 1"])
def test_a_lock_of_another_shape_is_torn(tmp_path: Path, text: str) -> None:
    (tmp_path / "dvc.lock").write_text(f"schema: '2.0'\n{text}\n")
    repaired = dvc.repair(tmp_path)
    assert (tmp_path / "dvc.lock").exists() == (text == "other: 1")
    assert bool(repaired) != (text == "other: 1")


@pytest.mark.parametrize("code", dvc.KILLED)
def test_a_killed_child_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(dvc, "call", lambda *_, **__: dvc.Outcome(code, "digraph { }"))
    with pytest.raises(
        MachineError, match=r"`dvc dag --dot` was killed \(signal 9\), by hand or because memory ran out"
    ):
        dvc.checked(tmp_path, ["dag", "--dot"])
    ended = run.run_stage(tmp_path, "train@m")
    assert (ended.state, ended.exit_code) == ("failed", 7)
    assert "run this again: finished stages are kept" in ended.error
    monkeypatch.setattr(dvc, "call", lambda *_, **__: dvc.Outcome(255, "ERROR: failed: train, exited with 137"))
    assert "stage train was killed (signal 9)" in run.run_stage(tmp_path, "train@m").error


def preset(name: str = "text-classification", **changes: Any) -> dict[str, Any]:
    document = read_yaml(PRESETS / f"{name}.yaml")
    for dotted, value in changes.items():
        *way, last = dotted.split("__")
        place = document
        for key in way:
            place = place[key]
        place[last] = value
    return {"schema": 1, "models": {"m": document}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"validate__labels": []}, "must name at least two labels, or be null"),
        ({"validate__labels": ["a"]}, "must name at least two labels, or be null"),
        ({"validate__labels": ["a", "b", "a"]}, "names 'a' twice"),
        ({"ingest__columns__label": "text"}, "text and label are the same column, 'text'"),
        ({"shift__permutations": 10**12}, "must be less than or equal to 10000000"),
        ({"evaluate__bootstrap": 10**12}, "must be less than or equal to 10000000"),
    ],
)  # fmt: skip
def test_settings_that_no_stage_could_follow(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check(preset(**changes), Params, file="params.yaml")


def test_a_key_of_another_task_is_not_proposed_for_itself() -> None:
    document = preset()
    document["models"]["m"]["task"] = "image-classification"
    with pytest.raises(ConfigError) as refused:
        check(document, Params, file="params.yaml")
    assert "ingest.columns.text: unknown key" in str(refused.value)
    assert "did you mean 'text'" not in str(refused.value)


def test_a_number_of_thousands_of_digits(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(f"seed: {'9' * 6000}\n")
    with pytest.raises(ConfigError, match=r"params.yaml: is not valid YAML"):
        read_yaml(tmp_path / "params.yaml")


def test_a_date_is_shown_as_it_was_written() -> None:
    document = preset()
    document["models"]["m"]["seed"] = __import__("datetime").date(2026, 1, 1)
    with pytest.raises(ConfigError, match=r"\(found 2026-01-01\)"):
        check(document, Params, file="params.yaml")


def test_brackets_without_end(tmp_path: Path) -> None:
    (tmp_path / "champion.json").write_text("[" * 100_000)
    with pytest.raises(IntegrityError, match="is not valid JSON"):
        read_json(tmp_path / "champion.json")


def test_an_alias_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "serving" / "m" / "champion.json").mkdir(parents=True)
    with pytest.raises(IntegrityError, match="is no file") as no:
        read_alias(tmp_path, "m")
    assert "finetide run m writes it anew" in str(no.value)


def test_a_repository_with_a_broken_head(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / ".git" / "HEAD").write_bytes(b"\x00")
    with pytest.raises(ToolError, match="git does not take this for a repository any more"):
        open_repository(tmp_path)


def test_a_name_with_a_line_break_is_not_taken_in(tmp_path: Path) -> None:
    odd = tmp_path / "a\nb.csv"
    odd.write_text("x\n")
    with pytest.raises(DataError, match="has a line break or another control character in its name"):
        raw.check(tmp_path / "data" / "m" / "raw", [odd])


def test_a_reason_is_one_line_without_escape_codes(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project")
    append_many(root, "red \x1b[31m\nalert", 1)
    assert ledger.read(root, MODEL)[-1].reason == "red [31m alert 0"


def test_errors_name_the_folder_that_was_given(tmp_path: Path) -> None:
    micro_vision(tmp_path / "base")
    folder = write_folder(tmp_path / "one", {name: data for name, data in members(9).items() if "disc" in name})
    wanted = Wanted("image-classification", "m", (folder,), (), COLUMNS, str(tmp_path / "base"), None)
    with pytest.raises(DataError, match=r"have one label") as refused:
        list(create(tmp_path / "project", wanted))
    assert refused.value.where == str(folder)


def test_a_base_for_something_else(tmp_path: Path) -> None:
    micro_vision(tmp_path / "eyes")
    micro_base(tmp_path / "ears")
    shop = write_csv(tmp_path / "shop.csv", rows(60, "shop", 1))
    words = ColumnParams(text="body", label="intent", split=None, group=None)
    wanted = Wanted("text-classification", "m", (shop,), (), words, str(tmp_path / "eyes"), None)
    with pytest.raises(InputError, match="is a base for images"):
        list(create(tmp_path / "project", wanted))
    photos = write_folder(tmp_path / "photos", members(9))
    wanted = Wanted("image-classification", "m", (photos,), (), COLUMNS, str(tmp_path / "ears"), None)
    with pytest.raises(InputError, match="is a base for texts") as refused:
        list(create(tmp_path / "project", wanted))
    assert "a base for images, or another --task" in str(refused.value)
    assert not (tmp_path / "project").exists()

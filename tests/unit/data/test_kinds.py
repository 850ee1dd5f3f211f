"""The tables that name a family's parts agree with each other, and with what init writes."""

from __future__ import annotations

from importlib.resources import files
from typing import get_args

import pytest

from finetide.config.common import TaskName
from finetide.config.load import check, parse_yaml
from finetide.config.params import Params
from finetide.data import kinds
from finetide.errors import ConfigError
from finetide.evaluation import kinds as scoring
from finetide.init.project import PRESETS
from finetide.pipeline import codelock
from finetide.registry import raw
from finetide.runtime.bundle import FILES
from finetide.runtime.inputs import INPUTS
from finetide.tasks import FAMILIES

TASKS = get_args(TaskName)


def test_every_table_has_every_task() -> None:
    for table in (FAMILIES, kinds.KINDS, scoring.KINDS, INPUTS, FILES, PRESETS):
        assert set(table) == set(TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_the_parts_of_a_family_have_one_table_of_rows(task: str) -> None:
    parts = (kinds.source(task), kinds.checks(task), kinds.contents(task))
    assert len({tuple(part.schema.names) for part in parts}) == 1
    assert parts[2].shows in parts[0].schema.names


@pytest.mark.parametrize("task", TASKS)
def test_the_registry_takes_the_files_that_ingest_reads(task: str) -> None:
    known = {*raw.TEXT_SUFFIXES, *raw.PARQUET_SUFFIXES, *raw.OTHER_SUFFIXES.get(task, ())}
    assert set(kinds.source(task).suffixes) == known


@pytest.mark.parametrize("task", TASKS)
def test_the_preset_is_complete(task: str) -> None:
    text = (files("finetide.init") / "presets" / f"{task}.yaml").read_text(encoding="utf-8")
    check({"schema": 1, "models": {"m": parse_yaml(text)}}, Params, file="params.yaml")


def test_settings_of_another_family_are_refused_by_their_path() -> None:
    text = (files("finetide.init") / "presets" / "image-classification.yaml").read_text(encoding="utf-8")
    document = parse_yaml(text)
    document["train"]["tokens"] = []
    del document["validate"]["min_side"]
    with pytest.raises(ConfigError) as caught:
        check({"schema": 1, "models": {"m": document}}, Params, file="params.yaml")
    assert "models.m.train.tokens: unknown key" in str(caught.value)
    assert "models.m.validate.min_side: is missing" in str(caught.value)
    with pytest.raises(ConfigError, match=r"models.m.task: must be 'text-classification', 'image-classification' or"):
        check({"schema": 1, "models": {"m": {**document, "task": "poetry"}}}, Params, file="params.yaml")


def test_an_unknown_task_has_no_kind() -> None:
    for of in (kinds.source, scoring.scores):
        with pytest.raises(ConfigError, match=r"unknown task \(found 'poetry'\)"):
            of("poetry")


@pytest.mark.parametrize("stage", ["ingest", "validate", "split", "train", "evaluate", "export", "judge"])
def test_a_familys_code_counts_for_its_own_models_only(stage: str) -> None:
    of_text = codelock.stage_closure(stage, "text-classification")
    of_images = codelock.stage_closure(stage, "image-classification")
    assert not [name for name in of_text.modules if "image" in name]
    assert "PIL" not in of_text.libraries
    assert [name for name in of_images.modules if "image" in name]
    assert "PIL" in of_images.libraries
    of_questions = codelock.stage_closure(stage, "question-answering")
    for others in (of_text, of_images):
        assert not [name for name in others.modules if "question" in name]
    assert [name for name in of_questions.modules if "question" in name]
    assert not [name for name in of_questions.modules if "image" in name]


def test_a_stage_counts_its_own_part_of_a_family() -> None:
    assert "finetide.data.images.checks" not in codelock.stage_closure("ingest", "image-classification").modules
    assert "finetide.data.quality" not in codelock.stage_closure("split", "text-classification").modules

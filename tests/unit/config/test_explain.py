from __future__ import annotations

from pathlib import Path

import pytest

from finetide.config.explain import explain, present, readers, settings, unit
from finetide.config.load import read_yaml
from finetide.errors import InputError


def keys(asked: str) -> list[str]:
    return [one.key for one in explain(asked)]


def test_every_setting_says_what_it_means() -> None:
    assert len(settings()) > 50
    assert [one.key for one in settings() if not one.meaning] == []


@pytest.mark.parametrize("asked", ["train.max_length", "models.mail.train.max_length", "max_length"])
def test_a_setting_is_found_as_file_or_message_spell_it(asked: str) -> None:
    assert "train.max_length" in keys(asked)


def test_a_section_shows_all_below_it() -> None:
    assert {one.partition(".")[0] for one in keys("shift")} == {"shift"}
    assert len(keys("shift")) > 5
    assert keys("") == [one.key for one in settings()]


@pytest.mark.parametrize("place", ["[1]", "[]", ".1", ""])
def test_an_item_of_a_list_is_found_by_any_index_or_none(place: str) -> None:
    assert keys(f"models.mail.train.phases{place}.learning_rate") == ["train.phases[].learning_rate"]
    assert keys(f"train.phases{place}.duration.epochs") == ["train.phases[].duration.epochs"]


@pytest.mark.parametrize("asked", ["train.phase.duration.epochs", "train.phases.duration.epoch", "train.phases.seed"])
def test_what_is_no_setting_below_a_list_is_refused(asked: str) -> None:
    with pytest.raises(InputError, match="no such setting"):
        explain(asked)


def test_a_typing_error_names_near_ones() -> None:
    with pytest.raises(
        InputError, match=r"no such setting \(found 'train.max_lenght'\)\n  fix: near: train.max_length"
    ):
        explain("train.max_lenght")


ROOT = Path(__file__).parents[3]


def test_every_setting_has_a_present_value_in_a_project_unless_its_phase_or_rule_is_not_used() -> None:
    document = read_yaml(ROOT / "params.yaml")
    missing = [one.key for one in settings() if one.task is None and not present(document, "tickets", one.key)]
    assert [key for key in missing if "phases[]" not in key] == []
    length = document["models"]["tickets"]["train"]["max_length"]
    assert present(document, "tickets", "train.max_length") == [("models.tickets.train.max_length", length)]


def test_an_item_of_a_list_has_its_number() -> None:
    document = {"models": {"m": {"train": {"phases": [{"kind": "probe"}, {"kind": "tune", "patience": 3}]}}}}
    assert present(document, "m", "train.phases[].patience") == [("models.m.train.phases[1].patience", 3)]


@pytest.mark.parametrize(
    ("key", "stages"),
    [
        ("train.max_length", ["validate", "shift", "train", "evaluate", "export"]),
        ("train.phases[].patience", ["train"]),
        ("ingest.columns.text", ["ingest"]),
        ("judge.floor", ["judge"]),
        ("seed", ["split", "shift", "train", "evaluate", "export", "judge"]),
        ("policy.retrain_on", []),
    ],
)
def test_the_stages_that_read_a_setting(key: str, stages: list[str]) -> None:
    assert readers(read_yaml(ROOT / "dvc.yaml"), key) == stages


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("train.prefix_cache_gib", "GiB"),
        ("split.test_percent", "percent of the rows"),
        ("train.max_length", "tokens"),
        ("train.checkpoint_every_steps", "optimizer steps"),
        ("shift.min_rows", "rows"),
        ("judge.metric", None),
        ("train.phases[].rows", None),
    ],
)
def test_a_unit_is_told_where_there_is_one(key: str, said: str | None) -> None:
    assert unit(next(one for one in settings() if one.key == key)) == said

from __future__ import annotations

import pytest

from finetide.config.explain import explain, settings
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


def test_an_item_of_a_list_is_found_by_any_index() -> None:
    assert keys("models.mail.train.phases[1].learning_rate") == ["train.phases[].learning_rate"]


def test_a_typing_error_names_near_ones() -> None:
    with pytest.raises(
        InputError, match=r"no such setting \(found 'train.max_lenght'\)\n  fix: near: train.max_length"
    ):
        explain("train.max_lenght")

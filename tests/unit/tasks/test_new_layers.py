"""Deeper heads and added words: shapes, saved and loaded, exported alike, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from finetide.errors import BaseModelError, ConfigError
from finetide.task import ModelSettings
from finetide.tasks import heads
from support.micro import FAMILIES, micro_base
from unit.engine.test_loop import TASK

SETTINGS = ModelSettings(("x", "y"), 32, "mean", 0.0, ())
ROWS = pd.DataFrame({"row_id": ["f:1", "f:2"], "text": ["the zorblax is late", "my order"], "label": ["x", "y"]})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new") / "b"
    micro_base(folder)
    return folder


def outputs(built: object, folder: Path) -> torch.Tensor:
    del folder
    return TASK.outputs(built.module, TASK.collate(built, TASK.encode(built, ROWS), [0, 1]))  # type: ignore[attr-defined,arg-type]


def test_a_deep_head_has_its_layers_and_starts_without_an_opinion() -> None:
    head = heads.make(8, [16, 4], 3, 0.1)
    assert [(part.in_features, part.out_features) for part in head.modules() if isinstance(part, nn.Linear)] == [
        (8, 16), (16, 4), (4, 3)
    ]  # fmt: skip
    assert torch.equal(head(torch.randn(5, 8)), torch.zeros(5, 3))
    assert heads.last(head).out_features == 3
    assert heads.last(heads.make(8, [], 3, 0.1)).in_features == 8


def test_it_comes_back_from_its_weights_and_another_one_is_refused(base: Path, tmp_path: Path) -> None:
    built = TASK.build(base, replace(SETTINGS, hidden=(24,)), seed=1)
    nn.init.normal_(heads.last(built.module.get_submodule("head")).weight)
    TASK.save(built, tmp_path / "saved")
    for hidden in ((24,), None):
        again = TASK.build(tmp_path / "saved", replace(SETTINGS, hidden=hidden), seed=2)
        assert torch.equal(outputs(again, base), outputs(built, base))
    with pytest.raises(BaseModelError, match=r"a head of hidden layers \[24\].*found \[\]|hidden layers \[24\]"):
        TASK.build(tmp_path / "saved", SETTINGS, seed=2)


def test_a_new_label_gets_a_row_in_the_last_layer(base: Path, tmp_path: Path) -> None:
    built = TASK.build(base, replace(SETTINGS, hidden=(24,)), seed=1)
    nn.init.normal_(heads.last(built.module.get_submodule("head")).weight)
    TASK.save(built, tmp_path / "saved")
    grown = TASK.build(tmp_path / "saved", replace(SETTINGS, labels=("a", "x", "y"), hidden=(24,)), seed=2)
    assert torch.equal(outputs(grown, base)[:, 1:], outputs(built, base))
    assert torch.equal(outputs(grown, base)[:, 0], torch.zeros(2))


@pytest.mark.parametrize("family", FAMILIES)
def test_an_added_word_is_one_token_that_starts_as_the_mean_of_its_pieces(family: str, tmp_path: Path) -> None:
    micro_base(tmp_path / "base", family=family)
    plain = TASK.build(tmp_path / "base", SETTINGS, seed=1)
    pieces = plain.preprocessor.tokenizer.encode("zorblax", add_special_tokens=False).ids
    assert len(pieces) > 1
    built = TASK.build(tmp_path / "base", replace(SETTINGS, tokens=("zorblax",)), seed=1)
    number = built.preprocessor.tokenizer.token_to_id("zorblax")
    assert list(TASK.encode(built, ROWS).inputs[0]).count(number) == 1
    old, new = (one.module.get_submodule("encoder").get_input_embeddings().weight for one in (plain, built))  # type: ignore[operator]
    assert torch.allclose(new[number], old[pieces].mean(0), atol=1e-6)
    assert torch.equal(new[: len(old)], old) or number < len(old)
    assert list(TASK.encode(built, ROWS).inputs[1]) == list(TASK.encode(plain, ROWS).inputs[1])
    TASK.save(built, tmp_path / "saved")
    again = TASK.build(tmp_path / "saved", replace(SETTINGS, tokens=("zorblax",)), seed=2)
    assert list(TASK.encode(again, ROWS).inputs[0]) == list(TASK.encode(built, ROWS).inputs[0])
    assert torch.equal(outputs(again, tmp_path), outputs(built, tmp_path))


def test_a_capital_in_a_word_is_met_as_texts_are_read(base: Path) -> None:
    built = TASK.build(base, replace(SETTINGS, tokens=("Zorblax",)), seed=1)
    number = built.preprocessor.tokenizer.token_to_id("Zorblax")
    assert number in TASK.encode(built, ROWS).inputs[0]


def test_a_word_that_is_there_already_is_refused(base: Path) -> None:
    with pytest.raises(ConfigError, match=r"^train\.tokens\[0\]: is a token of the base already"):
        TASK.build(base, replace(SETTINGS, tokens=("order",)), seed=1)

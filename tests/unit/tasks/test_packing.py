"""Texts behind one another in a row: each once, none sees another, and the model says what it says of each alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finetide import tasks
from finetide.task import Built, Examples, ModelSettings
from finetide.tasks import packing
from finetide.tasks.text_classification import PACKABLE
from support.messages import LABELS, rows
from support.micro import FAMILIES, micro_base

TASK = tasks.load("text-classification")
COUNT = 24
TEXTS = st.lists(st.lists(st.integers(5, 99), min_size=1, max_size=40), min_size=1, max_size=30)


@given(TEXTS, st.integers(1, 64), st.sampled_from([0, 2]))
@settings(derandomize=True, deadline=None, max_examples=200, database=None)
def test_every_token_is_there_once_at_its_place(texts: list[list[int]], width: int, first: int) -> None:
    made = {name: value.numpy() for name, value in packing.pack(texts, width, 0, first).items()}
    for number, text in enumerate(texts):
        start = made["starts"][number]
        mine = made["segments"].flatten() == number
        assert mine.nonzero()[0].tolist() == list(range(start, start + len(text)))  # in one piece
        assert made["input_ids"].flatten()[mine].tolist() == text
        assert made["positions"].flatten()[mine].tolist() == list(range(first, first + len(text)))
    assert (made["segments"] >= 0).sum() == sum(map(len, texts))
    assert made["input_ids"].shape[1] <= max(width, *map(len, texts))
    assert not made["input_ids"][made["segments"] < 0].any()


@given(TEXTS, st.integers(1, 64))
@settings(derandomize=True, deadline=None, max_examples=200, database=None)
def test_no_two_rows_would_fit_into_one(texts: list[list[int]], width: int) -> None:
    lengths = [len(text) for text in texts]
    shelves = packing.shelve(lengths, width)
    assert sorted(place for row in shelves for place in row) == list(range(len(texts)))
    used = sorted(sum(lengths[place] for place in row) for row in shelves)
    assert len(used) < 2 or used[0] + used[1] > width


def built_of(family: str, folder: Path, pooling: str) -> tuple[Built, Examples]:
    micro_base(folder, family=family)
    built = TASK.build(folder, ModelSettings(tuple(sorted(LABELS)), 32, pooling, 0.0), seed=1)
    table = rows(COUNT, "shop", 3)
    texts = [row["body"] if place % 3 else row["body"].split()[0] for place, row in enumerate(table)]
    frame = pd.DataFrame(
        {"row_id": [f"x:{place}" for place in range(COUNT)], "text": texts, "label": [row["intent"] for row in table]}
    )
    for part in built.module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    with torch.no_grad():  # it starts at zero, and all gradients below with it
        built.module.get_parameter("head.weight").normal_(0.0, 0.1, generator=torch.Generator().manual_seed(4))
    return built, TASK.encode(built, frame)


def gradients(built: Built, examples: Examples, width: int | None) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    batch = TASK.collate(built, examples, range(COUNT), width=width)
    built.module.zero_grad()
    losses = TASK.loss(TASK.outputs(built.module, batch), batch)
    losses.mean().backward()
    found = {name: value.grad for name, value in built.module.named_parameters() if value.grad is not None}
    return losses.detach(), {name: value.clone() for name, value in found.items()}


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("family", ["Bert", "Electra", "Roberta"])
def test_losses_and_gradients_are_those_of_the_padded_batch(family: str, pooling: str, tmp_path: Path) -> None:
    built, examples = built_of(family, tmp_path / "b", pooling)
    assert TASK.packs(built)
    losses, padded = gradients(built, examples, None)
    assert len(set(examples.lengths.tolist())) > 3
    for width in (1, 24, 64):
        packed_losses, packed = gradients(built, examples, width)
        torch.testing.assert_close(packed_losses, losses, rtol=0, atol=1e-5)
        assert packed.keys() == padded.keys()
        for name, value in padded.items():
            torch.testing.assert_close(packed[name], value, rtol=0, atol=1e-5)


@pytest.mark.parametrize("broken", ["positions", "segments"])
def test_positions_that_run_on_or_texts_that_see_one_another_are_caught(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built, examples = built_of("Bert", tmp_path / "b", "cls")
    losses, _ = gradients(built, examples, None)
    original = packing.pack

    def wrong(*given: object) -> dict[str, torch.Tensor]:
        made = original(*given)  # type: ignore[arg-type]
        width = made["input_ids"].shape[1]
        runs_on = torch.arange(width).expand_as(made["positions"])
        return {**made, broken: runs_on if broken == "positions" else made["segments"].clamp(-1, 0)}

    monkeypatch.setattr(packing, "pack", wrong)
    found, _ = gradients(built, examples, 64)
    assert not torch.allclose(found, losses, atol=1e-4)


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"Bert", "Electra", "Roberta"}))
def test_an_architecture_that_cannot_says_so(family: str, tmp_path: Path) -> None:
    built, _ = built_of(family, tmp_path / "b", "mean")
    assert built.module.encoder.config.model_type not in PACKABLE  # type: ignore[union-attr]
    assert not TASK.packs(built)


def test_the_lengths_decide_how_many_rows() -> None:
    assert packing.shelve([5, 4, 3, 2], 7) == [[0, 3], [1, 2]]
    assert packing.shelve([9, 1], 4) == [[0], [1]]
    assert np.shape(packing.pack([[1, 2, 3], [4]], 4, 0, 0)["input_ids"]) == (1, 4)

"""Rows of the vocabulary that no training row reads: not gone through, not moved; all else as in plain AdamW."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from finetide.engine import tables, tune
from finetide.engine.checkpoint import Checkpoints
from finetide.engine.loop import train
from finetide.engine.progress import Curve
from finetide.errors import IntegrityError
from finetide.layers.policies import Named
from finetide.task import Built
from support.killed import until_it_ends
from support.micro import micro_base
from unit.engine.test_loop import TASK, build, run, settings, spec, weights

WORDS = "encoder.embeddings.word_embeddings.weight"
FULL = Named("full")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables") / "b"
    micro_base(folder)
    return folder


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The micro model's vocabulary counts as a large table."""
    monkeypatch.setattr(tables, "SMALLEST", 16)
    monkeypatch.setattr(tables, "LARGEST_SHARE", 0.999)


def used_rows(base: Path) -> list[int]:
    _, data = build(base)
    return sorted({token for ids in data.train.inputs for token in ids} | {0})


def tuned(base: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *, on: bool, decay: float) -> tuple[Any, Any]:
    with monkeypatch.context() as patch:
        patch.setattr(tables, "SMALLEST", 16 if on else 10**9)
        patch.setattr(tables, "LARGEST_SHARE", 0.999)
        result, built, _ = run(base, folder, [spec(epochs=1, policy=FULL, weight_decay=decay, patience=99)])
    return result, built


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_the_rows_that_are_read_take_the_same_steps(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decay: float
) -> None:
    result, built = tuned(base, tmp_path / "on", monkeypatch, on=True, decay=decay)
    plainly, as_always = tuned(base, tmp_path / "off", monkeypatch, on=False, decay=decay)
    assert any("occur in training rows and learn" in line for line in result.phases[0].decisions)
    assert not any("occur in training rows" in line for line in plainly.phases[0].decisions)
    used = used_rows(base)
    found, expected = built.module.state_dict(), as_always.module.state_dict()
    for name, value in expected.items():
        one, other = (found[name][used], value[used]) if name == WORDS else (found[name], value)
        torch.testing.assert_close(one, other, rtol=0, atol=2e-5)  # a step is up to 1e-3
    assert result.phases[0].score.loss == pytest.approx(plainly.phases[0].score.loss, abs=1e-5)


def test_rows_that_no_training_row_reads_stay_as_the_base_has_them(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, _ = build(base)
    _, built = tuned(base, tmp_path / "on", monkeypatch, on=True, decay=0.1)
    _, decayed = tuned(base, tmp_path / "off", monkeypatch, on=False, decay=0.1)
    before = start.module.state_dict()[WORDS]
    used = used_rows(base)
    unused = sorted(set(range(len(before))) - set(used))
    assert unused
    assert torch.equal(built.module.state_dict()[WORDS][unused], before[unused])
    assert not torch.equal(built.module.state_dict()[WORDS][used], before[used])
    assert not torch.equal(decayed.module.state_dict()[WORDS][unused], before[unused])  # what AdamW does alone


@pytest.mark.usefixtures("small")
def test_the_optimizer_holds_no_more_than_those_rows(base: Path) -> None:
    built, data = build(base)
    tuner = tune.Tuner(TASK, built, data, spec(policy=FULL), settings(), 0, 1)
    held = dict(zip(tuner.names, tuner._parameters(), strict=True))
    # Padding is among them when a batch has any.
    assert held[WORDS].shape[0] in (len(used_rows(base)), len(used_rows(base)) - 1)
    assert tuner.tables.active[0].used.tolist() == sorted(set(tuner.tables.active[0].used.tolist()))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("seed", "policy"), [(0, FULL), (1, FULL), (2, Named("gradual", 0.6)), (3, Named("progressive", 0.9))]
)
def test_killed_and_resumed_it_ends_byte_equal(
    base: Path, tmp_path: Path, seed: int, policy: Named, monkeypatch: pytest.MonkeyPatch
) -> None:
    phases = [spec(epochs=2, policy=policy, patience=99)]
    whole, undisturbed, _ = run(base, tmp_path / "whole", list(phases))
    assert any("occur in training rows" in line for line in whole.phases[0].decisions)
    rng = random.Random(seed)
    left = [rng.randint(1, 5), rng.randint(1, 5)]
    again, resumed, _ = until_it_ends(lambda: run(base, tmp_path / "killed", list(phases)), left, monkeypatch)
    assert weights(resumed) == weights(undisturbed)
    assert again.phases == whole.phases


@pytest.mark.usefixtures("small")
def test_where_it_would_not_be_the_same_there_is_no_stand_in(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built, data = build(base)
    part = built.module.get_submodule("encoder.embeddings.word_embeddings")
    assert tables.find(TASK, built, data.train, WORDS, part) is not None

    class Drawing:
        @staticmethod
        def draws(built: Built) -> bool:
            del built
            return True

        def __getattr__(self, name: str) -> Any:
            return getattr(TASK, name)

    drawing: Any = Drawing()
    assert tables.find(drawing, built, data.train, WORDS, part) is None  # any row may be drawn
    monkeypatch.setattr(tables, "LARGEST_SHARE", 0.01)
    assert tables.find(TASK, built, data.train, WORDS, part) is None  # most of it is read
    monkeypatch.setattr(tables, "LARGEST_SHARE", 0.999)
    monkeypatch.setattr(tables, "SMALLEST", part.num_embeddings + 1)
    assert tables.find(TASK, built, data.train, WORDS, part) is None  # small
    monkeypatch.setattr(tables, "SMALLEST", 16)
    tied = nn.Linear(part.embedding_dim, part.num_embeddings, bias=False)
    tied.weight = part.weight
    built.module.add_module("out", tied)
    assert tables.find(TASK, built, data.train, WORDS, part) is None  # read at the other end too


@pytest.mark.usefixtures("small")
def test_a_table_that_is_read_past_its_stand_in_fails_the_run(base: Path, tmp_path: Path) -> None:
    built, data = build(base)

    class Reading:
        """Reads the weight itself, as a tied output layer without a module of its own does."""

        def __getattr__(self, name: str) -> Any:
            return getattr(TASK, name)

        def outputs(self, module: nn.Module, batch: Any) -> torch.Tensor:
            return TASK.outputs(module, batch) + module.get_parameter(WORDS).sum() * 1e-6

    reading: Any = Reading()
    with pytest.raises(IntegrityError, match=r"word_embeddings\.weight is read in more than one way"):
        train(reading, built, data, [spec(epochs=1, policy=FULL)], settings(), Curve(tmp_path / "c.csv"),
              Checkpoints(tmp_path / "ck" / "key"))  # fmt: skip

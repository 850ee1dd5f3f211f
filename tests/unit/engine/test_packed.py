"""Packed training: the same steps as padded, resumable, where it pays, and only there."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from finetide.engine import packed, tune
from finetide.engine.specs import TuneSpec
from finetide.layers.policies import Named
from support.killed import until_it_ends
from support.micro import micro_base
from unit.engine.test_loop import TASK, build, run, settings, spec, weights

FULL = Named("full")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed") / "b"
    micro_base(folder)
    return folder


def losses(base: Path, packing: str) -> tuple[list[float], list[str]]:
    built, data = build(base, dropout=0.0)
    for module in built.module.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    phase: TuneSpec = spec(epochs=1, policy=FULL)
    tuner = tune.Tuner(TASK, built, data, phase, settings(packing=packing, batch_tokens=96), 0, 1)
    built.module.train()
    return [tuner._step(tuner._order(0)[step], tune.Progressed(step=step)) for step in range(5)], tuner.packing


def test_the_steps_are_those_of_padded_batches(base: Path) -> None:
    found, told = losses(base, "always")
    padded, nothing = losses(base, "never")
    assert found == pytest.approx(padded, abs=1e-5)
    assert nothing == []
    assert "rows are packed into 128 tokens, wherever no prefix is kept" in told[0]
    assert "would be padding" in told[0]


def test_auto_packs_where_padding_is_worth_it(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, told = losses(base, "auto")
    assert told == ["rows are not packed: padding is 1% of a batch's tokens"]
    monkeypatch.setattr(packed, "WORTH", 0.001)
    _, told = losses(base, "auto")
    assert "rows are packed" in told[0]


def test_what_cannot_be_packed_says_so(tmp_path: Path) -> None:
    micro_base(tmp_path / "b", family="DistilBert")
    _, told = losses(tmp_path / "b", "always")
    assert told == ["rows are not packed: the model or the objective takes one text a row"]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kept", [False, True])
def test_killed_and_resumed_it_ends_byte_equal(
    base: Path, tmp_path: Path, seed: int, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"packing": "always"}
    policy = FULL
    if kept:  # packed until the frozen blocks' activations are kept, and by row from there on
        policy = Named("progressive", 0.99)
        given |= {"prefix_cache": tmp_path / "kept", "prefix_cache_gib": 1.0}
    phases = [spec(epochs=2, policy=policy, patience=99)]
    whole, undisturbed, _ = run(base, tmp_path / "whole", list(phases), **given)
    assert any("rows are packed" in line for line in whole.phases[0].decisions)
    rng = random.Random(seed)
    left = [rng.randint(1, 6), rng.randint(1, 6)]
    again, resumed, _ = until_it_ends(lambda: run(base, tmp_path / "killed", list(phases), **given), left, monkeypatch)
    assert weights(resumed) == weights(undisturbed)
    assert again.phases == whole.phases

"""Phases beside probe and tune: adaptation to texts, and averaging; exact resume, and kept only when better."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from finetide.engine import average as averaging
from finetide.engine.average import mean, mix
from finetide.engine.checkpoint import Checkpoints
from finetide.engine.loop import Result, train
from finetide.engine.progress import Curve
from finetide.engine.remembered import Memory, Remembered
from finetide.engine.specs import AverageSpec, Data, PhaseSpec, Score, SoupSpec
from finetide.errors import DataError
from finetide.layers.policies import Adapting, Named
from finetide.layers.rules import Adapter
from finetide.task import Built
from support.killed import KilledError, until_it_ends
from support.micro import micro_base
from unit.engine.test_loop import PROBE, TASK, build, frame, settings, spec, weights


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phases") / "b"
    micro_base(folder)
    return folder


def run(base: Path, folder: Path, phases: list[PhaseSpec], *, unlabelled: int = 60) -> tuple[Result, Built, Curve]:
    built, data = build(base)
    texts = frame(unlabelled, 5).assign(label=None)
    inputs = {"all": (TASK.encode(built, texts), TASK.encode(built, texts.head(20)))}
    curve = Curve(folder / "curve.csv")
    checkpoints = Checkpoints(folder / "ck" / "key")
    result = train(TASK, built, Data(data.train, data.validation, inputs), phases, settings(), curve, checkpoints)
    return result, built, curve


ADAPT = spec(objective="masked-language", rows="all", epochs=3, policy=Named("full"))
MIX = AverageSpec((1, 2), (0.25, 0.5, 0.75))


def test_adapting_changes_the_encoder_and_is_never_what_is_kept(base: Path, tmp_path: Path) -> None:
    result, built, curve = run(base, tmp_path, [ADAPT, PROBE])
    assert [phase.kind for phase in result.phases] == ["adapt", "probe"]
    assert result.kept == 1
    assert "phase 1 (adapt) guessed" in result.sentence
    plain = weights(build(base)[0])
    changed = {name for name, value in weights(built).items() if value != plain[name]}
    assert {"head.weight", "encoder.encoder.layer.0.output.dense.weight"} <= changed
    losses = [row.validation_loss for row in curve.rows if row.phase == 0]
    assert losses[-1] < losses[0]
    assert built.module.state_dict().keys() == build(base)[0].module.state_dict().keys()


def test_adapters_learn_from_texts_too(base: Path, tmp_path: Path) -> None:
    adapter = Adapting(Adapter("lora", 4, 8.0, 0.0), "linear")
    result, built, curve = run(base, tmp_path, [replace(ADAPT, policy=adapter, learning_rate=1e-2), PROBE])
    losses = [row.validation_loss for row in curve.rows if row.phase == 0]
    assert losses[-1] < losses[0]
    plain = weights(build(base)[0])
    changed = {name for name, value in weights(built).items() if value != plain[name]}
    assert len(changed) == 2 + 2 * 6
    assert any("have their adapters merged in" in line for line in result.phases[0].decisions)


def test_a_frozen_layer_stays_through_adaptation_and_tuning(base: Path, tmp_path: Path) -> None:
    adapt = spec(objective="masked-language", rows="all", epochs=1)
    result, built, _ = run(base, tmp_path, [adapt, PROBE, spec(epochs=1)])
    plain = weights(build(base)[0])
    assert {name for name in result.proof if "embeddings" in name} == set(result.proof) != set()
    held = [name for name in result.proof if name in plain]  # position_ids is a buffer that is not saved
    assert all(weights(built)[name] == plain[name] for name in held)
    moved, _, _ = run(base, tmp_path / "moved", [ADAPT, PROBE, spec(epochs=1)])
    assert not moved.proof  # frozen while it was tuned, yet adapted before


SOUP = SoupSpec(1, 3)


@pytest.mark.parametrize(
    "phases",
    [
        [ADAPT, PROBE, spec(epochs=1)],
        [PROBE, spec(epochs=1), spec(epochs=1), MIX],
        [PROBE, spec(epochs=2, remember=3), spec(epochs=1), SOUP],
    ],
)
def test_killed_at_any_step_and_resumed_they_end_byte_equal(
    base: Path, tmp_path: Path, phases: list[PhaseSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, undisturbed, curve = run(base, tmp_path / "whole", phases)
    mixed = averaging.evaluate

    def dying_mix(*given: object) -> Score:
        monkeypatch.setattr(averaging, "evaluate", mixed)
        raise KilledError

    monkeypatch.setattr(averaging, "evaluate", dying_mix)
    again, resumed, curve_again = until_it_ends(
        lambda: run(base, tmp_path / "killed", phases), [3, 5, 4, 2], monkeypatch
    )
    assert weights(resumed) == weights(undisturbed)
    assert (again.phases, again.kept, again.proof) == (whole.phases, whole.kept, whole.proof)
    assert curve_again.path.read_bytes() == curve.path.read_bytes()


def test_no_rows_to_adapt_to_is_said(base: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.phases\[0\]\.rows: there are no such rows to adapt to") as told:
        run(base, tmp_path, [ADAPT, PROBE], unlabelled=0)
    assert "write rows: all, or leave the phase out" in str(told.value)


def test_masks_below_a_frozen_prefix_forbid_to_keep_it(base: Path, tmp_path: Path) -> None:
    built, data = build(base)
    inputs = {"all": (data.train, data.validation)}
    phases: list[PhaseSpec] = [spec(objective="masked-language", rows="all", epochs=3, policy=Named("last", 1)), PROBE]
    given = settings(prefix_cache=tmp_path / "kept", prefix_cache_gib=1.0)
    filled = Data(data.train, data.validation, inputs)
    result = train(TASK, built, filled, phases, given, Curve(tmp_path / "c"), Checkpoints(tmp_path / "ck" / "k"))
    assert "no frozen prefix is kept: the inputs are drawn anew in every epoch" in result.phases[0].decisions


def test_a_mixture_lies_on_the_line_and_leaves_equal_weights_to_the_bit() -> None:
    first = {"a": torch.tensor([0.1, 0.7]), "same": torch.tensor([0.1]), "count": torch.tensor([3])}
    second = {"a": torch.tensor([0.3, 0.2]), "same": torch.tensor([0.1]), "count": torch.tensor([5])}
    mixed = mix(first, second, 0.25)
    assert mixed["a"].tolist() == pytest.approx([0.15, 0.575])
    assert torch.equal(mixed["same"], first["same"])
    assert mixed["count"].item() == 5


@pytest.mark.parametrize(("middle", "kept"), [(0.9, True), (0.7, False)])
def test_a_mixture_is_kept_only_if_it_beats_both_ends(
    base: Path, tmp_path: Path, middle: float, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    built, data = build(base)
    first = {name: value.clone() for name, value in built.module.state_dict().items()}
    second = {name: value + 1 if value.is_floating_point() else value for name, value in first.items()}
    scores = iter([0.7, middle, 0.65, 0.8])  # of shares 0, 0.5, 0.75, 1
    monkeypatch.setattr(averaging, "evaluate", lambda *_: Score(next(scores), 1.0))
    spec_ = AverageSpec((0, 1), (0.5, 0.75))
    curve = Curve(tmp_path / "c")
    result, state = averaging.average(TASK, built, data, spec_, settings(), curve, {0: first, 1: second}, 2)
    expected = mix(first, second, 0.5) if kept else second
    assert all(torch.equal(state[name], expected[name]) for name in state)
    assert result.score.accuracy == (0.9 if kept else 0.8)
    said = "0.5 is kept" if kept else "no mixture is better than both: none is kept"
    assert result.decisions[1] == said


def test_the_best_evaluations_are_remembered_best_first() -> None:
    memory = Memory(2)
    for step, accuracy in enumerate([0.5, 0.7, 0.6, 0.7]):
        memory.add(step, Score(accuracy, 1.0), lambda step=step: {"a": torch.tensor(step)})  # type: ignore[misc]
    assert [one.step for one in memory.best] == [1, 3]
    assert [int(one.state["a"]) for one in memory.best] == [1, 3]
    nothing = Memory(0)
    nothing.add(0, Score(0.5, 1.0), lambda: pytest.fail("copied for nothing"))
    assert nothing.best == []


def test_a_mean_leaves_equal_weights_to_the_bit() -> None:
    states = [
        {"a": torch.tensor([value]), "same": torch.tensor([0.1]), "n": torch.tensor(3)} for value in (0.1, 0.2, 0.6)
    ]
    found = mean(states)
    assert found["a"].item() == pytest.approx(0.3)
    assert torch.equal(found["same"], states[0]["same"])
    assert found["n"].item() == 3


@pytest.mark.parametrize(
    ("scores", "inside"),
    [([0.9, 0.95], [0, 1, 2]), ([0.7, 0.85], [0, 2]), ([0.7, 0.8], [0])],
    ids=["all", "one", "none"],
)
def test_a_checkpoint_stays_in_the_soup_only_if_it_is_better_for_it(
    base: Path, tmp_path: Path, scores: list[float], inside: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    built, data = build(base)
    first = {name: value.clone() for name, value in built.module.state_dict().items()}
    states = [
        {name: value + place if value.is_floating_point() else value for name, value in first.items()}
        for place in range(4)
    ]
    remembered = [Remembered(10 - place, Score(0.8 - place / 100, 1.0), states[place]) for place in range(4)]
    given = iter(scores)
    monkeypatch.setattr(averaging, "evaluate", lambda *_: Score(next(given), 1.0))
    result, state = averaging.soup(TASK, built, data, SOUP, settings(), Curve(tmp_path / "c"), remembered, 3)
    expected = mean([states[place] for place in inside])
    assert all(torch.equal(state[name], expected[name]) for name in state)
    assert result.score.accuracy == max([0.8, *[score for score in scores if score > 0.8]])
    said = (
        f"the mean of {len(inside)} checkpoints is kept" if len(inside) > 1 else "no mean is better than the best alone"
    )
    assert result.decisions[-1] == said
    assert result.decisions[0] == "of phase 2, the checkpoint at step 10 is the best: 80.0%, loss 1.0000"

"""The rule against overfitting: on evaluations written by hand, and on models that can only learn by heart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from finetide.engine import overfit, tune
from finetide.engine.checkpoint import Checkpoints
from finetide.engine.loop import Result, train
from finetide.engine.overfit import SAMPLE, Measured, Watch, sample
from finetide.engine.progress import Curve
from finetide.engine.specs import CurveRow, Data, Score
from finetide.task import Built, ModelSettings
from support.killed import KilledError
from support.messages import LABELS
from support.micro import micro_base
from unit.engine.test_loop import TASK, frame, settings, spec, weights

ARGUMENTS = {
    "epochs": 40, "learning_rate": 3e-3, "schedule": "constant", "patience": 30, "evaluations_per_epoch": 1,
    "overfit_gap": 0.2,
}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("overfit") / "b"
    micro_base(folder)
    return folder


def row(gap: float, loss: float, step: int = 1) -> CurveRow:
    measured = Measured(Score(0.5, loss), 0.1, Score(0.5 + gap, 0.1))
    return measured.row(step=step, epoch=1.0, phase=0, train_loss=0.2, learning_rate=0.1)


def looked(watch: Watch, limit: float | None, *seen: tuple[float, float, bool]) -> list[str]:
    return [watch.look(row(gap, loss), limit, better=better) for gap, loss, better in seen]


def test_two_evaluations_in_a_row_end_a_phase_and_the_reason_names_the_numbers() -> None:
    found = looked(Watch(), 0.2, (0.0, 1.0, True), (0.25, 1.2, False), (0.3, 1.5, False))
    assert found[:2] == ["", ""]
    assert found[2] == (
        "overfitting: accuracy 80.0% on training rows and 50.0% on validation, a gap of 0.300 above overfit_gap 0.2 "
        "at 2 evaluations in a row; validation loss 1.500, its lowest was 1.000"
    )


@pytest.mark.parametrize(
    "seen",
    [
        [(0.3, 1.2, False), (0.1, 1.3, False), (0.3, 1.4, False)],  # never twice in a row
        [(0.3, 1.2, False), (0.3, 1.3, True), (0.3, 1.4, False)],  # a gain in between
        [(0.3, 0.9, False), (0.3, 0.8, False), (0.3, 0.7, False)],  # a gap, while validation loss still falls
        [(0.2, 1.2, False), (0.2, 1.3, False), (0.2, 1.4, False)],  # at the limit, not above it
        [(-0.3, 1.2, False), (-0.3, 1.3, False), (-0.3, 1.4, False)],  # worse on training rows
    ],
)
def test_it_does_not_fire(seen: list[tuple[float, float, bool]]) -> None:
    assert set(looked(Watch(), 0.2, (0.0, 1.0, True), *seen)) == {""}


def test_without_a_limit_nothing_fires() -> None:
    assert set(looked(Watch(), None, (0.0, 1.0, True), *[(0.9, 2.0, False)] * 5)) == {""}


def test_the_sample_is_seeded_sorted_and_limited(base: Path) -> None:
    built = TASK.build(base, ModelSettings(tuple(sorted(LABELS)), 32, "mean", 0.1), seed=1)
    many = TASK.encode(built, pd.concat([frame(90, 1)] * 8))
    few = TASK.encode(built, frame(30, 1))
    data = Data(many, few)
    assert sample(data, 3) == sample(data, 3) == sorted(set(sample(data, 3)))
    assert len(sample(data, 3)) == SAMPLE
    assert sample(data, 3) != sample(data, 4)
    assert sample(Data(few, many), 3) == list(range(30))


def run(
    base: Path, folder: Path, relabel: Callable[[pd.DataFrame, int], pd.DataFrame], **changes: object
) -> tuple[Result, Built, Curve]:
    built = TASK.build(base, ModelSettings(tuple(sorted(LABELS)), 32, "mean", 0.0), seed=1)
    data = Data(TASK.encode(built, relabel(frame(60, 1), 1)), TASK.encode(built, relabel(frame(60, 2), 2)))
    phases = [spec(**{**ARGUMENTS, **changes})]
    curve = Curve(folder / "curve.csv")
    result = train(TASK, built, data, phases, settings(), curve, Checkpoints(folder / "ck" / "key"))
    return result, built, curve


def random_labels(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    return rows.assign(label=np.random.default_rng(seed).permutation(rows["label"].to_numpy()))


def as_they_are(rows: pd.DataFrame, _seed: int) -> pd.DataFrame:
    return rows


def test_random_labels_are_learnt_by_heart_and_the_rule_ends_it(base: Path, tmp_path: Path) -> None:
    result, _, curve = run(base, tmp_path, random_labels)
    last = curve.rows[-1]
    (why,) = [line for line in result.phases[0].decisions if "overfitting" in line]
    assert result.phases[0].steps < 40 * 4
    assert why.startswith(f"ended early at step {result.phases[0].steps}: overfitting: ")
    assert f"accuracy {last.sample_accuracy:.1%} on training rows and {last.validation_accuracy:.1%} on" in why
    assert f"a gap of {last.gap:.3f} above overfit_gap 0.2" in why
    assert last.gap > 0.2
    assert last.validation_loss > min(row.validation_loss for row in curve.rows)
    assert last.validation_ece > curve.rows[0].validation_ece + 0.1  # sure of what it does not know


def test_without_the_rule_it_goes_on(base: Path, tmp_path: Path) -> None:
    result, _, curve = run(base, tmp_path, random_labels, overfit_gap=None, epochs=15)
    assert result.phases[0].steps == 15 * 4
    assert curve.rows[-1].gap > 0.2


def test_what_can_be_learnt_is_not_ended(base: Path, tmp_path: Path) -> None:
    result, _, curve = run(base, tmp_path, as_they_are, epochs=15)
    assert result.phases[0].steps == 15 * 4
    assert not [line for line in result.phases[0].decisions if "overfitting" in line]
    assert curve.rows[-1].validation_accuracy > 0.9


@pytest.mark.parametrize("before_the_end", [2, 4, 7])
def test_killed_and_resumed_the_rule_ends_at_the_same_step_with_the_same_bytes(
    base: Path, tmp_path: Path, before_the_end: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, undisturbed, curve = run(base, tmp_path / "whole", random_labels)
    end = whole.phases[0].steps
    original = tune.Tuner._step
    left = [end - before_the_end]

    def dying(self: tune.Tuner, rows: list[int], at: tune.Progressed) -> float:
        if at.step == left[0]:
            left.clear()
            left.append(-1)
            raise KilledError
        return original(self, rows, at)

    monkeypatch.setattr(tune.Tuner, "_step", dying)
    with pytest.raises(KilledError):
        run(base, tmp_path / "killed", random_labels)
    torch.manual_seed(99)  # whatever the next process starts with
    again, resumed, curve_again = run(base, tmp_path / "killed", random_labels)
    assert weights(resumed) == weights(undisturbed)
    assert again.phases == whole.phases
    assert curve_again.path.read_bytes() == curve.path.read_bytes()


def test_what_the_rule_remembers_is_in_the_checkpoint() -> None:
    at = tune.Progressed(best=Score(0.5, 1.0), watch=Watch(0.75, 1))
    assert tune.Progressed.from_json(at.as_json()) == at


def test_measuring_changes_no_weight_and_no_random_state(base: Path) -> None:
    built = TASK.build(base, ModelSettings(tuple(sorted(LABELS)), 32, "mean", 0.5), seed=1)
    data = Data(TASK.encode(built, frame(30, 1)), TASK.encode(built, frame(15, 2)))
    built.module.train()
    before, state = weights(built), torch.get_rng_state()
    measured = overfit.measure(TASK, built, data, settings())
    assert weights(built) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert built.module.training
    assert measured.score == tune.evaluate(TASK, built, data.validation, settings())
    seen = tune.evaluate(TASK, built, data.train, settings())
    assert (measured.sample.accuracy, measured.sample.loss) == pytest.approx((seen.accuracy, seen.loss), abs=1e-6)


def with_repeats(rows: pd.DataFrame, copies: int, wrong: bool) -> pd.DataFrame:
    """Six rows come ``copies`` times; wrong: with a label that is not theirs."""
    labels = sorted(LABELS)
    few = rows.head(6)
    if wrong:
        few = few.assign(label=[labels[(labels.index(label) + 1) % len(labels)] for label in few["label"]])
    return pd.concat([rows.iloc[6:], *[few] * copies], ignore_index=True)


@pytest.mark.parametrize(("copies", "epochs", "heart"), [(12, 6, True), (4, 1, False)])
def test_rows_that_come_again_and_again_are_seen_to_be_learned_by_heart(
    base: Path, tmp_path: Path, copies: int, epochs: int, heart: bool
) -> None:
    built = TASK.build(base, ModelSettings(tuple(sorted(LABELS)), 32, "mean", 0.0), seed=1)
    few_steps = {"learning_rate": 3e-3, "epochs": epochs, "schedule": "constant", "patience": 99}
    shuffled = random_labels(frame(60, 1), 7)  # nothing to learn but by heart
    data = Data(TASK.encode(built, with_repeats(shuffled, copies, wrong=False)), TASK.encode(built, frame(60, 2)))
    curve = Curve(tmp_path / "curve.csv")
    phase = spec(**few_steps, overfit_gap=None, evaluations_per_epoch=1)
    result = train(TASK, built, data, [phase], settings(), curve, Checkpoints(tmp_path / "ck" / "key"))
    (line,) = [line for line in result.phases[0].decisions if "occur more than once" in line]
    last = curve.rows[-1]
    assert line.startswith(
        f"{len(data.repeated)} training rows occur more than once; their loss is {last.repeated_loss:.3f}"
    )
    assert (last.repeated_loss < 0.5 * last.sample_loss) is heart
    assert line.endswith(": learned by heart" if heart else ": not learned by heart")


def test_hardly_any_repeated_rows_are_not_measured(base: Path, tmp_path: Path) -> None:
    result, _, curve = run(base, tmp_path, as_they_are, epochs=1)
    assert {row.repeated_loss for row in curve.rows} == {None}
    assert not [line for line in result.phases[0].decisions if "more than once" in line]

"""What training does by the recipe of the shift stage: weights, corrections, bounds, each only where it helps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from finetide.engine import forgetting, probe, weigh
from finetide.engine.auto import Candidate, _hinted
from finetide.engine.checkpoint import Checkpoints
from finetide.engine.correct import correct
from finetide.engine.inference import predict
from finetide.engine.loop import KEPT, Result, train
from finetide.engine.progress import Curve
from finetide.engine.specs import Data, Score
from finetide.layers.policies import Named
from finetide.task import Built
from support.micro import micro_base
from unit.engine.test_loop import PROBE, TASK, build, frame, settings, spec, weights


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipe") / "b"
    micro_base(folder, layers=1)
    return folder


def fitted(base: Path, folder: Path, **changes: object) -> tuple[Result, Built, Data]:
    built, data = build(base)
    data = replace(data, **changes)  # type: ignore[arg-type]
    curve = Curve(folder / "curve.csv")
    result = train(TASK, built, data, [PROBE, spec(epochs=1)], settings(), curve, Checkpoints(folder / "ck" / "key"))
    return result, built, data


def test_weights_are_high_where_incoming_rows_lie_and_clipped() -> None:
    rng = np.random.default_rng(0)
    incoming = np.arange(600) < 200
    x = rng.normal(size=(600, 4)).astype(np.float32)
    x[incoming, 0] += 1.5
    found, rest = weigh.importance(x, incoming, x[:50] + 0, 4.0, seed=3)
    assert found.min() >= 0.25
    assert found.max() <= 4.0
    assert np.corrcoef(np.log(found), x[:, 0])[0, 1] > 0.9
    assert rest.shape == (50,)
    assert np.array_equal(found, weigh.importance(x, incoming, x[:50], 4.0, seed=3)[0])
    alike = weigh.importance(rng.normal(size=(600, 4)).astype(np.float32), incoming, x[:5], 4.0, seed=3)[0]
    assert abs(float(np.log(alike).mean())) < 0.1  # where nothing moved, all weigh about alike


def test_a_weight_of_two_is_the_row_twice() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(80, 5)).astype(np.float32), rng.integers(0, 3, 80)
    counts = rng.integers(1, 4, 80)
    counts = counts * 80 / counts.sum()
    times = np.round(counts / counts.min()).astype(int)
    more = np.repeat(np.arange(80), times)
    given = {"labels": 3, "strengths": (0.1,), "max_iterations": 300}
    weighted = probe.fit(x, y, (x, y), weights=times * 80 / times.sum(), **given)  # type: ignore[arg-type]
    repeated = probe.fit(x[more], y[more], (x, y), **given)  # type: ignore[arg-type]
    assert np.allclose(weighted.weight, repeated.weight, atol=2e-3)


def test_weights_of_one_change_no_bit_of_the_phases_and_others_do(base: Path, tmp_path: Path) -> None:
    plain = fitted(base, tmp_path / "a")[1]
    ones = fitted(base, tmp_path / "b", weights=np.ones(90))[1]
    some = fitted(base, tmp_path / "c", weights=np.where(np.arange(90) < 45, 0.25, 1.75))[1]
    assert {name for name in weights(plain) if weights(plain)[name] != weights(ones)[name]} == set()
    assert weights(plain)["head.weight"] != weights(some)["head.weight"]


def test_weighted_scores() -> None:
    logits = np.array([[2.0, 0.0], [0.0, 2.0]], dtype=np.float32)
    assert weigh.score(logits, np.array([0, 0]), np.array([3.0, 1.0])).accuracy == 0.75


def test_new_priors_are_a_bias_on_the_logits_and_kept_if_validation_is_better(base: Path, tmp_path: Path) -> None:
    built, data = build(base)  # of an untrained head every label is as likely
    known = weights(built)
    before = predict(TASK, built, data.validation, batch_tokens=512)
    truth = np.asarray(data.validation.targets)
    held = np.where(truth == 1, 5.0, 0.2)
    bias = np.log(np.array([0.2, 5.0, 0.2]))
    phase, said = correct(TASK, built, data, bias, held, settings(), Curve(tmp_path / "c.csv"))
    assert phase is not None
    assert said.endswith("kept, and nothing is trained")
    after = predict(TASK, built, data.validation, batch_tokens=512)
    assert np.allclose(after, before + bias, atol=1e-5)
    assert {name for name, value in weights(built).items() if value != known[name]} == {"head.bias"}


def test_priors_that_validation_speaks_against_change_nothing(base: Path, tmp_path: Path) -> None:
    _, built, data = fitted(base, tmp_path)
    known = weights(built)
    bias = np.array([50.0, 0.0, 0.0])
    phase, said = correct(TASK, built, data, bias, np.ones(45), settings(), Curve(tmp_path / "c.csv"))
    assert (phase, said.endswith("left out")) == (None, True)
    assert weights(built) == known


def sides(data: Data) -> dict[str, object]:
    return {"reference": data.validation, "incoming": data.train}


def test_what_is_lost_within_the_margin_stays(base: Path, tmp_path: Path) -> None:
    _, built, data = fitted(base, tmp_path)
    known = weights(built)
    same = {name: value.clone() for name, value in built.module.state_dict().items()}
    found = forgetting.bound(TASK, built, sides(data), same, 0.0, settings())  # type: ignore[arg-type]
    assert found.share == 0.0
    assert weights(built) == known
    assert found.said.endswith("0.0 ± 0.0 points lost, within the margin of 0.0 points")


def test_a_loss_that_may_be_chance_stays_and_the_same_loss_of_many_rows_does_not() -> None:
    """One row of twenty-five that were right: 4 ± 4 points. Forty of a thousand: 4 ± 0.6."""

    def lost(rows: int) -> forgetting._Loss:
        before, after = np.ones(rows), np.where(np.arange(rows) % 25 == 0, 0.0, 1.0)
        scores = [forgetting._Rows(Score(float(right.mean()), 1.0), right) for right in (before, after)]
        return scores[1].lost(scores[0])

    few, many = lost(25), lost(1000)
    assert (str(few), str(many)) == ("4.0 ± 4.0 points", "4.0 ± 0.6 points")
    assert not few.beyond(0.02)
    assert many.beyond(0.02)
    assert not many.beyond(0.034)
    assert few.mean > 0.034


def test_rows_that_are_neither_right_nor_wrong_count_by_their_mean() -> None:
    before, after = (forgetting._Rows(Score(metric, 1.0), None) for metric in (0.5, 0.47))
    assert str(after.lost(before)) == "3.0 ± 0.0 points"
    assert after.lost(before).beyond(0.02)


def test_what_is_lost_beyond_the_margin_goes_back_towards_the_champion(base: Path, tmp_path: Path) -> None:
    """Training that turned two labels round forgets; the result does not, and the record says what was tried."""
    _, built, data = fitted(base, tmp_path)
    champion = {name: value.clone() for name, value in built.module.state_dict().items()}
    with torch.no_grad():
        built.module.head.weight.copy_(champion["head.weight"][[1, 0, 2]])  # type: ignore[union-attr,operator]
        built.module.head.bias.copy_(champion["head.bias"][[1, 0, 2]])  # type: ignore[union-attr,operator]
    found = forgetting.bound(TASK, built, sides(data), champion, 0.02, settings())  # type: ignore[arg-type]
    assert found.trained["reference"].accuracy < found.champion["reference"].accuracy - 0.02
    rows = len(data.validation.ids)
    lost = found.champion["reference"].accuracy - found.kept["reference"].accuracy
    assert lost - (lost / rows) ** 0.5 <= 0.02  # of rows that were right before, and are not
    assert 0.0 < found.share <= 1.0
    assert f"{found.share:g} is kept" in found.said
    measured = predict(TASK, built, data.validation, batch_tokens=512).argmax(1) == data.validation.targets
    assert measured.mean() == pytest.approx(found.kept["reference"].accuracy)


def test_models_of_other_shapes_cannot_be_mixed(base: Path) -> None:
    built, _ = build(base)
    state = {name: value.clone() for name, value in built.module.state_dict().items()}
    assert forgetting.fits(built, state)
    assert not forgetting.fits(built, {**state, "head.bias": state["head.bias"][:2]})


@pytest.mark.parametrize("better", [True, False])
def test_adapted_weights_are_handed_on_only_if_a_probe_is_better(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, better: bool
) -> None:
    scores = iter([Score(0.5, 1.0), Score(0.6 if better else 0.5, 1.0)])
    monkeypatch.setattr("finetide.engine.loop._probed", lambda *_: next(scores))
    built, data = build(base)
    initial = weights(built)
    texts = frame(40, 5).assign(label=None)
    inputs = {"incoming": (TASK.encode(built, texts), TASK.encode(built, texts.head(10)))}
    adapt = spec(objective="masked-language", rows="incoming", epochs=1, policy=Named("full"), checked=True)
    result = train(
        TASK, built, Data(data.train, data.validation, inputs), [adapt, PROBE], settings(),
        Curve(tmp_path / "curve.csv"), Checkpoints(tmp_path / "ck" / "key"),
    )  # fmt: skip
    assert result.phases[0].decisions[-1].endswith(KEPT) == better
    changed = {name for name, value in weights(built).items() if value != initial[name]}
    assert (changed == {"head.weight", "head.bias"}) != better


def test_a_hint_decides_between_layers_that_are_alike_and_no_others() -> None:
    late, early, full = (Candidate(title, Named("full")) for title in ("last: 2", "block 0 alone", "full"))
    scores = {"last: 2": Score(0.80, 1.0), "block 0 alone": Score(0.79, 1.0), "full": Score(0.60, 1.0)}
    running = [late, early, full]
    assert _hinted(running, scores, None, 6, 100) == (late, [])
    found, lines = _hinted(running, scores, "early", 6, 100)
    assert found is early
    assert lines == ["auto: the shift asks for early blocks, and block 0 alone is within 4.0% of last: 2"]
    assert _hinted(running, scores, "early", 6, 100_000)[0] is late
    assert _hinted(running, scores, "late", 6, 100)[0] is late

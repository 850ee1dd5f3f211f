"""How much labelled incoming rows count: chosen on those that the probes did not see, told, and only where asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from finetide.engine import probe, weigh
from finetide.engine.specs import Data, Settings
from finetide.stages import weighting
from finetide.stages.follow import Followed
from finetide.task import Examples
from unit.stages.test_follow import follows, project, recipe, told
from unit.stages.test_train import Project, table

__all__ = ["project"]
SETTINGS = Settings(
    seed=3, batch_rows=8, batch_tokens=2048, precision="fp32", checkpoint_every_steps=9, feature_cache=None
)


def examples(targets: np.ndarray[Any, Any]) -> Examples:
    count = len(targets)
    return Examples(tuple(map(str, range(count))), [None] * count, np.ones(count, np.int64), targets)


def seen(turned: bool, *, arrived: int = 40, known: int = 400) -> tuple[weighting._Seen, Data]:
    """Two labels that the first coordinate tells apart; among incoming rows, if ``turned``, the second one instead."""
    rng = np.random.default_rng(5)

    def side(count: int, axis: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        x = rng.normal(size=(count, 6)).astype(np.float32)
        return x, (x[:, axis] + 0.3 * rng.normal(size=count) > 0).astype(np.int64)

    parts = [side(known, 0), side(arrived, int(turned)), side(60, 0), side(arrived // 4, int(turned))]
    x, y = ([part[which] for part in parts] for which in (0, 1))
    train, validation = np.concatenate(x[:2]), np.concatenate(x[2:])
    place, held = np.arange(len(train)) >= known, np.arange(len(validation)) >= 60
    data = Data(examples(np.concatenate(y[:2])), examples(np.concatenate(y[2:])))
    return weighting._Seen(train, validation, train[:0], place, held, 2), data


def test_incoming_rows_that_follow_another_rule_count_for_several() -> None:
    given, data = seen(turned=True)
    found, at = weighting._balanced(given, data, SETTINGS, Followed(recipe("balance", incoming_weight=16.0)))
    assert found.weights is not None
    assert found.weights.mean() == pytest.approx(1.0)
    ratio = found.weights[given.arrived] / found.weights[~given.arrived][0]
    assert np.unique(np.round(ratio, 9)).size == 1
    assert ratio[0] in (2.0, 4.0, 8.0) or ratio[0] == pytest.approx(10.0)  # 400 rows by 40
    [step] = at.done
    assert (step.kind, step.kept) == ("balance", True)
    assert step.said.startswith(
        "loss of probes on labelled incoming rows that they did not see, by how much one counts"
    )
    assert step.said.count(":") == 1 + 5  # what each factor of 1, 2, 4, 8 and 10 came to


def test_incoming_rows_like_the_others_count_as_they_do() -> None:
    given, data = seen(turned=False, arrived=40)
    found, at = weighting._balanced(given, data, SETTINGS, Followed(recipe("balance", incoming_weight=16.0)))
    assert found.weights is None
    assert at.done[0].kept is False


@pytest.mark.parametrize("sizes", [{"arrived": 4}, {"arrived": 40, "known": 79}])
def test_too_few_or_enough_are_left_alone(sizes: dict[str, int]) -> None:
    given, data = seen(turned=True, **sizes)
    found, at = weighting._balanced(given, data, SETTINGS, Followed(recipe("balance", incoming_weight=16.0)))
    assert found is data
    assert at.done[0].said.endswith("reference rows to train on")


def test_the_limit_is_kept_and_weights_of_before_stay_in() -> None:
    given, data = seen(turned=True)
    before = np.where(np.arange(440) < 200, 0.5, 1.5)
    before[400:] = 1.0
    data = Data(data.train, data.validation, weights=before)
    found, _ = weighting._balanced(given, data, SETTINGS, Followed(recipe("balance", incoming_weight=2.0)))
    assert found.weights is not None
    assert found.weights / found.weights[400] == pytest.approx(np.where(given.arrived, 1.0, before / 2.0))


def test_factors_go_up_to_the_limit() -> None:
    assert weigh.factors(16.0) == (2.0, 4.0, 8.0, 16.0)
    assert weigh.factors(3.5) == (2.0, 3.5)
    assert weigh.factors(1.5) == (1.5,)


def test_folds_are_of_the_rows_that_are_held_out() -> None:
    held = np.arange(50) % 3 == 0
    folds = weigh.folds(held, 1)
    assert set(folds[held]) == set(range(weigh.FOLDS))
    assert set(folds[~held]) == {-1}


def test_rows_of_no_fold_are_seen_by_every_probe() -> None:
    given, data = seen(turned=False)
    y = np.asarray(data.train.targets)
    folds = weigh.folds(given.arrived, 1)
    found, _ = probe.out_of_fold(given.train, y, folds, given.train[:0], labels=2, strengths=(0.01,), max_iterations=40)
    assert (found[~given.arrived] == 0).all()
    assert found[given.arrived].sum(axis=1) == pytest.approx(1.0)
    alone = np.where(folds == 2, 0, -1)  # one fold of these rows: the same probe
    again, _ = probe.out_of_fold(given.train, y, alone, given.train[:0], labels=2, strengths=(0.01,), max_iterations=40)
    assert again[folds == 2] == pytest.approx(found[folds == 2], abs=1e-3)


def test_training_counts_them_and_says_so(project: Project) -> None:
    frame = table(300)
    few = (frame["role"] == "reference") | (frame["split"] != "train") | (frame.index % 3 == 0)
    project.rows(frame[few])
    plain = project.run()
    found = follows(project, "balance", incoming_weight=16.0)
    step = told(found)["balance"]
    assert "1: " in step.said
    assert (found.weights_sha256 != plain.weights_sha256) == bool(step.kept)


def test_nothing_is_looked_at_where_no_step_asks() -> None:
    _, data = seen(turned=True)

    def never() -> Any:
        raise AssertionError("the base was built")

    assert weighting.weights(None, never, None, data, SETTINGS, Followed(recipe("blocks")))[0] is data  # type: ignore[arg-type]

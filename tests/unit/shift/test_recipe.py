"""The recipe by cause: which steps, with which numbers, and why; and the weights that overlap is told by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from finetide.config.shift import RecipeParams
from finetide.contracts.shift import AccuracyEstimate, Cause, LabelShare, Recipe, ShiftVerdict, ShiftWord, Statistic
from finetide.shift import overlap
from finetide.shift.recipe import Situation, advise, priors

PARAMS = RecipeParams(
    weight_clip=4.0, incoming_weight=16.0, min_overlap=0.1, rate_factor=0.5, adapt_epochs=1, adapt_min_rows=100,
    ask_labels=50, forgetting_margin=0.02,
)  # fmt: skip
AT = Situation(replay=1.0, start="base", champion=("a", "b"), texts=True, followed=True, asks=True)


def share(label: str, before: float, now: float | None, estimated: float | None = None) -> LabelShare:
    return LabelShare(label=label, reference=before, incoming=now, estimated=estimated, low=estimated, high=estimated)


def unseen(effect: float) -> Statistic:
    return Statistic(
        name="unseen inputs", p=0.002, adjusted=0.002, draws=500, effect=effect, unit="share", low=0.0, high=1.0,
        expected=0.05, critical=0.1, detectable=0.1, incoming_rows=400, reference_rows=400, note="",
    )  # fmt: skip


def verdict(word: ShiftWord, *causes: Cause, **more: Any) -> ShiftVerdict:
    plain: dict[str, Any] = {
        "verdict": word, "sentence": "", "alpha": 0.01, "p": 0.002, "reference_rows": 400, "incoming_rows": 400,
        "compared_reference": 399, "compared_incoming": 399, "rows_needed": None, "labelled_share": 1.0,
        "causes": causes, "reasons": (), "statistics": (), "moved": (), "slices": (), "accuracy": None, "overlap": 0.6,
        "labels": (share("a", 0.5, 0.9), share("b", 0.5, 0.1)),
    }  # fmt: skip
    return ShiftVerdict(**{**plain, **more})


def made(word: ShiftWord, *causes: Cause, at: Situation = AT, **more: Any) -> Recipe:
    return advise(verdict(word, *causes, **more), PARAMS, at, "mail")


def kinds(recipe: Recipe) -> list[str]:
    return [step.kind for step in recipe.steps]


@pytest.mark.parametrize("word", ["none", "harmless", "cannot-tell"])
def test_without_a_shift_to_adapt_to_nothing_is_advised(word: ShiftWord) -> None:
    found = made(word)
    assert (kinds(found), found.start, found.forgetting_margin) == ([], "window", None)
    assert found.reason == "mix the incoming rows with 100% of the reference rows (train.replay)"


def test_without_incoming_rows_all_reference_rows_stay() -> None:
    found = made("none", incoming_rows=0, at=replace(AT, replay=0.3))
    assert (found.replay, found.reason) == (1.0, "no incoming rows: train on all reference rows")
    assert made("none", at=replace(AT, replay=0.3)).replay == 0.3


def test_label_shift_alone_is_corrected_without_training() -> None:
    found = made("adapt", "label")
    assert kinds(found) == ["prior-correction"]
    assert found.corrects
    assert found.start == "champion"
    assert found.priors == pytest.approx({"a": 1.8, "b": 0.2}, abs=0.01)
    assert found.forgetting_margin is None  # rows come otherwise: the reference is no yardstick any more


def test_a_correction_needs_a_champion_to_correct() -> None:
    assert not made("adapt", "label", at=replace(AT, champion=None)).corrects


def test_priors_are_estimated_where_incoming_rows_are_not_labelled() -> None:
    labels = (share("a", 0.5, None, 0.75), share("b", 0.5, None, 0.25))
    found = priors(verdict("adapt", "label", labels=labels, labelled_share=0.0), ("a", "b", "unknown"))
    assert found["a"] / found["b"] == pytest.approx(3.0, rel=0.02)
    assert found["unknown"] == pytest.approx(1.0)


def test_a_label_that_did_not_come_is_not_ruled_out() -> None:
    found = priors(verdict("adapt", "label", labels=(share("a", 0.5, 1.0), share("b", 0.5, 0.0))), ("a", "b"))
    assert 0.001 < found["b"] < 0.01


def test_covariate_shift_with_overlap() -> None:
    found = made("adapt", "covariate")
    assert kinds(found) == ["adapt", "weigh", "blocks"]
    assert (found.weight_clip, found.rate_factor, found.adapt_epochs, found.blocks) == (4.0, 1.0, 1, "early")
    assert (found.start, found.forgetting_margin) == ("window", 0.02)
    warm = made("adapt", "covariate", at=replace(AT, start="champion"))
    assert kinds(warm) == ["adapt", "weigh", "lower-rate", "blocks"]
    assert warm.rate_factor == 0.5


def test_a_champion_that_is_wrong_on_incoming_rows_learns_at_the_full_rate() -> None:
    found = made("adapt", "covariate", "concept", at=replace(AT, start="champion"))
    assert "lower-rate" not in kinds(found)
    assert found.rate_factor == 1.0


def test_labels_that_contradict_the_known_ones_are_for_the_judge_to_see() -> None:
    assert made("adapt", "concept").forgetting_margin is None
    assert made("adapt", "covariate", "concept").forgetting_margin is None
    assert made("adapt", "covariate", "label").forgetting_margin == 0.02


def test_what_is_not_there_is_not_advised() -> None:
    assert kinds(made("adapt", "covariate", at=replace(AT, texts=False))) == ["weigh", "blocks"]
    assert kinds(made("adapt", "covariate", incoming_rows=99)) == ["weigh", "balance", "blocks"]
    assert made("adapt", "covariate", at=replace(AT, champion=None)).forgetting_margin is None


def test_without_overlap_labels_are_asked_for_and_nothing_is_weighed() -> None:
    found = made("halt", "covariate", overlap=0.01, labelled_share=0.2)
    assert kinds(found) == ["adapt", "balance", "blocks", "labels"]
    assert found.steps[-1].reason == "no overlap: finetide label-requests mail writes the 50 that tell most"
    assert found.weight_clip == 1.0
    assert "labels" not in kinds(made("adapt", "covariate", overlap=0.01, labelled_share=1.0))


def test_few_labelled_incoming_rows_may_count_for_several() -> None:
    found = made("adapt", "covariate", incoming_rows=160, labelled_share=0.25)
    step = next(one for one in found.steps if one.kind == "balance")
    assert step.reason == (
        "40 labelled incoming rows would be lost among 400 of the reference: each may count for up to 10 of them "
        "(shift.recipe.incoming_weight allows 16)"
    )
    assert found.incoming_weight == 16.0
    fewer = made("adapt", "covariate", incoming_rows=160, labelled_share=0.25, at=replace(AT, replay=0.2))
    assert "up to 2 of them" in next(one.reason for one in fewer.steps if one.kind == "balance")


@pytest.mark.parametrize(
    ("causes", "more"),
    [
        (("covariate",), {}),  # as many as of the reference
        (("covariate",), {"incoming_rows": 201}),  # half as many are not lost among them
        (("covariate",), {"incoming_rows": 40, "labelled_share": 0.0}),
        (("covariate", "concept"), {"incoming_rows": 40}),  # they contradict the known ones, and may be poison
        (("new-labels",), {"incoming_rows": 40}),  # inputs did not move
    ],
)
def test_else_they_count_as_others(causes: tuple[Cause, ...], more: dict[str, Any]) -> None:
    found = made("adapt", *causes, **more)
    assert "balance" not in kinds(found)
    assert found.incoming_weight == 1.0
    off = PARAMS.model_copy(update={"incoming_weight": 1.0})
    assert "balance" not in kinds(advise(verdict("adapt", "covariate", incoming_rows=40), off, AT, "mail"))


def test_new_inputs_ask_for_labels() -> None:
    found = made("adapt", "covariate", labelled_share=0.0, statistics=(unseen(0.4),))
    assert found.steps[-1].kind == "labels"
    assert found.steps[-1].reason.startswith("40% of the incoming rows are unlike any known one")
    assert "labels" not in kinds(made("adapt", "covariate", labelled_share=0.0, statistics=(unseen(0.1),)))


def estimate(*, trusted: bool) -> AccuracyEstimate:
    return AccuracyEstimate(
        reference=0.9, estimated=0.8, low=0.7, high=0.9, by_threshold=0.8, by_agreement=0.8, by_confidence=0.8,
        held_rows=400, labelled=None, trusted=trusted, reason="",
    )  # fmt: skip


def test_labels_are_asked_for_where_there_are_none_and_the_estimate_is_not_trusted() -> None:
    found = made("adapt", "covariate", labelled_share=0.0, accuracy=estimate(trusted=False))
    assert found.steps[-1].reason == (
        "no incoming row is labelled, and without labels nothing trusted says how often the champion is right: "
        "finetide label-requests mail writes the 50 that tell most"
    )
    for more in ({"labelled_share": 0.0, "accuracy": estimate(trusted=True)},
                 {"labelled_share": 0.1, "accuracy": estimate(trusted=False)}):  # fmt: skip
        assert "labels" not in kinds(made("adapt", "covariate", **more))
    apart = {"overlap": 0.01, "labelled_share": 0.0}
    assert "labels" in kinds(made("adapt", "covariate", **apart))
    assert "labels" not in kinds(made("adapt", "covariate", at=replace(AT, asks=False), **apart))


def test_new_labels_grow_the_champions_head() -> None:
    found = made("adapt", "new-labels")
    assert kinds(found) == ["grow-head", "blocks"]
    assert (found.start, found.blocks) == ("champion", "late")
    assert "grow-head" not in kinds(made("adapt", "new-labels", at=replace(AT, champion=None)))


def test_what_is_not_followed_says_so() -> None:
    found = made("adapt", "label", at=replace(AT, followed=False))
    assert found.reason.endswith("label frequencies alone moved: prior-correction (train.recipe is off: not followed)")
    assert not found.corrects


def test_odds_are_the_ratio_of_the_densities() -> None:
    """Two normal densities one apart: their ratio is known."""
    rng = np.random.default_rng(0)
    incoming = np.arange(40_000) < 10_000
    x = rng.normal(size=40_000) + incoming
    found = overlap.odds(x, incoming)
    assert np.abs(np.log(found) - (x - 0.5)).max() < 0.15


def test_the_effective_share_falls_as_the_sides_part() -> None:
    rng = np.random.default_rng(1)
    incoming = np.arange(2000) < 1000
    shares = []
    for apart in (0.0, 1.0, 3.0):
        ratio = overlap.odds(rng.normal(size=2000) + apart * incoming, incoming)
        shares.append(overlap.effective_share(ratio, incoming))
    assert shares[0] > 0.98
    assert shares[1] == pytest.approx(np.exp(-1.0), abs=0.12)  # 1 / E[ratio²] = exp(−distance²)
    assert shares[2] < 0.05


def test_sides_that_are_wholly_apart_do_not_overlap_though_all_reference_rows_weigh_alike() -> None:
    """The reference rows differ from each other by next to nothing beside what parts them from the incoming ones."""
    rng = np.random.default_rng(2)
    incoming = np.arange(400) < 160
    ratio = overlap.odds(0.01 * rng.normal(size=400) + incoming, incoming)
    assert ratio[~incoming].std() / ratio[~incoming].mean() < 0.3
    assert overlap.effective_share(ratio, incoming) < 0.05
    assert overlap.effective_share(np.ones(4), np.array([True, False, False, True])) == 1.0
    assert overlap.effective_share(np.ones(2), np.array([True, True])) == 0.0

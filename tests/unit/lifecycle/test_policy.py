"""When to retrain: each rule, what outranks what, and that the ledger says so once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from finetide.config.load import check
from finetide.config.policy import PolicyParams
from finetide.contracts.judge import JudgeVerdict
from finetide.contracts.shift import AccuracyEstimate, ShiftVerdict, ShiftWord, Statistic
from finetide.contracts.window import ChampionPin
from finetide.errors import ConfigError
from finetide.lifecycle import conclude, outputs, policy
from finetide.lifecycle.policy import Decision, Gain, Known, decide
from finetide.pipeline import journal
from finetide.registry import ledger
from finetide.registry.window import read_window, window_path
from support.artifacts import Artifacts
from support.project import edit_params
from support.registry import MODEL, promote

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
PLAIN: dict[str, Any] = {
    "retrain_on": ["adapt", "cannot-tell", "halt"], "every_days": None, "max_loss": 0.1, "min_new_labels": 1,
    "cool_down_days": 0.0, "min_gain_per_minute": None, "ask_before": [],
}  # fmt: skip


def params(**changes: Any) -> PolicyParams:
    return check({**PLAIN, **changes}, PolicyParams, file="params.yaml", prefix="models.mail.policy")


def shift(word: ShiftWord, **more: Any) -> ShiftVerdict:
    plain: dict[str, Any] = {
        "verdict": word, "sentence": "what was found", "alpha": 0.01, "p": 0.5, "reference_rows": 900,
        "incoming_rows": 300, "compared_reference": 300, "compared_incoming": 300, "rows_needed": None,
        "labelled_share": 1.0, "causes": (), "reasons": (), "statistics": (), "moved": (), "slices": (), "labels": (),
        "accuracy": None,
    }  # fmt: skip
    return ShiftVerdict(**{**plain, **more})


def knows(word: ShiftWord = "adapt", **more: Any) -> Known:
    plain = Known(shift(word), 300, None, False, NOW - timedelta(days=10), False, ())
    return replace(plain, **more)


@pytest.mark.parametrize(
    ("word", "said"), [("adapt", "train"), ("cannot-tell", "train"), ("none", "not-needed"), ("harmless", "not-needed")]
)
def test_the_verdict_alone(word: ShiftWord, said: str) -> None:
    assert decide(knows(word), params(), NOW).word == said
    assert decide(knows("harmless"), params(), NOW).reason == "shift verdict harmless: what was found"


def test_few_labels_wait_unless_none_are_needed() -> None:
    few = knows(labels=49)
    found = decide(few, params(min_new_labels=50), NOW)
    assert found == Decision(
        "wait",
        "shift verdict adapt is worth a retraining (policy.retrain_on); waits: 49 labelled incoming rows of 50 "
        "(policy.min_new_labels)",
    )
    estimated = AccuracyEstimate(
        reference=0.9, estimated=0.9, low=0.9, high=0.9, by_threshold=0.9, by_agreement=None, by_confidence=0.9,
        held_rows=400, labelled=None, trusted=False, reason="",
    )  # fmt: skip
    asked = replace(few, shift=shift("adapt", accuracy=estimated))
    assert decide(asked, params(min_new_labels=50), NOW).reason == (
        f"{found.reason}; finetide label-requests writes the rows whose labels would tell most"
    )
    assert decide(replace(few, labels=50), params(min_new_labels=50), NOW).word == "train"
    assert decide(replace(few, corrects=True), params(min_new_labels=50), NOW).word == "train"


def test_where_nothing_has_arrived_no_rows_wait_for_labels() -> None:
    given = params(retrain_on=["none", "adapt"])
    nothing = knows("none", shift=shift("none", incoming_rows=0), labels=0)
    assert decide(nothing, given, NOW).word == "train"
    assert decide(replace(nothing, shift=shift("none", incoming_rows=1)), given, NOW).word == "wait"


def test_the_cool_down_ends_to_the_second() -> None:
    given = params(cool_down_days=7.0)
    last = NOW - timedelta(days=7)
    assert decide(knows(last=last), given, NOW).word == "train"
    waits = decide(knows(last=last), given, NOW - timedelta(seconds=1))
    assert waits.word == "wait"
    assert waits.reason.endswith("waits until 2026-11-22 12:00 UTC (policy.cool_down_days 7)")
    assert decide(knows(last=last), given, NOW - timedelta(hours=5)) == waits  # the same tomorrow as today
    assert decide(knows(last=None), given, NOW).word == "train"


def test_the_schedule_is_due_on_what_arrived_but_not_on_what_is_harmless() -> None:
    given = params(every_days=10.0)
    assert decide(knows("none"), given, NOW) == Decision(
        "train", "due by schedule: the last retraining was on 2026-11-12, every 10 days"
    )
    assert decide(knows("none"), given, NOW - timedelta(seconds=1)).word == "not-needed"
    assert decide(knows("harmless"), given, NOW).word == "not-needed"
    assert decide(knows("none", shift=shift("none", incoming_rows=0)), given, NOW).word == "not-needed"


def test_a_loss_beyond_the_limit_does_not_wait() -> None:
    held = params(cool_down_days=100.0, min_new_labels=1000)
    assert decide(knows("none", loss=(0.11, "their labels")), held, NOW) == Decision(
        "train", "the champion loses 11.0 points on incoming rows by their labels, more than 10 (policy.max_loss)"
    )
    assert decide(knows("none", loss=(0.1, "their labels")), held, NOW).word == "not-needed"
    assert decide(knows("none", loss=(0.5, "their labels")), params(max_loss=None), NOW).word == "not-needed"


def test_retrainings_that_gained_too_little_wait_until_one_is_due() -> None:
    given = params(min_gain_per_minute=0.001, every_days=30.0)
    poor = knows(gains=(Gain(0.002, 10.0), Gain(0.0, 10.0)))
    found = decide(poor, given, NOW)
    assert found.word == "wait"
    assert found.reason.endswith(
        "the last 2 retrainings gained +0.2 points in 20 min, less than 0.1 a minute (policy.min_gain_per_minute)"
    )
    assert decide(replace(poor, gains=(Gain(0.02, 10.0), Gain(0.0, 10.0))), given, NOW).word == "train"
    assert decide(poor, given, NOW + timedelta(days=20)).word == "train"
    assert decide(replace(poor, gains=()), given, NOW).word == "train"


def test_who_approved_a_halt_has_decided() -> None:
    assert decide(knows("halt", labels=0), params(cool_down_days=100.0, min_new_labels=50), NOW).word == "train"


def test_what_was_decided_is_not_undone_by_its_own_cool_down() -> None:
    assert decide(knows("none", already=True, last=NOW), params(cool_down_days=7.0), NOW).word == "train"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"every_days": 3.0, "cool_down_days": 7.0}, "every_days 3 is within cool_down_days 7: what is due waits"),
        ({"min_gain_per_minute": 0.1, "max_loss": None}, "min_gain_per_minute lets rows wait until every_days or max_"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        params(**changes)


def drop(effect: float, low: float) -> Statistic:
    return Statistic(
        name="champion's accuracy", p=0.01, adjusted=0.05, draws=500, effect=effect, unit="drop", low=low, high=0.3,
        expected=0.0, critical=0.1, detectable=0.1, incoming_rows=50, reference_rows=50, note="",
    )  # fmt: skip


def test_the_loss_is_measured_where_it_is_no_chance_or_the_least_of_a_trusted_estimate() -> None:
    found = AccuracyEstimate(
        reference=0.9, estimated=0.7, low=0.6, high=0.75, by_threshold=0.7, by_agreement=0.7, by_confidence=0.7,
        held_rows=900, labelled=None, trusted=True, reason="",
    )  # fmt: skip
    loss = policy._loss
    assert loss(shift("adapt", statistics=(drop(0.12, 0.04),), accuracy=found)) == (0.12, "their labels")
    assert loss(shift("adapt", statistics=(drop(0.12, -0.01),), accuracy=found)) == (0.0, "their labels")
    assert loss(shift("adapt", accuracy=found)) == (pytest.approx(0.15), "a trusted estimate")
    assert loss(shift("adapt", accuracy=found.model_copy(update={"trusted": False}))) is None
    assert loss(shift("adapt")) is None


def in_service(made: Artifacts) -> None:
    """A window with a champion, and a shift verdict that asks for a retraining."""
    entry = promote(made.root, "one")
    window = read_window(made.root, MODEL)
    pin = ChampionPin(version="v1", hash=entry.bundle_hash or "")
    window.model_copy(update={"champion": pin}).write(window_path(made.root, MODEL))


def test_rows_that_wait_are_told_once_and_stay_incoming(made: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    in_service(made)
    edit_params(made.root, lambda model: model["policy"].update(cool_down_days=36500.0), MODEL)
    monkeypatch.setattr(conclude, "dirty", lambda *_: {f"train@{MODEL}"})
    monkeypatch.setattr(conclude, "read", lambda _: {f"gate@{MODEL}": [], f"train@{MODEL}": [f"gate@{MODEL}"]})
    first, second = (conclude.conclude(made.root, MODEL) for _ in range(2))
    assert (first.outcome, first.exit_code, first.new) == ("postponed", 0, True)
    assert (second.outcome, second.new) == ("postponed", False)
    events = [entry.event for entry in ledger.read(made.root, MODEL)]
    assert events.count("postponed") == 1
    assert "not-needed" not in events
    later = (NOW + timedelta(days=40000)).isoformat()
    assert conclude.training_needed(made.root, MODEL, lambda: later)[0]


def test_what_a_retraining_gained_is_remembered_with_its_minutes(made: Artifacts) -> None:
    verdict = JudgeVerdict.read(outputs.path_of(made.root, MODEL, "judge", "judge.json"))
    for stage, seconds in (("ingest", 500.0), ("train", 90.0), ("train", 60.0), ("export", 30.0)):
        journal.append(made.root, MODEL, stage=stage, state="ran", seconds=seconds)
    policy.remember(made.root, MODEL, verdict.model_copy(update={"difference": 0.03}), promoted=True)
    policy.remember(made.root, MODEL, verdict.model_copy(update={"difference": 0.03}), promoted=False)
    policy.remember(made.root, MODEL, verdict.model_copy(update={"difference": None}), promoted=True)
    assert policy._gains(made.root, MODEL) == [Gain(0.03, 1.5), Gain(0.0, 1.5)]

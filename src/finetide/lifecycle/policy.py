"""When to retrain at all: a pure function of what is known, and of the time, which no stage may see."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from finetide.config.policy import PolicyParams
from finetide.contracts.judge import JudgeVerdict
from finetide.contracts.shift import ACCURACY, Recipe, ShiftVerdict
from finetide.pipeline import journal
from finetide.registry.clock import parse
from finetide.registry.history import Entries

RETRAINED = ("promoted", "rejected")
# Of the last so many retrainings the gain a minute is taken.
REMEMBERED = 3
# The journal's event of a retraining that was concluded.
GAINED = "gained"
ROUNDING = 1e-9


@dataclass(frozen=True)
class Gain:
    """``accuracy`` that went into service by one retraining, 0 where the judge rejected it, and the ``minutes`` that
    its stages ran."""

    accuracy: float
    minutes: float


@dataclass(frozen=True)
class Known:
    """``labels``: labelled incoming rows; ``loss``: accuracy that the champion loses on incoming rows and how that is
    known, None where it is not; ``corrects``: whether a correction without training is tried; ``last``: when a
    retraining was concluded, and ``already`` whether one of this very window was; ``gains``: the last ones, oldest
    first."""

    shift: ShiftVerdict
    labels: int
    loss: tuple[float, str] | None
    corrects: bool
    last: datetime | None
    already: bool
    gains: tuple[Gain, ...]


@dataclass(frozen=True)
class Decision:
    """``train``; ``not-needed``: the rows are acknowledged as known; ``wait``: they stay incoming until something of
    this changes."""

    word: Literal["train", "not-needed", "wait"]
    reason: str


def decide(known: Known, params: PolicyParams, now: datetime) -> Decision:
    """For a window with a champion: without one there is no question.

    A window that was retrained on before is so again: settings or code have changed. A loss beyond its limit is due at
    once. What the shift verdict names, or the schedule, is due unless something speaks for waiting. What neither names
    is acknowledged.
    """
    verdict = known.shift.verdict
    if known.already:
        return Decision("train", "a retraining of this window was decided on before")
    if known.loss is not None and params.max_loss is not None and known.loss[0] > params.max_loss + ROUNDING:
        lost, how = known.loss
        limit = f"more than {100 * params.max_loss:g} (policy.max_loss)"
        return Decision("train", f"the champion loses {100 * lost:.1f} points on incoming rows by {how}, {limit}")
    overdue = _overdue(known, params, now)
    named = verdict in params.retrain_on
    if not named and not (overdue and verdict != "harmless" and known.shift.incoming_rows):
        return Decision("not-needed", f"shift verdict {verdict}: {known.shift.sentence}")
    why = f"shift verdict {verdict} is worth a retraining (policy.retrain_on)" if named else overdue
    # Who approved a halt has decided already.
    held = None if verdict == "halt" else _held(known, params, now, due=bool(overdue))
    return Decision("wait", f"{why}; {held}") if held else Decision("train", why)


def _overdue(known: Known, params: PolicyParams, now: datetime) -> str:
    """Why the schedule asks for one; empty where it does not."""
    if params.every_days is None or known.last is None or now < known.last + timedelta(days=params.every_days):
        return ""
    return f"due by schedule: the last retraining was on {known.last:%Y-%m-%d}, every {params.every_days:g} days"


def _held(known: Known, params: PolicyParams, now: datetime, *, due: bool) -> str | None:
    """Why to wait. It says nothing of today, so that it is the same tomorrow."""
    # Where nothing has arrived there are no rows that could wait: settings or code have changed.
    if known.shift.incoming_rows and known.labels < params.min_new_labels and not known.corrects:
        said = f"waits: {known.labels} labelled incoming rows of {params.min_new_labels} (policy.min_new_labels)"
        # Where its accuracy is estimated a row's answer is one label, which can be asked for.
        ask = "; finetide label-requests writes the rows whose labels would tell most"
        return said if known.shift.accuracy is None else f"{said}{ask}"
    if known.last is not None:
        end = known.last + timedelta(days=params.cool_down_days)
        if now < end:
            return f"waits until {end:%Y-%m-%d %H:%M} UTC (policy.cool_down_days {params.cool_down_days:g})"
    if params.min_gain_per_minute is None or due or not known.gains:
        return None
    gained, minutes = sum(gain.accuracy for gain in known.gains), sum(gain.minutes for gain in known.gains)
    if gained / max(minutes, 1e-9) >= params.min_gain_per_minute - ROUNDING:
        return None
    return (
        f"waits: the last {len(known.gains)} retrainings gained {100 * gained:+.1f} points in {minutes:.0f} min, less "
        f"than {100 * params.min_gain_per_minute:g} a minute (policy.min_gain_per_minute)"
    )


def known(root: Path, model: str, shift: ShiftVerdict, recipe: Recipe | None, entries: Entries, window: str) -> Known:
    """What the outputs, the ledger and this machine's journal tell. Args: window: SHA-256 of window.json."""
    retrained = [entry for entry in entries if entry.event in RETRAINED]
    last = retrained[-1] if retrained else None
    return Known(
        shift=shift,
        labels=round(shift.labelled_share * shift.incoming_rows),
        loss=_loss(shift),
        corrects=recipe is not None and recipe.corrects,
        last=None if last is None else parse(last.time),
        already=any(entry.hashes.get("window") == window for entry in retrained),
        gains=tuple(_gains(root, model)[-REMEMBERED:]),
    )


def remember(root: Path, model: str, judge: JudgeVerdict, *, promoted: bool) -> None:
    """What this retraining gained, for `known`: into the journal, because minutes are this machine's. A first model has
    nothing to gain on."""
    if judge.difference is None:
        return
    took = journal.seconds(root, model)
    seconds = sum(took.get(stage, 0.0) for stage in TRAINED)
    gained = judge.difference if promoted else 0.0
    journal.append(root, model, event=GAINED, accuracy=gained, seconds=round(seconds, 1))


TRAINED = ("train", "evaluate", "export", "judge")


def _gains(root: Path, model: str) -> list[Gain]:
    found = [event for event in journal.read(root, model) if event.get("event") == GAINED]
    return [Gain(float(event["accuracy"]), float(event["seconds"]) / 60) for event in found]


def _loss(shift: ShiftVerdict) -> tuple[float, str] | None:
    """What the labels of incoming rows say, where that is no chance; else the least that a trusted estimate says."""
    measured = next((one for one in shift.statistics if one.name == ACCURACY), None)
    if measured is not None:
        return (measured.effect if measured.low > 0 else 0.0), "their labels"
    found = shift.accuracy
    return (found.reference - found.high, "a trusted estimate") if found is not None and found.trusted else None

"""What training should do about a shift, by its causes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from finetide.config.shift import RecipeParams
from finetide.contracts.shift import Recipe, RecipeStep, ShiftVerdict
from finetide.shift.measure import UNSEEN

# Beyond this share of inputs unlike any known one, what chance gives left out, labels are asked for.
MANY_UNSEEN = 0.1
# Labelled incoming rows are few where the reference has so many times as many.
FEW = 2


@dataclass(frozen=True)
class Situation:
    """What the verdict does not say. ``start``: what the window starts training from; ``texts``: whether the family
    has texts to learn without labels; ``champion``: of a model in service, its labels, else None; ``followed``: whether
    params.yaml lets training follow; ``asks``: whether labels can be asked for, as a row's answer is one label."""

    replay: float
    start: Literal["base", "champion", "scratch", "adopted"]
    champion: tuple[str, ...] | None
    texts: bool
    followed: bool
    asks: bool


def advise(verdict: ShiftVerdict, params: RecipeParams, at: Situation, model: str) -> Recipe:
    """Steps by cause, each with its reason. Without a shift to adapt to, all reference rows stay in."""
    plain = _plain(verdict, at)
    if verdict.verdict not in ("adapt", "halt"):
        return plain
    if _labels_alone(verdict) and at.champion is not None:
        ratios = priors(verdict, at.champion)
        step = RecipeStep(kind="prior-correction", reason=_of_priors(ratios))
        return _with(plain, [step], "label frequencies alone moved", start="champion", priors=ratios, margin=None)
    steps = [*_head(verdict, at), *_inputs(verdict, params, at), *_blocks(verdict), *_ask(verdict, params, at, model)]
    kinds = {step.kind for step in steps}
    # Labels that contradict the known ones may be poison. Mixed with the champion until little is lost, such a model
    # would come past the judge, and its rows would count as known: the judge is to see it as it is.
    bounded = at.champion is not None and "concept" not in verdict.causes
    found = _with(
        plain,
        steps,
        " and ".join(verdict.causes) + " shift",
        start="champion" if "grow-head" in kinds else "window",
        margin=params.forgetting_margin if bounded else None,
    )
    return found.model_copy(
        update={
            "weight_clip": params.weight_clip if "weigh" in kinds else 1.0,
            "incoming_weight": params.incoming_weight if "balance" in kinds else 1.0,
            "rate_factor": params.rate_factor if "lower-rate" in kinds else 1.0,
            "adapt_epochs": params.adapt_epochs if "adapt" in kinds else 0,
            "blocks": _which(verdict) if "blocks" in kinds else None,
        }
    )


def priors(verdict: ShiftVerdict, labels: Iterable[str]) -> dict[str, float]:
    """Of each of the champion's labels how many times as often it comes now: counted where incoming rows are labelled,
    else by the champion's estimate. Half a row is added to either side, so that a label that did not come this time is
    not ruled out."""
    known = {one.label: one for one in verdict.labels}
    counted = all(one.incoming is not None for one in verdict.labels)
    now, before = max(1, verdict.compared_incoming), max(1, verdict.compared_reference)
    if counted:
        now = max(1, round(now * verdict.labelled_share))
    found = {}
    for label in labels:
        one = known.get(label)
        old = one.reference if one else 0.0
        new = (one.incoming if counted else one.estimated) if one else None
        if new is None:
            new = old
        found[label] = ((new * now + 0.5) / (now + 1)) / ((old * before + 0.5) / (before + 1))
    return found


def _plain(verdict: ShiftVerdict, at: Situation) -> Recipe:
    if verdict.incoming_rows == 0:
        reason = "no incoming rows: train on all reference rows"
        return Recipe(verdict=verdict.verdict, replay=1.0, reason=reason, followed=at.followed)
    reason = f"mix the incoming rows with {at.replay:.0%} of the reference rows (train.replay)"
    return Recipe(verdict=verdict.verdict, replay=at.replay, reason=reason, followed=at.followed)


def _with(
    plain: Recipe, steps: list[RecipeStep], why: str, *, start: Literal["window", "champion"], margin: float | None,
    priors: dict[str, float] | None = None,
) -> Recipe:  # fmt: skip
    said = f"{why}: {', '.join(step.kind for step in steps) or 'nothing more to do'}"
    followed = "" if plain.followed else " (train.recipe is off: not followed)"
    return plain.model_copy(
        update={
            "reason": f"{plain.reason}; {said}{followed}",
            "steps": tuple(steps),
            "start": start,
            "priors": priors or {},
            "forgetting_margin": margin,
        }
    )


def _labels_alone(verdict: ShiftVerdict) -> bool:
    return verdict.causes == ("label",)


def _of_priors(ratios: dict[str, float]) -> str:
    most = sorted(ratios.items(), key=lambda one: (-max(one[1], 1 / one[1]), one[0]))[:3]
    told = ", ".join(f"{label} {ratio:.2f} times as often" for label, ratio in most)
    return f"the labels' rows look as they did and come otherwise ({told}): the champion with new priors may do"


def _head(verdict: ShiftVerdict, at: Situation) -> list[RecipeStep]:
    if "new-labels" not in verdict.causes or at.champion is None:
        return []
    reason = "new labels: training starts from the champion, whose rows of the head stay, with a row for each new label"
    return [RecipeStep(kind="grow-head", reason=reason)]


def _inputs(verdict: ShiftVerdict, params: RecipeParams, at: Situation) -> list[RecipeStep]:
    if "covariate" not in verdict.causes:
        return []
    steps = []
    if at.texts and params.adapt_epochs and verdict.incoming_rows >= params.adapt_min_rows:
        reason = (
            f"inputs moved and {verdict.incoming_rows} incoming texts are here: {params.adapt_epochs} pass(es) of "
            "masked-language modelling over them first"
        )
        steps.append(RecipeStep(kind="adapt", reason=reason))
    if params.weight_clip > 1 and (verdict.overlap or 0.0) >= params.min_overlap:
        reason = (
            f"the sides overlap: weighted to look like incoming rows, the reference rows count as "
            f"{verdict.overlap:.0%} of themselves; those that look like incoming ones weigh up to "
            f"{params.weight_clip:g} times as much"
        )
        steps.append(RecipeStep(kind="weigh", reason=reason))
    labelled, known = round(verdict.labelled_share * verdict.incoming_rows), round(at.replay * verdict.reference_rows)
    # Labels that contradict the known ones may be poison: they are not to count for more.
    if params.incoming_weight > 1 and 0 < FEW * labelled <= known and "concept" not in verdict.causes:
        reason = (
            f"{labelled} labelled incoming rows would be lost among {known} of the reference: each may count for up to "
            f"{min(params.incoming_weight, known / labelled):.3g} of them (shift.recipe.incoming_weight allows "
            f"{params.incoming_weight:g})"
        )
        steps.append(RecipeStep(kind="balance", reason=reason))
    # Where it is wrong on them by their labels it has as much to unlearn as to lose.
    if params.rate_factor < 1 and at.start == "champion" and "concept" not in verdict.causes:
        reason = f"training starts from the champion, which has something to lose: {params.rate_factor:g} of the rate"
        steps.append(RecipeStep(kind="lower-rate", reason=reason))
    return steps


def _which(verdict: ShiftVerdict) -> Literal["early", "late"]:
    """Lee et al. 2022 (surgical fine-tuning): early blocks where the inputs moved, late ones where the labels did."""
    return "early" if set(verdict.causes) == {"covariate"} else "late"


def _blocks(verdict: ShiftVerdict) -> list[RecipeStep]:
    if not verdict.causes:
        return []
    which = _which(verdict)
    what = (
        "inputs moved and nothing else that shows"
        if which == "early"
        else "what the labels mean or how often they come moved"
    )
    return [RecipeStep(kind="blocks", reason=f"{what}: of layers alike on validation, auto takes the {which} ones")]


def _ask(verdict: ShiftVerdict, params: RecipeParams, at: Situation, model: str) -> list[RecipeStep]:
    """Labels are asked for where nothing that is known says how the model does."""
    if verdict.labelled_share == 1.0 or not at.asks:
        return []
    unseen = next((one for one in verdict.statistics if one.name == UNSEEN), None)
    apart = verdict.overlap is not None and verdict.overlap < params.min_overlap
    new = unseen is not None and unseen.adjusted < verdict.alpha and unseen.effect - unseen.expected >= MANY_UNSEEN
    blind = verdict.labelled_share == 0.0 and verdict.accuracy is not None and not verdict.accuracy.trusted
    if "covariate" not in verdict.causes or not (apart or new or blind):
        return []
    why = "no incoming row is labelled, and without labels nothing trusted says how often the champion is right"
    if apart or new:
        why = f"{unseen.effect:.0%} of the incoming rows are unlike any known one" if new and unseen else "no overlap"
    reason = f"{why}: finetide label-requests {model} writes the {params.ask_labels} that tell most"
    return [RecipeStep(kind="labels", reason=reason)]

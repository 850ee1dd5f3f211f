"""How train follows the recipe of the shift stage: each step where validation is better for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from finetide.contracts.bundle import BundleInfo
from finetide.contracts.shift import Recipe, StepKind
from finetide.contracts.training import FollowedStep, Forgetting
from finetide.contracts.window import Window
from finetide.engine import forgetting
from finetide.engine.correct import correct
from finetide.engine.loop import KEPT, Result
from finetide.engine.precision import choose, choose_device
from finetide.engine.progress import Curve
from finetide.engine.specs import AverageSpec, Data, PhaseResult, PhaseSpec, Settings, SoupSpec, TuneSpec
from finetide.errors import BaseModelError
from finetide.files import read_json
from finetide.layers.policies import Named
from finetide.seeding import derive
from finetide.task import Built, ModelSettings, Task

# What the recipe's own adapt phase learns, and on which rows.
OBJECTIVE, ROLE = "masked-language", "incoming"


@dataclass(frozen=True)
class Followed:
    """The recipe, and what has become of its steps so far."""

    recipe: Recipe
    done: tuple[FollowedStep, ...] = ()

    def has(self, kind: StepKind) -> bool:
        return self.recipe.followed and any(step.kind == kind for step in self.recipe.steps)

    def tell(self, kind: StepKind, kept: bool | None, said: str) -> Followed:
        return replace(self, done=(*self.done, FollowedStep(kind=kind, kept=kept, said=said)))


def begin(
    recipe: Recipe, window: Window, labels: Sequence[str], folder: Callable[[Window], Path]
) -> tuple[Window, Followed]:
    """Where training starts: as the window says, or from the champion where the recipe asks for it and its labels are
    all still there."""
    at = Followed(recipe)
    if at.has("labels"):
        step = next(step for step in recipe.steps if step.kind == "labels")
        at = at.tell("labels", None, step.reason)
    if not recipe.followed or recipe.start == "window" or window.champion is None:
        return window, at
    moved = window.model_copy(update={"start": "champion"})
    gone = sorted(set(read_json(folder(moved) / "labels.json")) - set(labels))
    if not gone:
        return moved, at
    kind: StepKind = "prior-correction" if recipe.corrects else "grow-head"
    return window, at.tell(kind, False, f"the champion knows labels that no row has any more: {', '.join(gone[:5])}")


def grown(at: Followed, window: Window, folder: Path, labels: Sequence[str]) -> Followed:
    """Say what the head has got, where it grows."""
    if not at.has("grow-head") or window.start != "champion" or any(one.kind == "grow-head" for one in at.done):
        return at
    known = read_json(folder / "labels.json")
    new = sorted(set(labels) - set(known))
    said = f"{len(known)} rows of the champion's head as they were, new ones for {', '.join(new[:5])}"
    return at.tell("grow-head", True, said)


def plan(specs: Sequence[PhaseSpec], at: Followed, rows: pd.DataFrame) -> tuple[list[PhaseSpec], Followed]:
    """The phases with the recipe's rate, its hint for ``auto``, and an adapt phase before them.

    Args: rows: all.
    """
    found = list(specs)
    tuned = [spec for spec in found if isinstance(spec, TuneSpec) and spec.objective is None]
    if at.has("lower-rate"):
        factor = at.recipe.rate_factor
        found = [replace(one, learning_rate=factor * one.learning_rate) if one in tuned else one for one in found]
        at = at.tell("lower-rate", bool(tuned), f"{factor:g} of the learning rate in {len(tuned)} tune phase(s)")
    if at.has("blocks"):
        named = [one for one in found if isinstance(one, TuneSpec) and _is_auto(one)]
        found = [replace(one, hint=at.recipe.blocks) if one in named else one for one in found]
        said = f"{at.recipe.blocks} blocks are a hint to auto" if named else "no phase has layers: auto"
        at = at.tell("blocks", None, said)
    if not at.has("adapt"):
        return found, at
    if any(isinstance(spec, TuneSpec) and spec.objective is not None for spec in found):
        return found, at.tell("adapt", None, "params.yaml has an adapt phase of its own")
    if not tuned or not all(len(incoming(rows, side)) for side in ("train", "validation")):
        said = "there is no tune phase to take layers and rate from, or no incoming row of a side"
        return found, at.tell("adapt", False, said)
    first = tuned[0]
    policy = Named("full") if _is_auto(first) else first.policy
    own = replace(
        first, policy=policy, epochs=at.recipe.adapt_epochs, steps=None, objective=OBJECTIVE, rows=ROLE, checked=True,
        remember=0, hint=None, overfit_gap=None,
    )  # fmt: skip
    return [own, *(_later(spec) for spec in found)], at


def corrected(
    task: Task, built: Built, rows: pd.DataFrame, data: Data, settings: Settings, curve: Curve, start: Path,
    at: Followed,
) -> tuple[Result | None, Followed]:  # fmt: skip
    """The champion with new priors; None where validation says no, and training goes on.

    Args: start: the champion's weights; the temperature in the bundle beside them is the unit in which its logits are
        log-probabilities.
    """
    if not at.has("prior-correction") or any(step.kind == "prior-correction" for step in at.done):
        return None, at
    info = BundleInfo.read(start.parent / "bundle" / "bundle.json")
    labels = built.settings.labels
    ratio = np.array([at.recipe.priors.get(label, 1.0) for label in labels])
    role = dict(zip(rows["row_id"], rows["role"], strict=True))
    truth = [labels[int(one)] for one in data.validation.targets]
    held = np.array(
        [
            1.0 if role[one] == "incoming" else at.recipe.priors.get(label, 1.0)
            for one, label in zip(data.validation.ids, truth, strict=True)
        ]
    )
    phase, said = correct(task, built, data, info.temperature * np.log(ratio), held, settings, curve)
    at = at.tell("prior-correction", phase is not None, said)
    if phase is None:
        return None, at
    sentence = f"the champion with new priors, nothing trained: {said}"
    precision = choose(settings.precision, choose_device()).name
    return Result((phase,), 0, sentence, None, {}, precision), at


def adapted(at: Followed, result: Result) -> Followed:
    """Say what became of the recipe's adapt phase, where there was one."""
    first = result.phases[0]
    if not at.has("adapt") or first.kind != "adapt" or any(one.kind == "adapt" for one in at.done):
        return at
    return at.tell("adapt", first.decisions[-1].endswith(KEPT), first.decisions[-1])


def bounded(
    task: Task, built: Built, rows: pd.DataFrame, result: Result, data: Data, champion: Path, settings: Settings,
    at: Followed,
) -> tuple[Result, Forgetting | None]:  # fmt: skip
    """What was lost on the reference stays within the margin, by mixing the champion's weights in. Args: champion: its
    weights' folder."""
    margin = at.recipe.forgetting_margin
    assert margin is not None
    role = dict(zip(rows["row_id"], rows["role"], strict=True))
    held = [role[one] for one in data.validation.ids]
    sides = {name: data.validation.take([place for place, one in enumerate(held) if one == name]) for name in ROLES}
    if not sides["reference"].ids:
        return result, None
    try:
        other = _champion(task, built, champion, settings)
    except BaseModelError:
        return result, None
    state = {name: value.detach().clone() for name, value in other.module.state_dict().items()}
    if other.settings.pooler != built.settings.pooler or not forgetting.fits(built, state):
        return result, None
    found = forgetting.bound(task, built, sides, state, margin, settings)
    record = Forgetting(
        margin=margin,
        share=found.share,
        champion={name: score.accuracy for name, score in found.champion.items()},
        trained={name: score.accuracy for name, score in found.trained.items()},
        kept={name: score.accuracy for name, score in found.kept.items()},
        said=found.said,
    )
    if not found.share:
        return result, record
    total = sum(value.numel() for value in built.module.parameters())
    last = result.phases[result.kept]
    mixed = PhaseResult("average", 0, 0.0, 0, total, 0, found.kept["reference"], (found.said,))
    sentence = f"{result.sentence}; forgetting bounded: {found.said}"
    # What was frozen in every phase is the champion's only in part now.
    return replace(
        result, phases=(*result.phases, mixed), kept=len(result.phases), sentence=sentence,
        proof={} if last.frozen else result.proof,
    ), record  # fmt: skip


ROLES = ("reference", "incoming")


def _champion(task: Task, built: Built, folder: Path, settings: Settings) -> Built:
    labels = tuple(built.settings.labels)
    model = ModelSettings(labels, built.settings.max_length, built.settings.pooling, 0.0)
    return task.build(folder, model, seed=derive(settings.seed, "build"))


def incoming(rows: pd.DataFrame, side: str) -> pd.DataFrame:
    """Incoming rows of a side, labelled or not."""
    return rows[(rows["split"] == side) & (rows["role"] == ROLE)].reset_index(drop=True)


def _is_auto(spec: TuneSpec) -> bool:
    return isinstance(spec.policy, Named) and spec.policy.name == "auto"


def _later(spec: PhaseSpec) -> PhaseSpec:
    """The same phase one place further down."""
    if isinstance(spec, AverageSpec):
        return replace(spec, between=(spec.between[0] + 1, spec.between[1] + 1))
    if isinstance(spec, SoupSpec):
        return replace(spec, of=spec.of + 1)
    return spec

"""How much each training row counts: steps of the recipe, each taken where a probe on the base's features is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from finetide.engine import probe, weigh
from finetide.engine.inference import embed
from finetide.engine.specs import Data, Score, Settings
from finetide.evaluation.align import align
from finetide.stages.follow import ROLE, Followed, incoming
from finetide.task import Built, Task

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class _Seen:
    """Features [rows, hidden] float32 of training rows, validation rows, and incoming rows without a label; which of
    the first two are incoming."""

    train: Array
    validation: Array
    unlabelled: Array
    arrived: Array
    arrived_validation: Array
    labels: int


def weights(
    task: Task, base: Callable[[], Built], rows: pd.DataFrame, data: Data, settings: Settings, at: Followed
) -> tuple[Data, Followed]:
    """Args: rows: all; data: of the training."""
    if not at.has("weigh") and not at.has("balance"):
        return data, at
    seen = _look(task, base(), rows, data, settings, all_arrived=at.has("weigh"))
    if at.has("weigh"):
        data, at = _weighed(seen, data, settings, at)
    if at.has("balance"):
        data, at = _balanced(seen, data, settings, at)
    return data, at


def _look(task: Task, frozen: Built, rows: pd.DataFrame, data: Data, settings: Settings, *, all_arrived: bool) -> _Seen:
    """Args: all_arrived: look at incoming rows without a label too."""
    role = dict(zip(rows["row_id"], rows["role"], strict=True))
    arriving = incoming(rows, "train")
    tokens, cache, precision = settings.batch_tokens, settings.feature_cache, settings.precision

    def embedded(side: pd.DataFrame) -> Array:
        examples = task.encode(frozen, side.assign(label=None).reset_index(drop=True))
        features = embed(task, frozen, examples, batch_tokens=tokens, cache=cache, precision=precision)
        return align(list(side["row_id"]), examples.ids, features)

    by_id = rows.set_index("row_id", drop=False)
    mine, others = (embedded(by_id.loc[list(part.ids)]) for part in (data.train, data.validation))
    unlabelled = arriving[arriving["label"].isna()].reset_index(drop=True)
    arrived = [np.array([role[one] == ROLE for one in part.ids], dtype=bool) for part in (data.train, data.validation)]
    new = embedded(unlabelled) if all_arrived and len(unlabelled) else mine[:0]
    return _Seen(mine, others, new, arrived[0], arrived[1], len(frozen.settings.labels))


def _weighed(seen: _Seen, data: Data, settings: Settings, at: Followed) -> tuple[Data, Followed]:
    """Reference rows that look like incoming ones count for more, if a probe is then better on validation rows weighted
    alike."""
    everything = np.concatenate([seen.train, seen.unlabelled])
    sides = np.concatenate([seen.arrived, np.ones(len(seen.unlabelled), dtype=bool)])
    if min(sides.sum(), (~sides).sum()) < weigh.FOLDS:
        return data, at.tell("weigh", False, f"fewer than {weigh.FOLDS} rows of a side")
    found, rest = weigh.importance(everything, sides, seen.validation, at.recipe.weight_clip, settings.seed)
    counts = np.ones(len(seen.train))
    known = found[: len(seen.train)][~seen.arrived]
    counts[~seen.arrived] = known / known.mean()
    held = np.where(seen.arrived_validation, 1.0, rest)
    scores = [_probed(seen, data, held, tried) for tried in (None, counts)]
    better = scores[1].beats(scores[0])
    told = (
        f"weights from {counts[~seen.arrived].min():.2f} to {counts[~seen.arrived].max():.2f}; a probe on weighted "
        f"validation rows: {scores[0].accuracy:.1%} (loss {scores[0].loss:.4f}) without, {scores[1].accuracy:.1%} "
        f"(loss {scores[1].loss:.4f}) with them"
    )
    return (replace(data, weights=counts) if better else data), at.tell("weigh", better, told)


def _probed(seen: _Seen, data: Data, held: Array, counts: Array | None) -> Score:
    targets, truth = np.asarray(data.train.targets), np.asarray(data.validation.targets)
    found = probe.fit(
        seen.train, targets, (seen.validation, truth), labels=seen.labels, strengths=weigh.STRENGTHS,
        max_iterations=weigh.ITERATIONS, weights=counts,
    )  # fmt: skip
    return weigh.score(seen.validation @ found.weight.T + found.bias, truth, held)


def _balanced(seen: _Seen, data: Data, settings: Settings, at: Followed) -> tuple[Data, Followed]:
    """Few labelled incoming rows beside many reference rows count for several each: for as many as make probes best on
    labelled incoming rows that they did not see, those of validation among them."""
    arrived = int(seen.arrived.sum())
    limit = min(at.recipe.incoming_weight, (len(seen.arrived) - arrived) / max(arrived, 1))
    labelled = np.concatenate([seen.arrived, np.ones(int(seen.arrived_validation.sum()), dtype=bool)])
    if arrived < weigh.FOLDS or limit < 2.0:
        few = f"{arrived} labelled incoming rows beside {len(seen.arrived) - arrived} reference rows to train on"
        return data, at.tell("balance", False, few)
    features = np.concatenate([seen.train, seen.validation[seen.arrived_validation]])
    targets = np.concatenate([data.train.targets, data.validation.targets[seen.arrived_validation]])
    before = np.ones(len(seen.train)) if data.weights is None else np.asarray(data.weights)
    counts = np.concatenate([before, np.ones(len(features) - len(before))])
    folds = weigh.folds(labelled, settings.seed)
    losses = {}
    for factor in (1.0, *weigh.factors(limit)):
        found, _ = probe.out_of_fold(
            features, targets, folds, features[:0], labels=seen.labels, strengths=weigh.STRENGTHS,
            max_iterations=weigh.ITERATIONS, weights=np.where(labelled, factor * counts, counts),
        )  # fmt: skip
        right = found[labelled, targets[labelled]]
        losses[factor] = float(-np.log(np.maximum(right, 1e-12)).mean())
    best = min(losses, key=lambda factor: (losses[factor], factor))
    shown = ", ".join(f"{factor:.3g}: {loss:.4f}" for factor, loss in losses.items())
    told = f"loss of probes on labelled incoming rows that they did not see, by how much one counts: {shown}"
    if best == 1.0:
        return data, at.tell("balance", False, told)
    weighted = np.where(seen.arrived, best * before, before)
    return replace(data, weights=weighted / weighted.mean()), at.tell("balance", True, told)

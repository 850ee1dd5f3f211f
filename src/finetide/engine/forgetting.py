"""What training may lose on the reference: weights that lost more go back towards the champion's (WiSE-FT)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from finetide.engine.average import mix
from finetide.engine.inference import predict
from finetide.engine.specs import Score, Settings
from finetide.task import Built, Examples, Task

State = dict[str, torch.Tensor]
Array = np.ndarray[Any, Any]
# Of the champion's weights, tried from little to much; 1 is the champion itself.
SHARES = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Bounded:
    """``share`` of the champion's weights in the result, 0 where nothing had to be mixed in. ``champion``, ``trained``
    and ``kept``: role → validation score of the champion, of training's weights and of the result."""

    share: float
    champion: Mapping[str, Score]
    trained: Mapping[str, Score]
    kept: Mapping[str, Score]
    said: str


def bound(
    task: Task, built: Built, sides: Mapping[str, Examples], champion: State, margin: float, settings: Settings
) -> Bounded:
    """Keep ``built`` as it is unless it surely loses more than ``margin`` of accuracy on ``sides["reference"]`` against
    ``champion``; else give it the mixture that is best on ``sides["incoming"]`` among those that do not, the one with
    least of the champion where there is no such row.

    Surely: by more than the margin and one standard error of the loss, paired over the rows. Of a hundred rows four
    points are often chance, and to mix for them costs what was learned on incoming rows. The judge has test rows, and
    looks again.
    """
    trained_state = {name: value.detach().cpu().clone() for name, value in built.module.state_dict().items()}

    def look(state: State) -> tuple[dict[str, Score], _Rows]:
        """Scores by role, and the reference's rows."""
        built.module.load_state_dict(state)
        found = {role: _score(task, built, examples, settings) for role, examples in sides.items() if examples.ids}
        return {role: rows.score for role, rows in found.items()}, found["reference"]

    before, known = look(champion)
    trained, rows = look(trained_state)
    loss = rows.lost(known)
    if not loss.beyond(margin):
        said = f"reference {_moved(before, trained, 'reference')}: {loss} lost, within the margin of {_points(margin)}"
        return Bounded(0.0, before, trained, trained, said)
    tried: dict[float, dict[str, Score]] = {}
    allowed = []
    for share in SHARES:
        tried[share], rows = look(_between(trained_state, champion, share))
        if not rows.lost(known).beyond(margin):
            allowed.append(share)
    best = allowed[0]  # the champion itself is always allowed
    for share in allowed[1:]:
        if "incoming" in tried[share] and tried[share]["incoming"].beats(tried[best]["incoming"]):
            best = share
    built.module.load_state_dict(_between(trained_state, champion, best))
    told = ", ".join(f"{share:g}: {_shown(found)}" for share, found in tried.items())
    said = (
        f"reference {_moved(before, trained, 'reference')}: {loss} lost, more than the margin of {_points(margin)}; by "
        f"the champion's share of the weights, {told}; {best:g} is kept"
    )
    return Bounded(best, before, trained, tried[best], said)


@dataclass(frozen=True)
class _Loss:
    """Of accuracy, and its standard error."""

    mean: float
    error: float

    def beyond(self, margin: float) -> bool:
        return self.mean - self.error > margin + 1e-9

    def __str__(self) -> str:
        return f"{100 * self.mean:.1f} ± {_points(self.error)}"


@dataclass(frozen=True)
class _Rows:
    """``right`` [rows], 0 or 1; None where that is no question."""

    score: Score
    right: Array | None

    def lost(self, before: _Rows) -> _Loss:
        error = 0.0
        if self.right is not None and before.right is not None and len(self.right) > 1:
            error = float((before.right - self.right).std(ddof=1)) / len(self.right) ** 0.5
        return _Loss(before.score.accuracy - self.score.accuracy, error)


def _points(share: float) -> str:
    return f"{100 * share:.1f} points"


def fits(built: Built, champion: State) -> bool:
    """Whether the two can be mixed: as many tokens, blocks and labels."""
    mine = built.module.state_dict()
    return mine.keys() == champion.keys() and all(mine[name].shape == champion[name].shape for name in mine)


def _between(trained: State, champion: State, share: float) -> State:
    return champion if share == 1.0 else mix(trained, champion, share)


def _score(task: Task, built: Built, examples: Examples, settings: Settings) -> _Rows:
    found = predict(task, built, examples, batch_tokens=settings.batch_tokens, precision=settings.precision)
    told = task.confidence(found, examples)
    score = Score(*task.score(torch.from_numpy(found), examples))
    return _Rows(score, None if told is None else np.asarray(told[1], dtype=np.float64))


def _moved(before: Mapping[str, Score], after: Mapping[str, Score], role: str) -> str:
    return f"{before[role].accuracy:.1%} → {after[role].accuracy:.1%}"


def _shown(found: Mapping[str, Score]) -> str:
    return " and ".join(f"{role} {score.accuracy:.1%}" for role, score in found.items())

"""What training may lose on the reference: weights that lost more go back towards the champion's (WiSE-FT)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from finetide.engine.average import mix
from finetide.engine.inference import predict
from finetide.engine.specs import Score, Settings
from finetide.task import Built, Examples, Task

State = dict[str, torch.Tensor]
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
    """Keep ``built`` as it is while it loses at most ``margin`` of accuracy on ``sides["reference"]`` against
    ``champion``; else give it the mixture that is best on ``sides["incoming"]`` among those that do not, the one with
    least of the champion where there is no such row."""
    trained_state = {name: value.detach().cpu().clone() for name, value in built.module.state_dict().items()}

    def scores(state: State) -> dict[str, Score]:
        built.module.load_state_dict(state)
        return {role: _score(task, built, examples, settings) for role, examples in sides.items() if examples.ids}

    before, trained = scores(champion), scores(trained_state)
    floor = before["reference"].accuracy - margin - 1e-9
    if trained["reference"].accuracy >= floor:
        said = f"reference {_moved(before, trained, 'reference')}: within the margin of {100 * margin:.1f} points"
        return Bounded(0.0, before, trained, trained, said)
    tried = {share: scores(_between(trained_state, champion, share)) for share in SHARES}
    allowed = [share for share in SHARES if tried[share]["reference"].accuracy >= floor]
    best = allowed[0]  # the champion itself is always allowed
    for share in allowed[1:]:
        if "incoming" in tried[share] and tried[share]["incoming"].beats(tried[best]["incoming"]):
            best = share
    built.module.load_state_dict(_between(trained_state, champion, best))
    told = ", ".join(f"{share:g}: {_shown(found)}" for share, found in tried.items())
    said = (
        f"reference {_moved(before, trained, 'reference')}, more than the margin of {100 * margin:.1f} points: by the "
        f"champion's share of the weights, {told}; {best:g} is kept"
    )
    return Bounded(best, before, trained, tried[best], said)


def fits(built: Built, champion: State) -> bool:
    """Whether the two can be mixed: as many tokens, blocks and labels."""
    mine = built.module.state_dict()
    return mine.keys() == champion.keys() and all(mine[name].shape == champion[name].shape for name in mine)


def _between(trained: State, champion: State, share: float) -> State:
    return champion if share == 1.0 else mix(trained, champion, share)


def _score(task: Task, built: Built, examples: Examples, settings: Settings) -> Score:
    found = predict(task, built, examples, batch_tokens=settings.batch_tokens, precision=settings.precision)
    return Score(*task.score(torch.from_numpy(found), examples))


def _moved(before: Mapping[str, Score], after: Mapping[str, Score], role: str) -> str:
    return f"{before[role].accuracy:.1%} → {after[role].accuracy:.1%}"


def _shown(found: Mapping[str, Score]) -> str:
    return " and ".join(f"{role} {score.accuracy:.1%}" for role, score in found.items())

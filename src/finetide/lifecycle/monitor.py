"""What a look at new data found, and whether it is worth a retraining now."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from finetide.errors import ProjectError
from finetide.lifecycle import outputs, waiting
from finetide.lifecycle.conclude import training_needed
from finetide.registry import history, ledger
from finetide.registry.window import read_window


@dataclass(frozen=True)
class Finding:
    """``outcome``: ``halted`` (validate or split found something critical), ``wanted`` (worth a retraining), ``known``
    (decided on before, nothing arrived since), ``waiting`` (a run asked a
    person about these very verdicts) or ``quiet``. ``verdict`` is that of the shift stage."""

    outcome: str
    verdict: str
    reason: str


def finding(root: Path, model: str, home: Path) -> Finding:
    """Read after the stages up to shift ran. Raises: ProjectError when they did not.

    Args: home: the checkout's project, which knows what waits.
    """
    quality, leakage, shift = outputs.quality(root, model), outputs.leakage(root, model), outputs.shift(root, model)
    if quality is None or leakage is None or shift is None:
        raise ProjectError("validate, split or shift left no verdict", where=model, fix=f"finetide run {model}")
    entries = ledger.read(root, model)
    window = read_window(root, model)
    judged = history.already_judged(entries, history.window_hash(window))
    champion = history.champion(entries)
    if judged is None and champion is not None and champion.window == window:
        judged = champion
    if judged is not None:
        return Finding("known", shift.verdict, f"decided on {judged.time}: {judged.event}: {judged.reason}")
    asked = waiting.read(home, model)
    if refused := waiting.refusal(root, model):
        return Finding("known", shift.verdict, f"refused by {refused.who}: {refused.why}")
    if asked is not None and asked.verdict_hash == waiting.verdict_of(root, model):
        return Finding("waiting", shift.verdict, f"waits for a person: {asked.reason}")
    for stage, verdict in (("validate", quality), ("split", leakage)):
        if verdict.verdict == "fail":
            return Finding("halted", shift.verdict, f"{stage}: {verdict.reason}")
    worth, reason = training_needed(root, model)
    return Finding("wanted" if worth else "quiet", shift.verdict, reason)

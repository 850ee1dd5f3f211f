"""What became of the run, in one word and one sentence, from the verdict files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from finetide.report.gather import Facts

Tone = Literal["good", "bad", "warn", "plain"]


@dataclass(frozen=True)
class Decision:
    """``tone`` is how the word is coloured."""

    word: str
    tone: Tone
    sentence: str


def decide(facts: Facts) -> Decision:
    """The first thing that stopped the run, or the judge's word."""
    stopped = _stopped(facts)
    if stopped:
        return stopped
    if "earlier" in facts.stages.values() and facts.stages.get("judge") == "earlier":
        first = next(stage for stage, state in facts.stages.items() if state == "earlier")
        word = "not retrained" if first == "train" else "out of date"
        return Decision(word, "plain", f"The inputs changed since; from {first} on, this page shows the run before.")
    verdict = facts.judge
    if verdict is None:
        missing = next(stage for stage, state in facts.stages.items() if state == "missing")
        return Decision("unfinished", "warn", f"The run has not got through the stage {missing}.")
    if verdict.verdict == "reject":
        return Decision("rejected", "bad", verdict.reason)
    if facts.alias is not None and facts.alias.hash == verdict.challenger_hash:
        return Decision(f"promoted as {facts.alias.version}", "good", verdict.reason)
    if facts.asked is None or (facts.said is not None and facts.said.decision == "approved"):
        return Decision("ready to promote", "warn", verdict.reason)
    if facts.said is None:
        return Decision("waits for a person", "warn", facts.asked)
    return Decision("refused", "bad", f"Refused by {facts.said.who}: {facts.said.why}")


def _stopped(facts: Facts) -> Decision | None:
    """The verdict at which the gate stays shut."""
    if facts.gate is not None:
        return None
    if facts.quality is None:
        return Decision("not run yet", "plain", "No stage up to the data checks has finished.")
    if facts.quality.verdict == "fail":
        return Decision("halted", "bad", f"The data checks failed: {facts.quality.reason}")
    if facts.leakage is not None and facts.leakage.verdict == "fail":
        return Decision("halted", "bad", f"The split leaks: {facts.leakage.reason}")
    if facts.shift is not None and facts.shift.verdict == "halt":
        return Decision("halted", "bad", facts.shift.sentence)
    return None

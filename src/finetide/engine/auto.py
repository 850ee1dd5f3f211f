"""Which layers to tune, found out from the data: gradients first, then short runs against each other.

Which blocks a new domain asks for depends on how it differs (Lee et al. 2022, "Surgical fine-tuning"): where the inputs
differ the early ones, where the labels do the late ones. The gradient of a block relative to its weights tells which
one is pulled hardest. Depth is tried out by successive halving (Jamieson and Talwalkar 2016): all candidates get a
few steps, the better half of them the rest of the budget. They are told apart by their loss on validation: it parts
them after a few steps, when their accuracies on some hundred rows still lie within a standard error of each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import nn

from finetide.engine import batches
from finetide.engine.checkpoint import Unsaved
from finetide.engine.precision import choose_device
from finetide.engine.progress import Unwritten
from finetide.engine.specs import Data, Score, Settings, TuneSpec
from finetide.engine.tune import Store, Tuner, evaluate
from finetide.errors import ConfigError, DivergedError
from finetide.layers.policies import Adapting, Named, Policy
from finetide.layers.rules import FROZEN, Adapter, Rule
from finetide.layers.structure import read
from finetide.seeding import generator
from finetide.task import Built, Task

State = dict[str, torch.Tensor]
# Rows whose gradients are looked at.
SAMPLE = 256
# Fewer steps tell nothing of a candidate.
MIN_STEPS = 5
# Of a short run whose loss ended as no finite number.
DIVERGED = Score(0.0, math.inf)
# Adapters start at zero and want a higher rate (docs/lab-log.md, 2026-11-21).
LORA_RATE = 10.0


@dataclass(frozen=True)
class Candidate:
    """``rate``: multiplier of the phase's learning rate."""

    title: str
    policy: Policy
    rate: float = 1.0


def candidates(module: nn.Module, hardest: int) -> list[Candidate]:
    """From shallow to deep. Args: hardest: the block with the largest relative gradient."""
    count = len(read(module).blocks)
    depths = sorted({1, 2, math.ceil(count / 2)} & set(range(1, count)))
    surgical = (
        Rule(match=r"^head\.", said="head", lr=1.0),
        Rule(blocks=str(hardest), lr=1.0),
        Rule(match=".*", said="all else", lr=FROZEN),
    )
    return [
        *(Candidate(f"last: {depth}", Named("last", depth)) for depth in depths),
        *([Candidate(f"block {hardest} alone", surgical)] if hardest < count - 1 else []),
        Candidate("lora", Adapting(Adapter("lora", 8, 16.0, 0.0), "linear"), LORA_RATE),
        Candidate("full", Named("full")),
    ]


def check_budget(module: nn.Module, budget: int, where: str, found: str | None = None) -> None:
    """Raises: ConfigError: the model has no stack of blocks, or too few steps for all that the data may ask for.

    Args: found: the value as the person wrote it; None: the budget.
    """
    if not read(module).blocks:
        raise ConfigError(
            "auto needs a stack of blocks, and this model has none", where=where, found=found or budget,
            fix="write full",
        )  # fmt: skip
    count = len(candidates(module, 0))  # with a block to be tuned alone, if there is more than one
    least = 2 * MIN_STEPS * count
    if budget < least:
        raise ConfigError(
            f"{count} candidates are told apart by {MIN_STEPS} steps each, and the better half by as many again",
            where=where, found=found or budget, fix=f"at least {least}",
        )  # fmt: skip


def pulls(task: Task, built: Built, data: Data, settings: Settings) -> list[float]:
    """Of each block the norm of its gradient by the norm of its weights, over up to 256 training rows."""
    structure = read(built.module)
    device = choose_device()
    module = built.module.to(device).eval()
    rng = generator(settings.seed, "auto", "sample")
    rows = sorted(rng.permutation(len(data.train.ids))[:SAMPLE].tolist(), key=lambda row: -int(data.train.lengths[row]))
    flags = {name: value.requires_grad for name, value in module.named_parameters()}
    parameters = dict(module.named_parameters())
    for value in parameters.values():
        value.requires_grad_(True)
    # At a head of zeros no gradient reaches the blocks.
    head = {name: parameters[name] for name in structure.head}
    aside = {name: value.detach().clone() for name, value in head.items()}
    if not any(bool(value.any()) for value in head.values()):
        generator_ = torch.Generator().manual_seed(int(rng.integers(1 << 31)))
        with torch.no_grad():
            for value in head.values():
                value.add_(torch.randn(value.shape, generator=generator_).to(device) * 0.02)
    try:
        for index in batches.cut(rows, data.train.lengths, settings.batch_tokens):
            collated = task.collate(built, data.train, index, seed=settings.seed)
            batch = {name: value.to(device) for name, value in collated.items()}
            loss = task.loss(task.outputs(module, batch).float(), batch).sum() / len(rows)
            torch.autograd.backward(loss)
        found = []
        for names in structure.blocks:
            gradients = [parameters[name].grad for name in names]
            steep = math.sqrt(sum(float(value.double().square().sum()) for value in gradients if value is not None))
            size = math.sqrt(sum(float(parameters[name].detach().double().square().sum()) for name in names))
            found.append(steep / max(size, 1e-12))
        return found
    finally:
        with torch.no_grad():
            for name, value in head.items():
                value.copy_(aside[name])
        for name, value in parameters.items():
            value.grad = None
            value.requires_grad_(flags[name])


def arbitrate(
    task: Task, built: Built, data: Data, spec: TuneSpec, settings: Settings, index: int, phases: int, budget: int
) -> tuple[str, list[str]]:
    """Try the candidates out; ``built`` is as before afterwards.

    Args: budget: optimizer steps of all short runs together.

    Returns:
        The title of the choice, ``head`` if the best ones by loss lose accuracy, and lines with the evidence.

    Raises: ConfigError: the budget is too small to tell anything.
    """
    check_budget(built.module, budget, f"train.phases[{index}].layers.auto")
    start = {name: value.detach().cpu().clone() for name, value in built.module.state_dict().items()}
    pulled = pulls(task, built, data, settings)
    running = candidates(built.module, max(range(len(pulled)), key=pulled.__getitem__, default=0))
    first = budget // 2 // len(running)
    rows, held = len(data.train.rows()), len(data.validation.rows())
    each = f", {rows / len(built.settings.labels):.0f} a label" if task.one_label else ""
    before = evaluate(task, built, data.validation, settings)
    hardest = max(*pulled, 1e-12)
    shares = ", ".join(f"{value / hardest:.2f}" for value in pulled)
    lines = [
        f"auto: {rows} labelled rows{each}; validation {before.accuracy:.1%} at the start",
        f"auto: pull on the blocks, from below, relative to the hardest: {shares}",
    ]
    scores: dict[str, Score] = {}
    for steps in (first, budget // 2 // max(1, math.ceil(len(running) / 2))):
        for one in running:
            built.module.load_state_dict(start)
            scores[one.title] = _short(task, built, data, spec, settings, index, phases, one, steps)
        told = ", ".join(f"{one.title} {_shown(scores[one.title])}" for one in running)
        lines.append(f"auto: after {steps} steps each: {told}")
        # sorted is stable: of equals the shallower one comes first
        running = sorted(running, key=lambda one: (scores[one.title].loss, -scores[one.title].accuracy))
        running = running[: math.ceil(len(running) / 2)]
    built.module.load_state_dict(start)
    error = math.sqrt(max(before.accuracy * (1 - before.accuracy), 1e-4) / held)
    least = before.accuracy - error
    sound = [one for one in running if scores[one.title] != DIVERGED and scores[one.title].accuracy >= least]
    if not sound:
        lost = " and ".join(one.title for one in running)
        lines.append(f"auto: head; {lost} lost more than a standard error, {error:.1%}")
        return "head", lines
    best, line = _hinted(sound, scores, spec.hint, len(read(built.module).blocks), held)
    lines += line
    lines.append(f"auto: {best.title} is chosen")
    return best.title, lines


def _hinted(
    running: list[Candidate], scores: dict[str, Score], hint: str | None, blocks: int, rows: int
) -> tuple[Candidate, list[str]]:
    """The best one; or, of those within a standard error of it, the first that the hint names."""
    best = running[0]
    if hint is None:
        return best, []
    top = scores[best.title].accuracy
    error = math.sqrt(max(top * (1 - top), 1e-4) / max(1, rows))
    alike = [one for one in running if scores[one.title].accuracy >= top - error]
    named = next((one for one in alike if _side(one.title, blocks) == hint), None)
    if named is None or named is best:
        return best, [f"auto: the shift asks for {hint} blocks; that changes nothing here"]
    return named, [f"auto: the shift asks for {hint} blocks, and {named.title} is within {error:.1%} of {best.title}"]


def _side(title: str, blocks: int) -> str | None:
    """Which blocks a candidate tunes: late ones alone, an early one alone or all down to the first."""
    if title.startswith("last: "):
        return "late"
    if title.startswith("block "):
        return "early" if int(title.split()[1]) < blocks / 2 else "late"
    return "early" if title == "full" else None


def settle(spec: TuneSpec, module: nn.Module, title: str) -> TuneSpec:
    """The phase with the policy that was chosen."""
    if title == "head":
        return replace(spec, policy=Named("head"))
    alone = title.removeprefix("block ").removesuffix(" alone")
    every = candidates(module, int(alone) if alone.isdigit() else len(read(module).blocks) - 1)
    chosen = next(one for one in every if one.title == title)
    return replace(spec, policy=chosen.policy, learning_rate=spec.learning_rate * chosen.rate)


def _short(
    task: Task, built: Built, data: Data, spec: TuneSpec, settings: Settings, index: int, phases: int,
    candidate: Candidate, steps: int,
) -> Score:  # fmt: skip
    """The score at the end of a run of ``steps``, not the best on its way: that would be the start, too often."""
    short = replace(
        settle(spec, built.module, candidate.title),
        epochs=None,
        steps=steps,
        patience=steps,
        evaluations_per_epoch=1,
        overfit_gap=None,
    )
    curve = Unwritten()
    quiet = replace(settings, checkpoint_every_steps=steps + 1, prefix_cache=None)
    tuner = Tuner(task, built, data, short, quiet, index, phases, f"auto, {candidate.title}")
    try:
        tuner.run(curve, Store(Unsaved(), {}, {}, {}), None)
    except DivergedError:
        return DIVERGED
    row = curve.rows[-1]
    # A loss of NaN has no place in an order.
    return Score(row.validation_accuracy, row.validation_loss) if math.isfinite(row.validation_loss) else DIVERGED


def _shown(score: Score) -> str:
    if score == DIVERGED:
        return "diverged"
    return f"{score.accuracy:.1%} (loss {score.loss:.3f})"

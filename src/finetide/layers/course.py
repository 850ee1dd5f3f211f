"""How a layer policy changes while a phase runs: not at all, thawing from the top, or freezing what stands still.

``gradual`` is ULMFiT's unfreezing (Howard and Ruder 2018): the head learns alone at first, then one block after the
other from the top, what lies below them last. ``progressive`` freezes from the bottom what has stopped moving, after
AutoFreeze (Liu et al. 2021): the lower blocks settle first, and what is frozen costs neither gradients nor, with the
frozen prefix kept, forward passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from finetide.layers.policies import Named, Policy, from_below, resolve
from finetide.layers.rules import Plan
from finetide.layers.structure import read

State = dict[str, torch.Tensor]
COURSES = ("gradual", "progressive")


class Course:
    """A plan that stays as it is. The other courses change ``plan``, ``since`` and ``learned`` as they go.

    Attributes:
        plan: in force now, since step ``since`` (counted from 0); ``until``: the step before which it cannot change.
        first: the plan at step 0.
        learned: parameters that learn or have learned.
    """

    def __init__(self, plan: Plan, total: int) -> None:
        self.plan = self.first = plan
        self.since, self.until = 0, total
        self.learned = frozenset(plan.trainable)

    def adopt(self, plan: Plan) -> None:
        """Take the same plan in other names: adapters stand in the module now. Only a plan without any may change."""
        if plan.adapters:
            self.plan = self.first = plan
            self.learned = frozenset(plan.trainable)

    def before(self, step: int) -> str:
        """To be called before step ``step``. Returns: how the plan changes now; empty: it does not."""
        del step
        return ""

    def after_evaluation(self, step: int, rates: float) -> str:
        """To be called at each evaluation, after ``step`` steps. Args: rates: the sum of all steps' learning rates,
        as shares of the peak. Returns: as `before`."""
        del step, rates
        return ""

    def state(self) -> tuple[State, dict[str, Any]]:
        """What a resume needs."""
        return {}, {}

    def restore(self, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
        """Go on from `state`. Args: tensors: those of `state` among any others."""

    def _take(self, plan: Plan, step: int, until: int) -> None:
        self.plan, self.since, self.until = plan, step, until
        self.learned |= frozenset(plan.trainable)


class Gradual(Course):
    """Thaws a block at a time, evenly over the first ``share`` of the steps; then everything learns."""

    def __init__(self, module: nn.Module, share: float, total: int, where: str) -> None:
        self.module, self.where, self.total = module, where, total
        self.titles = _titles(module)
        count = len(self.titles)
        # The k-th thaw ends the k-th of count + 1 equal parts, the first of which is the head's alone.
        self.thaws = [max(1, int(share * total * (place + 1) / (count + 1))) for place in range(count)]
        super().__init__(from_below(module, count, where=where), total)
        self.thawed = 0
        self.until = self._next()

    def before(self, step: int) -> str:
        due = sum(thaw <= step for thaw in self.thaws)
        if due == self.thawed:
            return ""
        titles = list(reversed(self.titles))[self.thawed : due]
        self._thaw(due, step)
        return f"{', '.join(titles)}: learns from here on"

    def state(self) -> tuple[State, dict[str, Any]]:
        return {}, {"thawed": self.thawed, "since": self.since}

    def restore(self, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
        del tensors
        if state["thawed"]:
            self._thaw(state["thawed"], state["since"])

    def _thaw(self, thawed: int, step: int) -> None:
        self.thawed = thawed
        self._take(from_below(self.module, len(self.titles) - thawed, where=self.where), step, self._next())

    def _next(self) -> int:
        return min((thaw for thaw in self.thaws[self.thawed :]), default=self.total)


class Progressive(Course):
    """Freezes, from the bottom, what has stopped moving.

    A group's speed between two evaluations is the length of its way, ‖w − w before‖ / ‖w before‖, by the sum of the
    learning rates in between: a falling rate alone stops nothing. Once a group's speed is less than ``factor`` times
    the highest it had, and all below it are frozen, it is frozen for the rest of the phase. The top block never is.
    """

    def __init__(self, module: nn.Module, factor: float, total: int, where: str) -> None:
        self.module, self.factor, self.total, self.where = module, factor, total, where
        self.titles, self.groups = _titles(module), _groups(module)
        self.depth = 0
        self.peaks = [0.0] * len(self.groups)
        self.rates = 0.0
        super().__init__(from_below(module, 0, where=where), total)
        self.before_now = self._weights()

    def after_evaluation(self, step: int, rates: float) -> str:
        passed = rates - self.rates
        if passed <= 0:
            return ""
        now, speeds = self._weights(), [0.0] * len(self.groups)
        for place in range(self.depth, len(self.groups)):
            way = sum(float((now[name] - self.before_now[name]).double().square().sum()) for name in self.groups[place])
            size = sum(float(self.before_now[name].double().square().sum()) for name in self.groups[place])
            speeds[place] = (way**0.5) / max(size**0.5, 1e-12) / passed
        self.before_now, self.rates = now, rates
        depth = self.depth
        while depth < len(self.groups) - 1 and speeds[depth] < self.factor * self.peaks[depth]:
            depth += 1
        stopped = [
            f"{self.titles[place]} (speed {speeds[place] / self.peaks[place]:.0%} of its highest)"
            for place in range(self.depth, depth)
        ]
        self.peaks = [max(peak, speed) for peak, speed in zip(self.peaks, speeds, strict=True)]
        if not stopped:
            return ""
        self.depth = depth
        self._take(from_below(self.module, depth, where=self.where), step, self.total)
        return f"{', '.join(stopped)}: frozen from here on"

    def state(self) -> tuple[State, dict[str, Any]]:
        told = {"depth": self.depth, "since": self.since, "peaks": self.peaks, "rates": self.rates}
        return dict(self.before_now), told

    def restore(self, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
        self.depth, self.peaks, self.rates = state["depth"], list(state["peaks"]), state["rates"]
        if self.depth:
            self._take(from_below(self.module, self.depth, where=self.where), state["since"], self.total)
        self.before_now = {name: tensors[name] for group in self.groups for name in group}

    def _weights(self) -> State:
        parameters = dict(self.module.named_parameters())
        return {name: parameters[name].detach().cpu().clone() for group in self.groups for name in group}


def course(policy: Policy, module: nn.Module, total: int, *, where: str) -> Course:
    """The course of a policy over a phase of ``total`` steps. Raises: ConfigError: see `policies.resolve`."""
    if isinstance(policy, Named) and policy.name in COURSES:
        kind = Gradual if policy.name == "gradual" else Progressive
        return kind(module, float(policy.value or 0), total, where)
    return Course(resolve(policy, module, where=where), total)


def _groups(module: nn.Module) -> Sequence[tuple[str, ...]]:
    """What freezes and thaws as one, from the bottom: all below the blocks, then each block."""
    found = read(module)
    return [*([found.below] if found.below else []), *found.blocks]


def _titles(module: nn.Module) -> list[str]:
    found = read(module)
    count = len(found.blocks)
    return [*(["below the blocks"] if found.below else []), *(f"block {index} of {count}" for index in range(count))]

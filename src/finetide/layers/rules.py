"""A layer policy: ordered rules over parameter names, which say what is tuned, how fast, and what is frozen.

After big_vision's freeze and learning-rate masks: the first rule that matches decides, every parameter is covered, and
(ours) a rule that matches nothing is an error instead of a silent no-op.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from finetide.errors import ConfigError

FROZEN = "frozen"
# Of AdamW's weight decay: biases and the gains of norms are not decayed (BERT's recipe).
_NO_DECAY = re.compile(r"(\.bias$|norm|layer_norm|ln_\d)", re.IGNORECASE)


@dataclass(frozen=True)
class Adapter:
    """Two thin matrices that learn beside a frozen weight; see `finetide.layers.lora`.

    Attributes:
        kind: ``lora``, ``rslora`` or ``dora``.
        rank: the inner side of the two matrices.
        alpha: their product is scaled by alpha / rank, of rslora by alpha / √rank.
        dropout: of their input, from 0 to below 1.
    """

    kind: str
    rank: int
    alpha: float
    dropout: float

    @property
    def title(self) -> str:
        return f"{self.kind} of rank {self.rank}, alpha {self.alpha:g}"


@dataclass(frozen=True)
class Rule:
    """Which parameters, by exactly one of ``match``, ``blocks`` and ``names``, and what becomes of them.

    Attributes:
        lr: a multiplier of the phase's rate, or ``frozen``. A multiplier of 0 is refused: it means frozen.
        adapter: what the rule takes is frozen, and beside each linear layer's weight in it an adapter learns.
        weight_decay: None: the phase's.
        match: a regular expression, searched in the full name.
        blocks: a range, see `finetide.layers.structure.block_range`; `finetide.layers.policies` makes names of it.
        names: the parameters themselves.
        said: how messages and reports call the rule; None: by its ``match``.
    """

    lr: float | str
    weight_decay: float | None = None
    match: str | None = None
    blocks: str | None = None
    names: tuple[str, ...] | None = None
    said: str | None = None
    adapter: Adapter | None = None

    @property
    def title(self) -> str:
        return self.said or repr(self.match or self.blocks)


@dataclass(frozen=True)
class Group:
    """Parameters that share a learning rate and a decay. ``weight_decay``: None: the phase's."""

    names: tuple[str, ...]
    multiplier: float
    decay: bool
    weight_decay: float | None = None


@dataclass(frozen=True)
class Beside:
    """Frozen weights of linear layers, beside each of which an adapter learns at the rule's rate and decay."""

    weights: tuple[str, ...]
    adapter: Adapter
    multiplier: float
    weight_decay: float | None = None


@dataclass(frozen=True)
class Plan:
    """What each parameter's rule came to. ``lines`` say it for a person, one a rule."""

    frozen: tuple[str, ...]
    groups: tuple[Group, ...]
    lines: tuple[str, ...]
    adapters: tuple[Beside, ...] = ()

    @property
    def trainable(self) -> tuple[str, ...]:
        return tuple(name for group in self.groups for name in group.names)


def plan(
    names: Iterable[str],
    rules: Sequence[Rule],
    *,
    where: str = "train.phases[].layers",
    linear: Mapping[str, int] | None = None,
) -> Plan:
    """Which rule takes which parameter.

    Args:
        names: every parameter of the model, as ``named_parameters`` gives them.
        where: how messages call the list of rules, by its dotted path.
        linear: weights that can have an adapter → their smaller side; see `finetide.layers.targets`.

    Raises:
        ConfigError: a pattern is no regular expression, matches nothing, has multiplier 0; or a parameter is covered
            by no rule; or everything is frozen; or there is no place for an adapter, or none of its rank.
    """
    names, linear = list(names), linear or {}
    takes = [_test(rule, f"{where}[{place}]") for place, rule in enumerate(rules)]
    taken: list[list[str]] = [[] for _ in rules]
    uncovered: list[str] = []
    for name in names:
        first = next((place for place, test in enumerate(takes) if test(name)), None)
        (uncovered if first is None else taken[first]).append(name)
    for place, (rule, test, found) in enumerate(zip(rules, takes, taken, strict=True)):
        if not found:
            _refuse_empty(rule, test, names, f"{where}[{place}]")
    if uncovered:
        raise ConfigError(
            f"no rule covers {len(uncovered)} parameters, first {', '.join(uncovered[:3])}",
            where=where,
            fix="end the list with `match: .*`",
        )
    adapters = tuple(
        _beside(rule, rule.adapter, found, linear, f"{where}[{place}].{rule.adapter.kind}")
        for place, (rule, found) in enumerate(zip(rules, taken, strict=True))
        if rule.adapter
    )
    frozen = tuple(name for rule, found in zip(rules, taken, strict=True) if _is_frozen(rule) for name in found)
    groups = tuple(_groups(rules, taken))
    if not groups and not adapters:
        raise ConfigError("freezes every parameter", where=where, fix="leave at least the head")
    lines = tuple(_line(rule, found, linear) for rule, found in zip(rules, taken, strict=True))
    return Plan(frozen, groups, lines, adapters)


def _is_frozen(rule: Rule) -> bool:
    return rule.lr == FROZEN or rule.adapter is not None


def _beside(rule: Rule, adapter: Adapter, found: Sequence[str], linear: Mapping[str, int], where: str) -> Beside:
    if rule.lr == FROZEN:
        raise ConfigError("an adapter that is frozen learns nothing", where=where, fix="give the rule's lr a number")
    weights = tuple(name for name in found if name in linear)
    if not weights:
        raise ConfigError(
            f"stands beside the weights of linear layers, and the rule takes none of them, only {', '.join(found[:3])}",
            where=where,
            fix=f"let the rule take one of them, such as {', '.join(list(linear)[:3]) or 'none: the model has none'}",
        )
    check_rank(adapter, weights, linear, where)
    return Beside(weights, adapter, float(rule.lr), rule.weight_decay)


def check_rank(adapter: Adapter, weights: Iterable[str], linear: Mapping[str, int], where: str) -> None:
    """Raises: ConfigError for a rank that no matrix of these can have. Args: where: the adapter's dotted path."""
    name, side = min(((name, linear[name]) for name in weights), key=lambda pair: pair[1])
    if adapter.rank > side:
        raise ConfigError(
            f"is above {side}, the smaller side of {name}", where=f"{where}.rank", found=adapter.rank, fix="lower it"
        )


def _test(rule: Rule, where: str) -> Callable[[str], bool]:
    if rule.lr == 0:
        raise ConfigError(
            "lr 0 is not frozen: the optimizer would still decay it",
            where=f"{where}.lr, of {rule.title}",
            fix="write lr: frozen",
        )
    if rule.names is not None:
        held = frozenset(rule.names)
        return lambda name: name in held
    assert rule.match is not None
    try:
        pattern = re.compile(rule.match)
    except re.error as error:
        raise ConfigError(f"is no regular expression: {error}", where=f"{where}.match", found=rule.match) from error
    return lambda name: pattern.search(name) is not None


def _refuse_empty(rule: Rule, test: Callable[[str], bool], names: list[str], where: str) -> None:
    any_match = [name for name in names if test(name)]
    where = f"{where}.match" if rule.match else where
    wanted = rule.match or rule.title
    if any_match:
        raise ConfigError(
            f"all {len(any_match)} parameters that it matches are taken by earlier rules",
            where=where,
            found=wanted,
            fix="move it up, or leave it out",
        )
    parts = sorted({part for name in names for part in (name, *name.split("."))})
    near = get_close_matches(wanted, parts, n=3, cutoff=0.4) or names[:3]
    raise ConfigError("matches no parameter", where=where, found=wanted, fix=f"near: {', '.join(near)}")


def _groups(rules: Sequence[Rule], taken: Sequence[Sequence[str]]) -> Iterable[Group]:
    for rule, found in zip(rules, taken, strict=True):
        if _is_frozen(rule):
            continue
        for decay in (True, False):
            names = tuple(name for name in found if bool(_NO_DECAY.search(name)) is not decay)
            if names:
                yield Group(names, float(rule.lr), decay, rule.weight_decay)


def _line(rule: Rule, found: Sequence[str], linear: Mapping[str, int]) -> str:
    what = "frozen" if rule.lr == FROZEN else f"lr × {rule.lr:.3g}"
    decay = "" if rule.weight_decay is None or rule.lr == FROZEN else f", weight decay {rule.weight_decay:g}"
    if rule.adapter:
        count = sum(name in linear for name in found)
        what = f"frozen, with {rule.adapter.title} beside {count} of them, {what}"
    return f"{rule.title}: {len(found)} parameter tensors, {what}{decay}"

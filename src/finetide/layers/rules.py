"""A layer policy: ordered rules over parameter names, which say what is tuned, how fast, and what is frozen.

After big_vision's freeze and learning-rate masks: the first rule that matches decides, every parameter is covered, and
(ours) a rule that matches nothing is an error instead of a silent no-op.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from finetide.errors import ConfigError

FROZEN = "frozen"
# Of AdamW's weight decay: biases and the gains of norms are not decayed (BERT's recipe).
_NO_DECAY = re.compile(r"(\.bias$|norm|layer_norm|ln_\d)", re.IGNORECASE)


@dataclass(frozen=True)
class Rule:
    """``lr`` is a multiplier of the phase's rate, or ``frozen``. A multiplier of 0 is refused: it means frozen."""

    match: str
    lr: float | str


@dataclass(frozen=True)
class Group:
    """Parameters that share a learning rate and a decay."""

    names: tuple[str, ...]
    multiplier: float
    decay: bool


@dataclass(frozen=True)
class Plan:
    """What each parameter's rule came to. ``lines`` say it for a person, one a rule."""

    frozen: tuple[str, ...]
    groups: tuple[Group, ...]
    lines: tuple[str, ...]

    @property
    def trainable(self) -> tuple[str, ...]:
        return tuple(name for group in self.groups for name in group.names)


def plan(names: Iterable[str], rules: Sequence[Rule], *, where: str = "train.phases[].layers") -> Plan:
    """Which rule takes which parameter.

    Args:
        names: every parameter of the model, as ``named_parameters`` gives them.
        where: how messages call the list of rules, by its dotted path.

    Raises:
        ConfigError: a pattern is no regular expression, matches nothing, has multiplier 0; or a parameter is covered
            by no rule; or everything is frozen.
    """
    names = list(names)
    patterns = [_compile(rule, f"{where}[{place}]") for place, rule in enumerate(rules)]
    taken: list[list[str]] = [[] for _ in rules]
    uncovered: list[str] = []
    for name in names:
        first = next((place for place, pattern in enumerate(patterns) if pattern.search(name)), None)
        (uncovered if first is None else taken[first]).append(name)
    for place, (rule, pattern, found) in enumerate(zip(rules, patterns, taken, strict=True)):
        if not found:
            _refuse_empty(rule, pattern, names, f"{where}[{place}].match")
    if uncovered:
        raise ConfigError(
            f"no rule covers {len(uncovered)} parameters, first {', '.join(uncovered[:3])}",
            where=where,
            fix="end the list with `match: .*`",
        )
    frozen = tuple(name for rule, found in zip(rules, taken, strict=True) if rule.lr == FROZEN for name in found)
    groups = tuple(_groups(rules, taken))
    if not groups:
        raise ConfigError("freezes every parameter", where=where, fix="leave at least the head")
    return Plan(frozen, groups, tuple(_line(rule, found) for rule, found in zip(rules, taken, strict=True)))


def _compile(rule: Rule, where: str) -> re.Pattern[str]:
    if rule.lr == 0:
        raise ConfigError(
            "lr 0 is not frozen: the optimizer would still decay it",
            where=f"{where}.lr, of match {rule.match!r}",
            fix="write lr: frozen",
        )
    try:
        return re.compile(rule.match)
    except re.error as error:
        raise ConfigError(f"is no regular expression: {error}", where=f"{where}.match", found=rule.match) from error


def _refuse_empty(rule: Rule, pattern: re.Pattern[str], names: list[str], where: str) -> None:
    any_match = [name for name in names if pattern.search(name)]
    if any_match:
        raise ConfigError(
            f"all {len(any_match)} parameters that it matches are taken by earlier rules",
            where=where,
            found=rule.match,
            fix="move it up, or leave it out",
        )
    parts = sorted({part for name in names for part in (name, *name.split("."))})
    near = get_close_matches(rule.match, parts, n=3, cutoff=0.4) or names[:3]
    raise ConfigError("matches no parameter", where=where, found=rule.match, fix=f"near: {', '.join(near)}")


def _groups(rules: Sequence[Rule], taken: Sequence[Sequence[str]]) -> Iterable[Group]:
    for rule, found in zip(rules, taken, strict=True):
        if rule.lr == FROZEN:
            continue
        for decay in (True, False):
            names = tuple(name for name in found if bool(_NO_DECAY.search(name)) is not decay)
            if names:
                yield Group(names, float(rule.lr), decay)


def _line(rule: Rule, found: Sequence[str]) -> str:
    what = "frozen" if rule.lr == FROZEN else f"lr × {rule.lr:g}"
    return f"{rule.match!r}: {len(found)} parameter tensors, {what}"

"""Named layer policies: each is a list of rules, made from the structure of the model at hand.

``full``: everything. ``head``: the task's own layers. ``last``: the top N blocks and what stands above them.
``layerwise_decay``: everything, each block slower than the one above it (Clark et al. 2020, ELECTRA; Howard and Ruder
2018 called it discriminative fine-tuning). ``bitfit``: biases and the head (Ben Zaken et al. 2022). ``gradual`` and
``progressive`` change while a phase runs: see `finetide.layers.course`. `Adapting`: adapters beside linear layers, and
the head.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn

from finetide.errors import ConfigError
from finetide.layers import targets
from finetide.layers.rules import FROZEN, Adapter, Plan, Rule, check_rank, plan
from finetide.layers.structure import Structure, block_range, read

# Below it float32 has no full number any more: nothing would move.
LOWEST = 1e-38
_BIAS = re.compile(r"(^|\.|_)bias$")


@dataclass(frozen=True)
class Named:
    """A policy by its name. ``value``: N of ``last``, the factor of ``layerwise_decay`` and of ``progressive``, the
    share of ``gradual``; None for the others."""

    name: str
    value: float | None = None


@dataclass(frozen=True)
class Adapting:
    """Adapters and the head learn. ``targets``: ``attention``, ``linear``, or patterns over linear layers' names."""

    adapter: Adapter
    targets: str | tuple[str, ...]


Policy = Named | Adapting | tuple[Rule, ...]


def resolve(policy: Policy, module: nn.Module, *, where: str) -> Plan:
    """What the policy makes of each parameter of ``module``.

    Args:
        where: how messages call it, by its dotted path.

    Raises:
        ConfigError: see `finetide.layers.rules.plan`; or the policy needs blocks or linear layers that the model does
            not have.
        ValueError: the policy changes while a phase runs, see `finetide.layers.course`.
    """
    names = [name for name, _ in module.named_parameters()]
    structure = read(module)
    if isinstance(policy, Adapting):
        rules = _adapting(policy, module, structure, where)
    else:
        rules = _rules(policy, structure, where) if isinstance(policy, Named) else _ranges(policy, structure, where)
    return plan(names, rules, where=where, linear=targets.linear_weights(module))


def from_below(module: nn.Module, frozen: int, *, where: str) -> Plan:
    """The plan that freezes the lowest groups: what lies below the blocks (one group, if there is any), each block.

    Args: frozen: how many; at most all of them, so that what stands above the blocks and the head always learn.

    Raises: ConfigError: the model has no stack of blocks.
    """
    structure = read(module)
    _need_blocks(structure, "it", where)
    groups = [*([structure.below] if structure.below else []), *structure.blocks]
    held, free = (tuple(name for group in part for name in group) for part in (groups[:frozen], groups[frozen:]))
    top = Rule(said="above the blocks, and the head", names=(*structure.above, *structure.head), lr=1.0)
    rules = [
        top,
        *_some(Rule(said=f"the upper {len(groups) - frozen} groups", names=free, lr=1.0)),
        *_some(Rule(said=f"the lowest {frozen} of {len(groups)} groups", names=held, lr=FROZEN)),
    ]
    return plan([name for name, _ in module.named_parameters()], rules, where=where)


def _need_blocks(structure: Structure, name: str, where: str) -> None:
    if not structure.blocks:
        raise ConfigError(
            f"{name} needs a stack of blocks, and this model has none (or shares the weights of one)",
            where=where,
            fix="write full, head, or rules with match",
        )


def _rules(policy: Named, structure: Structure, where: str) -> list[Rule]:
    head = Rule(said="head", names=structure.head, lr=1.0)
    rest = Rule(match=".*", said="all else", lr=FROZEN)
    if policy.name == "full":
        return [Rule(match=".*", lr=1.0)]
    if policy.name == "head":
        return [head, rest]
    if policy.name == "bitfit":
        if not any(_BIAS.search(name) for name in (*structure.below, *sum(structure.blocks, ()), *structure.above)):
            raise ConfigError("bitfit tunes biases, and this model has none", where=where, fix="write last: N, or full")
        return [head, Rule(match=_BIAS.pattern, said="biases", lr=1.0), rest]
    count = len(structure.blocks)
    _need_blocks(structure, policy.name, where)
    top = [head, *_some(Rule(said="above the blocks", names=structure.above, lr=1.0))]
    if policy.name == "last":
        wanted = int(policy.value or 0)
        if wanted > count:
            raise ConfigError(
                f"the model has {count} blocks", where=f"{where}.last", found=wanted, fix=f"at most {count}; or full"
            )
        taken = tuple(name for block in structure.blocks[count - wanted :] for name in block)
        return [*top, Rule(said=f"blocks {count - wanted} to {count - 1} of {count}", names=taken, lr=1.0), rest]
    if policy.name != "layerwise_decay":
        raise ValueError(f"{policy.name} is no fixed policy")
    factor = float(policy.value or 0)
    if factor ** (count + 1) < LOWEST:
        raise ConfigError(
            f"leaves the lowest of {count} blocks a rate of nothing", where=f"{where}.layerwise_decay",
            found=policy.value, fix="raise it, or write last: N",
        )  # fmt: skip
    layers = [
        Rule(said=f"block {index}", names=structure.blocks[index], lr=factor ** (count - index))
        for index in reversed(range(count))
    ]
    return [*top, *layers, *_some(Rule(said="below the blocks", names=structure.below, lr=factor ** (count + 1)))]


def _adapting(policy: Adapting, module: nn.Module, structure: Structure, where: str) -> list[Rule]:
    where = f"{where}.{policy.adapter.kind}"
    weights = targets.choose(policy.targets, module, structure, where=f"{where}.targets")
    check_rank(policy.adapter, weights, targets.linear_weights(module), where)
    said = policy.targets if isinstance(policy.targets, str) else " or ".join(map(repr, policy.targets))
    return [
        Rule(said="head", names=structure.head, lr=1.0),
        Rule(said=f"targets {said}", names=weights, lr=1.0, adapter=policy.adapter),
        Rule(match=".*", said="all else", lr=FROZEN),
    ]


def _some(rule: Rule) -> list[Rule]:
    """The rule, if it takes anything: not every model has a norm above its blocks."""
    return [rule] if rule.names else []


def _ranges(rules: Sequence[Rule], structure: Structure, where: str) -> list[Rule]:
    """Rules over a range of blocks as rules over names."""
    found = []
    for place, rule in enumerate(rules):
        if rule.blocks is None:
            found.append(rule)
            continue
        try:
            chosen = block_range(rule.blocks, len(structure.blocks))
        except ValueError as error:
            raise ConfigError(
                str(error), where=f"{where}[{place}].blocks", found=rule.blocks, fix="blocks are counted from 0, below"
            ) from error
        names = tuple(name for index in chosen for name in structure.blocks[index])
        found.append(replace(rule, said=f"blocks {rule.blocks}", names=names, blocks=None))
    return found

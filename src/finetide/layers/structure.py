"""Where a model's blocks are, read from its modules and not from its name.

A transformer or a modern convolutional net is a stem, a stack of like blocks, and what stands above it. The stack is
the chain of like modules that holds the most parameters; when its members are themselves made of like blocks (the
stages of ResNet, ConvNeXt, Swin), those are the blocks.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from torch import nn

# Registered beside or after the stack, yet input to it: embeddings of words, positions and relations, patches, stems.
_INPUT = re.compile(
    r"(embed|patch|position|relative|stem|(^|\.)(wte|wpe|conv1|cls_token|mask_token)(\.|$))", re.IGNORECASE
)
HEAD = "head."


@dataclass(frozen=True)
class Structure:
    """The names of all parameters, each in one place.

    ``below``: what the first block's input is made of. ``blocks``: in the order of the forward pass; ``paths``: the
    submodules that they are. ``above``: norms and projections after the last block. ``head``: the task's own layers.
    """

    below: tuple[str, ...]
    blocks: tuple[tuple[str, ...], ...]
    above: tuple[str, ...]
    head: tuple[str, ...]
    paths: tuple[str, ...] = ()

    def frozen_prefix(self, frozen: Collection[str]) -> int:
        """How many blocks, from the bottom up, are frozen whole, with everything below them."""
        if not set(self.below) <= set(frozen):
            return 0
        whole = [set(block) <= set(frozen) for block in self.blocks]
        return next((place for place, held in enumerate(whole) if not held), len(whole))


def read(module: nn.Module) -> Structure:
    """The structure of a model whose task layers are in its submodule ``head``. Without a stack there are no blocks."""
    names = [name for name, _ in module.named_parameters()]
    prefixes = _stack(module)
    blocks: list[list[str]] = [[] for _ in prefixes]
    below: list[str] = []
    above: list[str] = []
    head: list[str] = []
    at = 0
    for name in names:
        place = next((index for index, prefix in enumerate(prefixes) if name.startswith(prefix)), None)
        if name.startswith(HEAD):
            head.append(name)
        elif place is not None:
            blocks[place].append(name)
            at = place + 1
        elif not prefixes or at == 0 or _INPUT.search(name):
            below.append(name)
        elif at < len(prefixes):
            blocks[at].append(name)  # between two blocks, such as the reduction before a stage: part of the next
        else:
            above.append(name)
    paths = tuple(prefix.removesuffix(".") for prefix in prefixes)
    return Structure(tuple(below), tuple(map(tuple, blocks)), tuple(above), tuple(head), paths)


def _stack(module: nn.Module) -> list[str]:
    """The prefixes of the blocks, with a dot at the end, in order."""
    chains = [
        (prefix, children)
        for prefix, part in module.named_modules()
        if not f"{prefix}.".startswith(HEAD) and len(children := _alike(part)) > 1
    ]
    if not chains:
        return []
    # The first of those with the most parameters: an outer chain holds at least as many as what lies inside it.
    prefix, children = max(chains, key=lambda chain: sum(_size(child) for _, child in chain[1]))
    found: list[str] = []
    for name, child in children:
        path = f"{prefix}.{name}" if prefix else name
        found.extend(_inside(path, child))
    return found


def _inside(path: str, stage: nn.Module) -> list[str]:
    """The blocks of a stage, or the stage itself where it is one block."""
    for prefix, part in stage.named_modules():
        children = [(name, child) for name, child in part.named_children() if _size(child)]
        is_chain = isinstance(part, (nn.ModuleList, nn.Sequential)) and bool(children)
        kinds = {type(child) for _, child in children}
        if is_chain and prefix and len(kinds) == 1 and not _is_leaf(children[0][1]):
            whole = 2 * sum(_size(child) for _, child in children) > _size(stage)
            if whole:
                return [f"{path}.{prefix}.{name}." for name, _ in children]
    return [f"{path}."]


def _alike(part: nn.Module) -> list[tuple[str, nn.Module]]:
    """The children of a chain, if they are modules of one class that are made of others."""
    if not isinstance(part, (nn.ModuleList, nn.Sequential)):
        return []
    children = [(name, child) for name, child in part.named_children() if _size(child)]
    if len({type(child) for _, child in children}) != 1 or _is_leaf(children[0][1]):
        return []
    return children


def _is_leaf(part: nn.Module) -> bool:
    return next(part.children(), None) is None


def _size(part: nn.Module) -> int:
    return sum(parameter.numel() for parameter in part.parameters())


def block_range(text: str, count: int) -> Sequence[int]:
    """``0-3``, ``5``, ``-2--1`` (the last two) as indices below ``count``.

    Raises: ValueError: not a range of blocks that are there.
    """
    match = re.fullmatch(r"(-?\d+)(?:-(-?\d+))?", text.strip())
    if match is None:
        raise ValueError("is no range of blocks; write 0-3, 5, or -2--1 for the last two")
    first = int(match[1])
    last = int(match[2]) if match[2] is not None else first
    first, last = (index + count if index < 0 else index for index in (first, last))
    if 0 <= last < first < count:
        raise ValueError(f"is the wrong way round; write {last}-{first}")
    if not 0 <= first <= last < count:
        raise ValueError(f"names blocks that are not there: the model has {count} blocks, 0 to {count - 1}")
    return range(first, last + 1)

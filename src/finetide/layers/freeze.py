"""Freezing that freezes: no gradient, no dropout, no moving statistics, and a proof by hash.

``requires_grad`` alone leaves batch-norm statistics moving and dropout on (pytorch#86590): a module whose parameters
are all frozen is therefore kept in evaluation mode, whatever ``train()`` is called on around it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import nn

from finetide.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def frozen(module: nn.Module, names: Iterable[str]) -> Iterator[dict[str, str]]:
    """Hold the named parameters, and the buffers of modules that are frozen whole, for the length of the block.

    Yields:
        Tensor name → SHA-256 before. On a clean exit the same tensors are hashed again.

    Raises:
        IntegrityError: a frozen tensor changed.
    """
    held = set(names)
    parameters = dict(module.named_parameters())
    before_flags = {name: value.requires_grad for name, value in parameters.items()}
    for name, value in parameters.items():
        value.requires_grad_(name not in held)
    still = still_modules(module, held)
    handles = [(part, part.train) for part in still]
    for part in still:
        part.eval()
        part.train = _stay(part)  # type: ignore[method-assign,assignment]
    tensors = sorted(held | _buffers_of(module, still))
    before = hashes(module, tensors)
    try:
        yield before
        _compare(before, hashes(module, tensors))
    finally:
        for part, _ in handles:
            del part.train  # the instance's attribute; the class's method is back
        for name, flag in before_flags.items():
            parameters[name].requires_grad_(flag)


def still_modules(module: nn.Module, held: set[str]) -> list[nn.Module]:
    """Modules below ``module`` of which every parameter, at any depth, is frozen, with all that lies inside them.

    A module without parameters (dropout, activation) is still when its parent is.
    """
    found: list[nn.Module] = []

    def visit(part: nn.Module, prefix: str) -> None:
        names = [f"{prefix}{name}" for name, _ in part.named_parameters()]
        if names and all(name in held for name in names):
            found.extend(part.modules())
            return
        for name, child in part.named_children():
            visit(child, f"{prefix}{name}.")

    visit(module, "")
    return found


def hashes(module: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of the bytes of parameters and buffers, by name."""
    tensors = dict([*module.named_parameters(), *module.named_buffers()])
    return {
        name: hashlib.sha256(tensors[name].detach().cpu().contiguous().numpy().tobytes()).hexdigest() for name in names
    }


def _buffers_of(module: nn.Module, still: list[nn.Module]) -> set[str]:
    inside = {id(part) for part in still}
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, part in module.named_modules()
        if id(part) in inside
        for name, _ in part.named_buffers(recurse=False)
    }


def _stay(part: nn.Module) -> Callable[[bool], nn.Module]:
    """A ``train`` that changes nothing: the part stays in evaluation mode."""

    def train(mode: bool = True) -> nn.Module:
        del mode
        return part

    return train


def _compare(before: dict[str, str], after: dict[str, str]) -> None:
    changed = [name for name, digest in before.items() if after[name] != digest]
    if changed:
        raise IntegrityError(
            f"{len(changed)} frozen tensors changed while training, first {changed[0]!r}",
            where="training",
            fix="this is a bug of the training loop; its result is not used",
        )

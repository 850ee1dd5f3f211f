"""Freezing that freezes: no gradient, no dropout, no moving statistics, and a proof by hash.

``requires_grad`` alone leaves batch-norm statistics moving and dropout on (pytorch#86590): a module whose parameters
are all frozen is therefore kept in evaluation mode, whatever ``train()`` is called on around it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import nn

from finetide.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Held:
    """The frozen part of a module while it trains. ``proof``: tensor name → SHA-256 when it was frozen."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.proof: dict[str, str] = {}
        self._flags = {name: value.requires_grad for name, value in module.named_parameters()}
        self._still: list[nn.Module] = []

    def change(self, names: Iterable[str]) -> None:
        """Freeze exactly the named parameters from here on. What is no longer among them is compared and let go.

        Raises: IntegrityError: one of those has changed.
        """
        held = set(names)
        still = still_modules(self.module, held)
        tensors = tensors_of(self.module, held)
        gone = {name: digest for name, digest in self.proof.items() if name not in tensors}
        compare(gone, hashes(self.module, gone))
        self._release()
        for name, value in self.module.named_parameters():
            value.requires_grad_(name not in held)
        self._still = still
        for part in still:
            part.eval()
            part.train = _stay(part)  # type: ignore[method-assign,assignment]
        kept = {name: digest for name, digest in self.proof.items() if name in tensors}
        new = hashes(self.module, sorted(tensors - set(kept)))
        self.proof = {name: kept.get(name) or new[name] for name in sorted(tensors)}

    def check(self) -> None:
        """Raises: IntegrityError: a frozen tensor changed."""
        compare(self.proof, hashes(self.module, self.proof))

    def close(self) -> None:
        """Everything as it was before."""
        self._release()
        for name, value in self.module.named_parameters():
            value.requires_grad_(self._flags[name])

    def _release(self) -> None:
        for part in self._still:
            del part.train  # the instance's attribute; the class's method is back
        self._still = []


@contextmanager
def frozen(module: nn.Module, names: Iterable[str]) -> Iterator[Held]:
    """Hold the named parameters, and the buffers of modules that are frozen whole, for the length of the block.

    Yields: what is held; it may change inside the block. On a clean exit all is hashed again.

    Raises: IntegrityError: a frozen tensor changed.
    """
    held = Held(module)
    try:
        held.change(names)
        yield held
        held.check()
    finally:
        held.close()


def tensors_of(module: nn.Module, names: Iterable[str]) -> set[str]:
    """The named parameters, and the buffers of modules of which they are all parameters."""
    held = set(names)
    return held | _buffers_of(module, still_modules(module, held))


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


def compare(before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Raises: IntegrityError: a tensor's hash is another afterwards."""
    changed = [name for name, digest in before.items() if after[name] != digest]
    if changed:
        raise IntegrityError(
            f"{len(changed)} frozen tensors changed while training, first {changed[0]!r}",
            where="training",
            fix="this is a bug of the training loop; its result is not used",
        )

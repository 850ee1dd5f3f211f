"""Of a large embedding table, only the rows that the training rows read are given to the optimizer.

A vocabulary has tens of thousands of rows, a training set reads a few thousand of them. Every other row has a gradient
of zero in each step, so that AdamW would move it by its weight decay and nothing else; and yet the whole table's
gradient, its two moments and its norm would be gone through in every step. Here a smaller leaf holds the rows that are
read, and stands in for the table while it trains. They take the same steps; the others stay as the base has them,
undecayed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy as np
import torch
from torch import nn

from finetide.errors import IntegrityError
from finetide.task import Built, Examples, Trainable

# A table with fewer rows is not worth the indirection, nor one of which this share is read.
SMALLEST = 4096
LARGEST_SHARE = 0.2
# Rows collated at once while looking.
_LOOK = 256


class _ReadError(Exception):
    """Ends a forward pass once the table has been read."""


class Table:
    """One embedding, of which the rows ``used`` learn. ``values`` [used, size] is the leaf that the optimizer holds."""

    def __init__(self, name: str, part: nn.Embedding, used: torch.Tensor) -> None:
        """Args: name: of the embedding's weight. used: sorted row numbers, int64."""
        self.name, self.part, self.used = name, part, used.to(part.weight.device)
        self._place = torch.full((part.num_embeddings,), -1, dtype=torch.int64, device=part.weight.device)
        self._place[self.used] = torch.arange(len(self.used), device=part.weight.device)
        padding = -1 if part.padding_idx is None else int(self._place[part.padding_idx])
        self._padding = None if padding < 0 else padding
        self.values = nn.Parameter(torch.empty(0))
        self.take()

    @property
    def line(self) -> str:
        """For a person."""
        return f"{self.name}: {len(self.used)} of {self.part.num_embeddings} rows occur in training rows and learn"

    def take(self) -> None:
        """Start from the rows as the table has them now."""
        self.values = nn.Parameter(self.part.weight.detach()[self.used].clone())

    def give(self) -> None:
        """Write the learned rows into the table.

        Raises: IntegrityError: the table got a gradient of its own, so that something reads it past the stand-in.
        """
        if self.part.weight.grad is not None:
            raise IntegrityError(
                f"{self.name} is read in more than one way, and only one of them would learn",
                where="training",
                fix="this is a bug of the training loop; its result is not used",
            )
        with torch.no_grad():
            self.part.weight.index_copy_(0, self.used, self.values)

    @contextmanager
    def standing_in(self) -> Iterator[None]:
        """Inside, the embedding looks its rows up in ``values``. An id that is not among ``used`` raises IndexError."""

        def forward(ids: torch.Tensor) -> torch.Tensor:
            return nn.functional.embedding(self._place[ids], self.values, padding_idx=self._padding)

        self.part.forward = forward  # type: ignore[method-assign,assignment]
        try:
            yield
        finally:
            del self.part.forward  # the instance's attribute; the class's method is back


class Tables:
    """The tables of one training, looked for when they begin to learn. ``active``: those that learn now."""

    def __init__(self, task: Trainable, built: Built, examples: Examples) -> None:
        self._task, self._built, self._examples = task, built, examples
        self._found: dict[str, Table | None] = {}
        self.active: list[Table] = []

    def learn(self, names: Sequence[str]) -> dict[str, nn.Parameter]:
        """The module's parameters by name, of which ``names`` learn from here on, with stand-ins where there are any.

        To be called anew whenever the weights were loaded: stand-ins start from them.
        """
        module, wanted = self._built.module, set(names)
        for path, part in module.named_modules():
            name = f"{path}.weight"
            if name in wanted and name not in self._found:
                self._found[name] = find(self._task, self._built, self._examples, name, part)
        self.active = [table for name, table in self._found.items() if table is not None and name in wanted]
        for table in self.active:
            table.take()
        return {**dict(module.named_parameters()), **{table.name: table.values for table in self.active}}

    def give(self) -> None:
        """After a step; see `Table.give`."""
        for table in self.active:
            table.give()

    @contextmanager
    def standing_in(self) -> Iterator[None]:
        """Around a forward pass of training rows."""
        with ExitStack() as stack:
            for table in self.active:
                stack.enter_context(table.standing_in())
            yield


def find(task: Trainable, built: Built, examples: Examples, name: str, part: nn.Module) -> Table | None:
    """A stand-in for an embedding that is large, read in one place only, and little of it by ``examples``; else None.

    What is drawn anew for each batch (masks) may read any row.

    Args: name: of the weight. part: the module that has it.
    """
    if task.draws(built) or not _plain(part) or _tied(built.module, name):
        return None
    assert isinstance(part, nn.Embedding)
    used = _read(task, built, part, examples)
    return Table(name, part, used) if 0 < len(used) <= LARGEST_SHARE * part.num_embeddings else None


def _tied(module: nn.Module, name: str) -> bool:
    named = dict(module.named_parameters(remove_duplicate=False))
    return any(value is named[name] for other, value in named.items() if other != name)


def _plain(part: nn.Module) -> bool:
    return (
        type(part) is nn.Embedding
        and part.num_embeddings >= SMALLEST
        and part.max_norm is None
        and not part.scale_grad_by_freq
        and not part.sparse
    )


def _read(task: Trainable, built: Built, part: nn.Embedding, examples: Examples) -> torch.Tensor:
    """Row numbers that the examples look up, found by looking: sorted; none, if a pass never comes by."""
    seen = torch.zeros(part.num_embeddings, dtype=torch.bool)

    def look(_module: nn.Module, given: tuple[Any, ...]) -> None:
        for ids in given[:1]:
            seen[ids.detach().cpu().flatten()] = True
        raise _ReadError

    module = built.module
    handle, was_training = part.register_forward_pre_hook(look), module.training
    module.eval()
    try:
        with torch.inference_mode():
            for rows in np.array_split(np.argsort(examples.lengths), -(-len(examples.ids) // _LOOK)):
                collated = task.collate(built, examples, rows.tolist())
                batch = {name: value.to(part.weight.device) for name, value in collated.items()}
                with suppress(_ReadError):
                    task.outputs(module, batch)
    finally:
        handle.remove()
        module.train(was_training)
    return seen.nonzero().flatten()

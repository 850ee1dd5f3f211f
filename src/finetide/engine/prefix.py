"""The frozen prefix runs once: what its last block gives is kept on disk, and every later pass starts there.

A prefix is sound to keep when nothing in it learns and nothing in it is random: every parameter below the cut is
frozen, so that `finetide.layers.freeze` holds it in evaluation mode, without dropout. What follows the cut then sees
the same numbers in every epoch.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from finetide.engine.batches import by_length
from finetide.engine.inference import Around
from finetide.engine.precision import Precision
from finetide.files import CHUNK, broken, read_json, seal, sha256_file, sweep, temporary_prefix, write_json
from finetide.layers import structure
from finetide.task import Built, Examples, Trainable

GIB = 1 << 30
# Kept on disk; the least recently made go first.
KEPT = 2
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class _ReachedError(Exception):
    """Ends a forward pass at the cut."""


@dataclass(frozen=True)
class Cut:
    """``skipped``: the frozen blocks, in order; the last one's output is what is kept."""

    skipped: tuple[nn.Module, ...]
    names: tuple[str, ...]
    count: int

    @property
    def last(self) -> nn.Module:
        return self.skipped[-1]


def find(module: nn.Module, frozen: Sequence[str]) -> Cut | None:
    """Where the prefix ends; None when the first block learns, or something below it does."""
    found = structure.read(module)
    depth = found.frozen_prefix(frozen)
    if depth == 0:
        return None
    names = (*found.below, *(name for block in found.blocks[:depth] for name in block))
    parts = tuple(module.get_submodule(path) for path in found.paths[:depth])
    return Cut(parts, names, len(found.blocks))


@dataclass
class Kept:
    """Activations of one set of examples; row ``i`` is ``values[starts[i]:starts[i + 1]]`` of shape ``shapes[i]``.

    ``width``: how long the tuple is whose first item they were; 0: the block gives them bare.
    """

    values: torch.Tensor
    starts: Sequence[int]
    shapes: Sequence[tuple[int, ...]]
    width: int

    def batch(self, index: Sequence[int], device: torch.device) -> torch.Tensor:
        """[rows, longest, …], padded with zeros: nothing reads what stands at padding."""
        longest = max(self.shapes[row][0] for row in index)
        made = torch.zeros((len(index), longest, *self.shapes[index[0]][1:]), dtype=self.values.dtype)
        for place, row in enumerate(index):
            shape = self.shapes[row]
            made[place, : shape[0]] = self.values[self.starts[row] : self.starts[row + 1]].view(shape)
        return made.to(device)


class Prefix:
    """Holds what was kept, and lets forward passes start at the cut."""

    def __init__(self, cut: Cut, kept: Mapping[str, Kept], device: torch.device, decision: str) -> None:
        self.cut, self.kept, self.device, self.decision = cut, kept, device, decision

    def around(self, name: str) -> Around:
        """For the examples of this name: a context, given rows, in which a forward pass of them skips the prefix."""

        @contextmanager
        def rows(index: Sequence[int]) -> Iterator[None]:
            kept = self.kept[name]
            hidden = kept.batch(index, self.device)
            self._replace(lambda given: given, kept.width, self.cut.skipped[:-1])
            self._replace(lambda _: hidden, kept.width, self.cut.skipped[-1:])
            try:
                yield
            finally:
                for part in self.cut.skipped:
                    del part.forward  # the instance's attribute; the class's method is back

        return rows

    @staticmethod
    def _replace(give: Callable[[torch.Tensor], torch.Tensor], width: int, parts: Sequence[nn.Module]) -> None:
        def forward(hidden: torch.Tensor, *_: Any, **__: Any) -> Any:
            return (give(hidden), *[None] * (width - 1)) if width else give(hidden)

        for part in parts:
            part.forward = forward


def prepare(
    task: Trainable,
    built: Built,
    cut: Cut,
    data: Mapping[str, Examples],
    proof: Mapping[str, str],
    folder: Path,
    *,
    batch_tokens: int,
    precision: Precision,
    device: torch.device,
    budget_gib: float,
) -> Prefix | str:
    """Run the prefix over ``data``, unless its activations lie in ``folder`` already.

    Args:
        proof: parameter → SHA-256, at least of the prefix's; part of the key.
        budget_gib: disk that the activations may take, in GiB.

    Returns:
        The prefix, or why there is none.
    """  # fmt: skip
    home = folder / _key(task, cut, data, proof, batch_tokens, precision)
    damaged = broken(home)
    if damaged:
        print(f"{home} is not used: {damaged} is not what was written; the prefix runs again", file=sys.stderr)
    if damaged is not None:
        try:
            refused = _fill(task, built, cut, data, home, batch_tokens, precision, device, budget_gib)
        except OSError as error:
            refused = f"no frozen prefix is kept: {folder}: {error.strerror}"
        if refused:
            return refused
    meta = read_json(home / "meta.json")
    kept = {}
    for name, entry in meta["sets"].items():
        path = home / f"{name}.bin"
        dtype = DTYPES[entry["dtype"]]
        values = torch.from_file(str(path), shared=False, size=entry["starts"][-1], dtype=dtype)
        kept[name] = Kept(values, entry["starts"], [tuple(shape) for shape in entry["shapes"]], entry["width"])
    size = sum((home / f"{name}.bin").stat().st_size for name in kept)
    depth = len(cut.skipped)
    rounded = {entry["dtype"] for entry in meta["sets"].values()} == {"bfloat16"} and precision.name == "fp32"
    how = f"{size / (1 << 20):.1f} MiB of activations are kept" + (", rounded to bf16 for the disk" if rounded else "")
    decision = f"the {depth} frozen of {cut.count} blocks ran once: {how}"
    return Prefix(cut, kept, device, decision)


def _fill(
    task: Trainable, built: Built, cut: Cut, data: Mapping[str, Examples], home: Path, batch_tokens: int,
    precision: Precision, device: torch.device, budget_gib: float,
) -> str | None:  # fmt: skip
    """Returns: why nothing was kept."""

    def run(examples: Examples, index: Sequence[int]) -> tuple[torch.Tensor, int]:
        return _run(task, built, cut, examples, index, precision, device)

    first = next(iter(data.values()))
    sample = next(by_length(first.lengths, batch_tokens))
    built.module.train()  # as in training: what is random then shows itself
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        (hidden, width), (again, _) = run(first, sample), run(first, sample)
    if width < 0:
        return "no frozen prefix is kept: its last block hands on more than one tensor"
    if not torch.equal(hidden, again):
        return "no frozen prefix is kept: something below its end is random while training (dropout outside of a block)"
    ragged = hidden.ndim == 3 and hidden.shape[1] == max(int(first.lengths[row]) for row in sample)
    dtype, need = hidden.dtype, 0
    for examples in data.values():
        need += int(examples.lengths.sum()) * hidden.shape[2] if ragged else len(examples.ids) * hidden[0].numel()
    if need * dtype.itemsize > budget_gib * GIB:
        dtype = torch.bfloat16
    if need * dtype.itemsize > budget_gib * GIB:
        wanted = need * dtype.itemsize / GIB
        return f"no frozen prefix is kept: it needs {wanted:.2g} GiB, train.prefix_cache_gib is {budget_gib:g}"
    home.parent.mkdir(parents=True, exist_ok=True)
    sweep(home.parent)
    made = home.parent / f"{temporary_prefix(home.name)}{'0' * 8}"
    made.mkdir()
    try:
        sets: dict[str, Any] = {}
        for name, examples in data.items():
            shapes = [
                [int(length), hidden.shape[2]] if ragged else list(hidden.shape[1:]) for length in examples.lengths
            ]
            starts = np.cumsum([0, *[int(np.prod(shape)) for shape in shapes]]).tolist()
            path = made / f"{name}.bin"
            _reserve(path, max(starts[-1], 1) * dtype.itemsize)
            values = torch.from_file(str(path), shared=True, size=starts[-1], dtype=dtype)
            with tqdm(total=len(shapes), desc=f"frozen prefix, {name}", unit="row", file=sys.stderr,
                      disable=not sys.stderr.isatty()) as bar:  # fmt: skip
                for index in by_length(examples.lengths, batch_tokens):
                    found, _ = run(examples, index)
                    for place, row in enumerate(index):
                        part = found[place, : shapes[row][0]] if ragged else found[place]
                        values[starts[row] : starts[row + 1]] = part.flatten()
                    bar.update(len(index))
            dtype_name = str(dtype).removeprefix("torch.")
            sets[name] = {"starts": starts, "shapes": shapes, "dtype": dtype_name, "width": width}
        write_json(made / "meta.json", {"sets": sets})
        seal(made)
        if broken(home) is not None:  # another process may have been first
            shutil.rmtree(home, ignore_errors=True)
            made.rename(home)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    older = sorted((path for path in home.parent.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime_ns)
    for path in older[:-KEPT]:
        shutil.rmtree(path)
    return None


def _reserve(path: Path, size: int) -> None:
    """A file of zeros that has its place on the disk: writing to a map of one that has none ends the process."""
    with path.open("wb") as stream:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(stream.fileno(), 0, size)
        else:
            for start in range(0, size, CHUNK):
                stream.write(bytes(min(CHUNK, size - start)))


def _run(
    task: Trainable, built: Built, cut: Cut, examples: Examples, index: Sequence[int], precision: Precision,
    device: torch.device,
) -> tuple[torch.Tensor, int]:  # fmt: skip
    """What the prefix's last block gives for these rows, and `Kept.width`; -1: it hands on more than that."""
    found: list[Any] = []

    def stop(_module: nn.Module, _given: Any, output: Any) -> None:
        found.append(output)
        raise _ReachedError

    handle = cut.last.register_forward_hook(stop)
    try:
        batch = {name: value.to(device) for name, value in task.collate(built, examples, index).items()}
        with torch.no_grad(), precision.autocast(device):
            task.outputs(built.module, batch)
    except _ReachedError:
        pass
    finally:
        handle.remove()
    output = found[0]
    if isinstance(output, torch.Tensor):
        return output.detach().cpu(), 0
    alone = all(item is None for item in output[1:])
    return output[0].detach().cpu(), len(output) if alone else -1


def _key(
    task: Trainable, cut: Cut, data: Mapping[str, Examples], proof: Mapping[str, str], batch_tokens: int,
    precision: Precision,
) -> str:  # fmt: skip
    code = [sha256_file(Path(inspect.getfile(type(task)))), sha256_file(Path(__file__))]
    told = [torch.__version__, *code, batch_tokens, precision.name, [proof[name] for name in cut.names]]
    digest = hashlib.sha256(json.dumps(told).encode())
    for name, examples in data.items():
        digest.update(name.encode())
        for identity in examples.identities():
            digest.update(f"{identity}\n".encode())
    return digest.hexdigest()

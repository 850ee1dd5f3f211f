"""Checkpoints that a kill cannot tear: safetensors and JSON, nothing pickled, the seal with their hashes last.

They live outside DVC's outputs (DVC deletes those when a stage starts), keyed by everything that decides the training:
another key is another training.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from finetide.files import broken, read_json, seal, write_json

Tensors = dict[str, torch.Tensor]


class Checkpoints:
    """The checkpoints of one training, the newest complete one being kept."""

    def __init__(self, folder: Path, *, keep_others: int = 1) -> None:
        """Args: folder: named by the training's key. keep_others: trainings with other keys that stay beside it."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        others = [path for path in folder.parent.iterdir() if path.is_dir() and path != folder]
        for path in sorted(others, key=lambda path: path.stat().st_mtime)[: max(0, len(others) - keep_others)]:
            shutil.rmtree(path, ignore_errors=True)

    def save(self, number: int, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
        """Write checkpoint ``number``, seal it, then delete older ones."""
        target = self.folder / f"{number:09d}"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        save_file(plain, target / "tensors.safetensors")
        _sync(target / "tensors.safetensors")
        write_json(target / "state.json", state)
        seal(target)
        for path in self._all():
            if path != target:
                shutil.rmtree(path, ignore_errors=True)

    def load(self) -> tuple[Tensors, dict[str, Any]] | None:
        """The newest complete checkpoint. One that a kill tore is passed over; one that was damaged later too, and
        stderr says so."""
        for path in reversed(self._all()):
            damaged = broken(path)
            if damaged is None:
                return load_file(path / "tensors.safetensors"), read_json(path / "state.json")
            if damaged:
                print(f"the checkpoint {path} is not used: {damaged} is not what was written", file=sys.stderr)
        return None

    def clear(self) -> None:
        """Nothing is left to resume: the training's result is kept elsewhere."""
        for path in self._all():
            shutil.rmtree(path, ignore_errors=True)

    def _all(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if path.is_dir() and path.name.isdigit())


class Unsaved(Checkpoints):
    """Keeps nothing: for runs that are over before a kill would matter."""

    def __init__(self) -> None:
        pass

    def save(self, number: int, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
        del number, tensors, state

    def load(self) -> tuple[Tensors, dict[str, Any]] | None:
        return None

    def clear(self) -> None:
        pass


def pack(prefix: str, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    return {f"{prefix}/{name}": value for name, value in tensors.items()}


def unpack(prefix: str, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    start = f"{prefix}/"
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def delta(state: Mapping[str, torch.Tensor], initial: Mapping[str, torch.Tensor]) -> Tensors:
    """The tensors of ``state`` that differ from the weights that training started with, or that those do not have
    (adapters): frozen ones need no place."""
    plain = {name: value.detach().cpu() for name, value in state.items()}
    same = {name for name in plain.keys() & initial.keys() if torch.equal(plain[name], initial[name])}
    return {name: value for name, value in plain.items() if name not in same}


def random_state() -> Tensors:
    """State of torch's global generators: dropout draws from them."""
    found = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        found["cuda"] = torch.cuda.get_rng_state()
    return found


def set_random_state(state: Mapping[str, torch.Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: list[str]) -> Tensors:
    """AdamW's state by parameter name; ``names`` in the order of the optimizer's groups."""
    found: Tensors = {}
    for number, entry in optimizer.state_dict()["state"].items():
        for key, value in entry.items():
            found[f"{names[number]}|{key}"] = torch.as_tensor(value)
    return found


def set_optimizer(optimizer: torch.optim.Optimizer, names: list[str], tensors: Mapping[str, torch.Tensor]) -> None:
    """Give the optimizer its state back; that of parameters that it does not hold is left out."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for joined, value in tensors.items():
        name, _, key = joined.rpartition("|")
        if name not in names:
            continue
        state.setdefault(names.index(name), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

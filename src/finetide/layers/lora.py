"""Adapters: two thin matrices learn beside a frozen weight, and are merged into it afterwards. The only door to PEFT.

LoRA (Hu et al. 2021): W + alpha / rank · B A, where B starts at zero. rsLoRA (Kalajdzievski 2023): alpha / √rank, so
that a higher rank is not slowed down. DoRA (Liu et al. 2024): the sum's rows are scaled to lengths that learn too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from finetide.errors import IntegrityError
from finetide.layers.rules import Adapter, Beside, Group, Plan
from finetide.layers.targets import is_transposed

State = dict[str, torch.Tensor]
# PEFT puts the layer that was there into its own, under this name.
_BASE = "base_layer"


class Adapted:
    """A module while adapters stand in it, or as it is where the plan has none; `attach` makes it.

    PEFT renames the weights that it wraps. Outside of this class and of ``plan`` names are the plain model's, so that
    weights, checkpoints and proofs need not know of it.

    Attributes:
        plan: in the names that parameters have now; adapters are groups of it.
        beside: weights, by their plain names, that adapters stand beside and are merged into.
    """

    def __init__(self, module: nn.Module, plan: Plan, layers: Mapping[str, Any]) -> None:
        """Args: layers: path → PEFT's layer, whose place it is."""
        self.module, self.layers = module, layers
        self.beside = frozenset(name for beside in plan.adapters for name in beside.weights)
        self._now = {
            f"{path}.{leaf}": f"{path}.{_BASE}.{leaf}"
            for path, layer in layers.items()
            for leaf, _ in layer.get_base_layer().named_parameters()
        }
        self._plain = {now: plain for plain, now in self._now.items()}
        self._learned = {
            f"{path}.{leaf}": beside
            for beside in plan.adapters
            for path in (weight.removesuffix(".weight") for weight in beside.weights)
            for leaf, _ in layers[path].named_parameters()
            if not leaf.startswith(f"{_BASE}.")
        }
        self.plan = self._renamed(plan)

    def plain(self, name: str) -> str:
        """The plain model's name of a parameter; an adapter's is its own."""
        return self._plain.get(name, name)

    def state(self) -> State:
        """All tensors by their plain names, those of the adapters beside them."""
        return {self.plain(name): value for name, value in self.module.state_dict().items()}

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """The counterpart of `state`."""
        self.module.load_state_dict({self._present(name): value for name, value in state.items()})

    def weights(self) -> State:
        """Copies of the plain model's tensors, adapters merged into them."""
        with self.merged():
            return {
                name: value.detach().cpu().clone() for name, value in self.state().items() if name not in self._learned
            }

    @contextmanager
    def merged(self) -> Iterator[None]:
        """Inside, the module computes with the merged weights, as the plain model will.

        The frozen weights themselves are put aside and back: taking a sum apart again would leave its rounding in them.
        """
        aside = {}
        try:
            for path, layer in self.layers.items():
                weight = layer.get_base_layer().weight
                aside[path] = weight.data
                weight.data = weight.data.clone()
                with torch.no_grad():
                    layer.merge()
            yield
        finally:
            for path, data in aside.items():
                layer = self.layers[path]
                if layer.merged:
                    with torch.no_grad():
                        layer.unmerge()
                layer.get_base_layer().weight.data = data

    def __enter__(self) -> Adapted:
        return self

    def __exit__(self, *_: object) -> None:
        """Take the adapters out: the module is the plain one again, with the weights that it had."""
        for path, layer in self.layers.items():
            _put(self.module, path, layer.get_base_layer())
        self.layers = {}

    def _present(self, name: str) -> str:
        return self._now.get(name, name)

    def _renamed(self, plan: Plan) -> Plan:
        groups = [replace(group, names=tuple(map(self._present, group.names))) for group in plan.groups]
        for beside in plan.adapters:
            mine = [name for name, owner in self._learned.items() if owner is beside]
            for decay in (True, False):
                # DoRA's lengths start at those of the weight's rows: decay would pull them to zero.
                names = tuple(name for name in mine if ("magnitude" not in name) is decay)
                if names:
                    groups.append(Group(names, beside.multiplier, decay, beside.weight_decay))
        renamed = replace(plan, frozen=tuple(map(self._present, plan.frozen)), groups=tuple(groups))
        there = sorted(name for name, _ in self.module.named_parameters())
        if there != sorted([*renamed.frozen, *renamed.trainable]):
            raise IntegrityError(
                "PEFT left other parameters than were planned",
                where="training",
                fix="install the version of peft that constraints.txt names",
            )
        return renamed


def attach(module: nn.Module, plan: Plan, *, seed: int) -> Adapted:
    """Put the plan's adapters into the module, in place; the outputs stay as they are, because B starts at zero.

    Args:
        seed: of the matrices A; torch's own generator is left as it was.
    """
    layers: dict[str, Any] = {}
    flags = {name: value.requires_grad for name, value in module.named_parameters()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for beside in plan.adapters:
            layers |= _inject(module, beside)
    for layer in layers.values():
        layer.train(layer.get_base_layer().training)
    adapted = Adapted(module, plan, layers)
    for name, value in module.named_parameters():
        value.requires_grad_(flags.get(adapted.plain(name), True))
    return adapted


def _inject(module: nn.Module, beside: Beside) -> dict[str, Any]:
    """Returns: path → PEFT's layer."""
    from peft import inject_adapter_in_model

    paths = [name.removesuffix(".weight") for name in beside.weights]
    turned = {path: is_transposed(module.get_submodule(path)) for path in paths}
    for transposed in (False, True):
        wanted = [path for path in paths if turned[path] is transposed]
        if wanted:
            inject_adapter_in_model(_config(beside.adapter, wanted, transposed), module)
            del module.peft_config  # PEFT's note to itself; with it the next call would take this one's settings
    return {path: module.get_submodule(path) for path in paths}


def _config(adapter: Adapter, paths: list[str], transposed: bool) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,  # type: ignore[arg-type]  # it divides by the rank
        lora_dropout=adapter.dropout,
        use_rslora=adapter.kind == "rslora",
        use_dora=adapter.kind == "dora",
        bias="none",
        fan_in_fan_out=transposed,
        target_modules="|".join(map(re.escape, paths)),  # as one pattern PEFT takes them whole, as a list by their ends
    )


def _put(module: nn.Module, path: str, part: nn.Module) -> None:
    above, _, name = path.rpartition(".")
    setattr(module.get_submodule(above), name, part)

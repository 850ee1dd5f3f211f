"""Weights from a base or from ourselves into a model: an ``encoder``, and a ``head`` for the labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from finetide.errors import BaseModelError
from finetide.files import write_json
from finetide.task import Built
from finetide.tasks import heads, pooler

WEIGHTS, LABELS = "model.safetensors", "labels.json"


def save(built: Built, folder: Path) -> None:
    """Weights, config and labels; preprocessing is the family's."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().contiguous() for name, value in built.module.state_dict().items()}
    save_file(state, folder / WEIGHTS)
    config = json.loads(built.module.encoder.config.to_json_string(use_diff=False))  # type: ignore[union-attr,operator]
    config.pop("_name_or_path", None)  # a path of this machine
    config.pop("_attn_implementation_internal", None)
    write_json(folder / "config.json", config)
    write_json(folder / LABELS, list(built.settings.labels))
    pooler.write(built.settings, folder)


def load_encoder(encoder: nn.Module, state: dict[str, torch.Tensor], weights: Path) -> None:
    """A checkpoint may hold the encoder under a prefix (``bert.``) and heads of its pre-training beside it."""
    wanted = encoder.state_dict()
    prefixes = ["", *sorted({name.split(".")[0] + "." for name in state})]
    best = max(prefixes, key=lambda prefix: sum(f"{prefix}{name}" in state for name in wanted))
    found = {name: state[f"{best}{name}"] for name in wanted if f"{best}{name}" in state}
    missing = [name for name in wanted if name not in found and "position_ids" not in name]  # constants, often left out
    if missing:
        raise BaseModelError(
            f"lacks {len(missing)} of the encoder's weights, first {missing[0]!r}",
            where=str(weights / WEIGHTS),
            fix="use a checkpoint of the architecture that config.json names",
        )
    wrong = [name for name, value in found.items() if value.shape != wanted[name].shape]
    if wrong:
        raise BaseModelError(
            f"{wrong[0]} has shape {list(found[wrong[0]].shape)}, the config says {list(wanted[wrong[0]].shape)}",
            where=str(weights / WEIGHTS),
            fix=f"restore {weights / 'config.json'}: it and the weights are of two models",
        )
    encoder.load_state_dict({name: value.float() for name, value in found.items()}, strict=False)


def load_tuned(module: Any, weights: Path, state: dict[str, torch.Tensor], labels: Sequence[str]) -> None:
    """Weights of ours, head included. New labels get fresh rows in the head; a label may not disappear."""
    have: list[str] = json.loads((weights / LABELS).read_text(encoding="utf-8"))
    gone = sorted(set(have) - set(labels))
    if gone:
        raise BaseModelError(
            f"was trained with labels that are not wanted any more: {', '.join(gone)}",
            where=str(weights),
            fix="start from the base: train.start: base",
        )
    last = heads.last(module.head)
    head, bias = last.weight.detach().clone(), last.bias.detach().clone()
    name = next(name for name, part in module.named_modules() if part is last)
    for row, label in enumerate(labels):
        if label in have:
            head[row], bias[row] = state[f"{name}.weight"][have.index(label)], state[f"{name}.bias"][have.index(label)]
    module.load_state_dict({**state, f"{name}.weight": head, f"{name}.bias": bias})


def check_outputs(weights: Path, wanted: Sequence[str]) -> None:
    """Raises: BaseModelError: weights of ours give something else."""
    found = json.loads((weights / LABELS).read_text(encoding="utf-8"))
    if tuple(found) != tuple(wanted):
        raise BaseModelError(
            "was trained for another task", where=str(weights), found=", ".join(map(str, found)),
            fix="start from the base: train.start: base",
        )  # fmt: skip

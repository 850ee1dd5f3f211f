"""Which linear layers get adapters: all of the blocks, those of attention, or those that patterns name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches

from torch import nn

from finetide.errors import ConfigError
from finetide.layers.structure import HEAD, Structure

# Every transformer here calls it so in its paths: attention.self.query, attn.Wqkv, attention.q_lin, attn.c_attn.
_ATTENTION = re.compile(r"(^|[._])(attn|attention)([._]|$)", re.IGNORECASE)


def linear_weights(module: nn.Module) -> dict[str, int]:
    """Weights that can have an adapter → their smaller side.

    Left out are the head, which learns whole, and a weight that two layers share: the other would not see the adapter.
    """
    uses = Counter(id(value) for _, value in module.named_parameters(remove_duplicate=False))
    return {
        f"{path}.weight": min(part.get_parameter("weight").shape)
        for path, part in module.named_modules()
        if is_linear(part) and not f"{path}.".startswith(HEAD) and uses[id(part.weight)] == 1
    }


def is_linear(part: nn.Module) -> bool:
    """Exactly so, and no subclass: the output layer of torch's own attention is one, whose weight is read around it."""
    return type(part) is nn.Linear or is_transposed(part)


def is_transposed(part: nn.Module) -> bool:
    """GPT-2's linear layer, with its weight as [in, out]."""
    return type(part).__name__ == "Conv1D" and part.get_parameter("weight").ndim == 2


def choose(targets: str | Sequence[str], module: nn.Module, structure: Structure, *, where: str) -> tuple[str, ...]:
    """The weights that ``targets`` means: ``linear``, ``attention``, or regular expressions over layers' names.

    Args:
        where: how messages call ``targets``, by its dotted path.

    Raises:
        ConfigError: there is no such layer; or a pattern finds none, with the near names.
    """
    weights = tuple(linear_weights(module))
    if not isinstance(targets, str):
        return _matched(targets, weights, where)
    inside = tuple(name for name in weights if name.startswith(tuple(f"{path}." for path in structure.paths)))
    found = inside if targets == "linear" else tuple(name for name in inside if _ATTENTION.search(name))
    if not found:
        what = "linear layers" if targets == "linear" else "linear layers of attention"
        raise ConfigError(
            f"there are no {what} in the model's {len(structure.paths)} blocks",
            where=where,
            found=targets,
            fix=f"write a list of patterns; linear layers: {', '.join(map(_path, weights[:3])) or 'none'}",
        )
    return found


def _matched(patterns: Sequence[str], weights: Sequence[str], where: str) -> tuple[str, ...]:
    for place, pattern in enumerate(patterns):
        if not any(re.search(pattern, _path(name)) for name in weights):
            raise ConfigError(
                "matches no linear layer below the head",
                where=f"{where}[{place}]",
                found=pattern,
                fix=f"near: {', '.join(_near(pattern, weights)) or 'none: the model has no linear layers'}",
            )
    return tuple(name for name in weights if any(re.search(pattern, _path(name)) for pattern in patterns))


def _near(pattern: str, weights: Sequence[str]) -> list[str]:
    paths = [_path(name) for name in weights]
    parts = sorted({part for path in paths for part in (path, *path.split("."))})
    return get_close_matches(pattern, parts, n=3, cutoff=0.4) or paths[:3]


def _path(weight: str) -> str:
    return weight.removesuffix(".weight")

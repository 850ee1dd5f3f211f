"""What zero-shot compares a text with: the labels in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from finetide.errors import ConfigError


def label_texts(labels: Sequence[str], descriptions: Mapping[str, str]) -> list[str]:
    """What zero-shot compares a text with: the label's description, else its name with _ and - as spaces.

    Raises:
        ConfigError: when a description names no label of the model; it would have no effect.
    """
    check_descriptions(labels, descriptions)
    return [descriptions.get(label, label.replace("_", " ").replace("-", " ")) for label in labels]


def check_descriptions(labels: Sequence[str], descriptions: Mapping[str, str]) -> None:
    """Raises: ConfigError when a description names no label; it would have no effect."""
    for name in descriptions:
        if name not in labels:
            near = get_close_matches(name, labels, n=1)
            meant = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(
                f"evaluate.label_descriptions.{name}: the model has no such label",
                where="params.yaml",
                fix=f"{meant}labels: {', '.join(labels)}",
            )

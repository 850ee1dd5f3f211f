"""What `finetide adopt` finds out about a fine-tuned model before anything is written, from its files alone."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetide import adopted
from finetide.base import of_images, positions
from finetide.errors import InputError

# Without a word on what training read, no more than this: longer rows cost time at every stage.
LONGEST = 512
# Labels that a line names.
NAMED = 6


@dataclass(frozen=True)
class Found:
    """``train``: what it changes in that section of params.yaml; ``lines``: for the person."""

    train: dict[str, Any]
    lines: tuple[str, ...]


def look(folder: Path, task: str, labels: Set[str], max_length: int | None) -> Found:
    """Args: folder: of the checkpoint. labels: of all rows given. max_length: as asked for, or None.

    Raises: BaseModelError: it cannot be adopted. InputError: it does not read that many tokens.
    """
    head = adopted.head_of(folder, task)
    train: dict[str, Any] = {"start": "champion"}
    pooling = adopted.pooling_of(folder, head)
    if pooling is not None:
        train["pooling"] = pooling
    lines = [f"adopts {folder}: its head stays as it is, nothing is trained for v1"]
    if task != "question-answering":
        train["start"], said = _labels(folder, labels)
        lines.append(said)
    if not of_images(folder):
        train["max_length"], said = _length(folder, max_length)
        lines.append(said)
        return Found(train, tuple(lines))
    if max_length is not None:
        fix = "leave the option out: the image processor says the size"
        raise InputError("is for texts and questions", where="--max-length", found=max_length, fix=fix)
    cut = adopted.cropped(folder)
    if cut is not None:
        train["max_length"] = cut
    return Found(train, tuple(lines))


def _labels(folder: Path, wanted: Set[str]) -> tuple[str, str]:
    """Where later trainings start, because a head cannot lose a label; and a line."""
    names = adopted.labels_of(folder, sorted(wanted))
    known = f"labels: {len(names)} of the model, {len(wanted)} of them in the data"
    without = sorted(set(names) - wanted)
    if not without:
        return "champion", f"{known}; later trainings start from it, head included (train.start: champion)"
    shown = ", ".join(without[:NAMED]) + (", …" if len(without) > NAMED else "")
    said = f"{known}; it may still answer {shown}, and later trainings start with a new head (train.start: base)"
    return "base", said


def _length(folder: Path, asked: int | None) -> tuple[int, str]:
    known = positions(folder)
    if asked is not None:
        if known is not None and asked > known:
            raise InputError(f"the model reads at most {known} tokens", where="--max-length", found=asked)
        return asked, f"train.max_length: {asked}, as --max-length says"
    found, why = adopted.tokens_read(folder, known) or (LONGEST, "no file says")
    if found > LONGEST and "cut" not in why:
        return LONGEST, f"train.max_length: {LONGEST}; {why} would be {found}; longer texts are cut: --max-length"
    return found, f"train.max_length: {found}, {why}; longer texts are cut; if training had another: --max-length"

"""One ONNX file on this machine, and the one way from token ids to logits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finetide.errors import IntegrityError

if TYPE_CHECKING:
    import onnxruntime

BATCH_TOKENS = 8192
Array = np.ndarray[Any, np.dtype[np.float32]]


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """All optimisations on, CPU: the setting in which parity was proved.

    Raises: IntegrityError when onnxruntime cannot load the file, e.g. because its weights lie in another file.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no class in common but this
        raise IntegrityError(
            f"cannot be loaded by onnxruntime {onnxruntime.__version__}: {' '.join(str(error).split())[:300]}",
            where=str(path),
            fix="restore the file, or export again with a version that this onnxruntime knows",
        ) from error


def run_tokens(
    session: onnxruntime.InferenceSession,
    tokens: Sequence[Sequence[int]],
    *,
    pad_token_id: int,
    labels: int,
    batch_tokens: int = BATCH_TOKENS,
) -> Array:
    """Logits, [texts, labels] float32, in the order of ``tokens``.

    Texts of like length go together, and a batch holds at most ``batch_tokens`` padded tokens, so that one long text
    does not make every other one long.
    """
    result = np.zeros((len(tokens), labels), dtype=np.float32)
    for index in batches(tokens, batch_tokens):
        ids, mask = pad([tokens[place] for place in index], pad_token_id)
        result[index] = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
    return result


def batches(tokens: Sequence[Sequence[int]], budget: int) -> Iterator[list[int]]:
    """Longest first."""
    batch: list[int] = []
    for place in sorted(range(len(tokens)), key=lambda place: (-len(tokens[place]), place)):
        if batch and len(tokens[batch[0]]) * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def pad(tokens: Sequence[Sequence[int]], pad_token_id: int) -> tuple[Any, Any]:
    """ids and mask, both [texts, longest] int64."""
    longest = max(len(ids) for ids in tokens)
    ids = np.full((len(tokens), longest), pad_token_id, dtype=np.int64)
    mask = np.zeros((len(tokens), longest), dtype=np.int64)
    for row, found in enumerate(tokens):
        ids[row, : len(found)] = found
        mask[row, : len(found)] = 1
    return ids, mask


def softmax(logits: Array, temperature: float) -> Array:
    """Rows sum to 1. Args: logits [rows, labels]."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    powers = np.exp(scaled)
    shares: Array = powers / powers.sum(axis=1, keepdims=True)
    return shares

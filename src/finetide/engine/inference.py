"""Running a model over rows without training it: in length order, each row's result back in its place."""

from __future__ import annotations

import hashlib
import inspect
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from finetide.engine.batches import by_length
from finetide.engine.precision import choose, choose_device
from finetide.errors import BaseModelError, MachineError
from finetide.files import sha256_file, write_bytes
from finetide.task import Built, Examples, Task, Trainable

FloatArray = np.ndarray[Any, np.dtype[np.float32]]
Batch = Mapping[str, torch.Tensor]
Around = Callable[[Sequence[int]], AbstractContextManager[None]]
Step = Callable[[torch.nn.Module, Batch], torch.Tensor]
# Results kept in a cache folder; the least recently used go first.
CACHED = 16
# Bytes of the SHA-256 at the end of such a file.
DIGEST = 32


def nowhere(_: Sequence[int]) -> AbstractContextManager[None]:
    """A context that changes nothing."""
    return nullcontext()


def embed(
    task: Task, built: Built, examples: Examples, *, batch_tokens: int, cache: Path | None, precision: str = "auto"
) -> FloatArray:
    """What the head sees of each row, [rows, hidden] float32, in the order of ``examples``.

    Args:
        batch_tokens: padded tokens a forward pass.
        cache: folder for results, keyed by weights, inputs, precision and the family's code; None computes anew.
    """
    if cache is None:
        return _finite(_over(task, built, examples, task.features, batch_tokens, precision, "embedding"))
    path = cache / f"{_key(task, built, examples, batch_tokens, precision)}.npy"
    known = _load(path)
    if known is not None:
        return known
    result = _finite(_over(task, built, examples, task.features, batch_tokens, precision, "embedding"))
    _save(path, result)
    return result


def _finite(features: FloatArray) -> FloatArray:
    """Raises: BaseModelError: the encoder gives infinite values, or none that are numbers."""
    bad = int((~np.isfinite(features).all(axis=1)).sum())
    if bad:
        raise BaseModelError(
            f"gives no finite features for {bad} of {len(features)} rows", where="base",
            fix="check its weights and its preprocessing (preprocessor_config.json), or take another base",
        )  # fmt: skip
    return features


def predict(
    task: Trainable, built: Built, examples: Examples, *, batch_tokens: int, precision: str = "fp32",
    around: Around = nowhere,
) -> FloatArray:  # fmt: skip
    """The model's outputs, [rows, labels] float32, in the order of ``examples``.

    fp32 unless told otherwise: what is reported, and compared with the exported file, is not rounded for speed.

    Args: around: a context for each batch of rows, see `finetide.engine.prefix`.
    """
    return _over(task, built, examples, task.outputs, batch_tokens, precision, "predicting", around)


def to_device(batch: Batch, device: torch.device) -> dict[str, torch.Tensor]:
    return {name: value.to(device) for name, value in batch.items()}


def _over(
    task: Trainable, built: Built, examples: Examples, step: Step, batch_tokens: int, precision: str, what: str,
    around: Around = nowhere,
) -> FloatArray:  # fmt: skip
    device = choose_device()
    chosen = choose(precision, device)
    module = built.module.to(device)
    was_training = module.training
    module.eval()
    parts: list[tuple[list[int], Any]] = []
    # The last one is next: the batch with the longest rows, so that running out of memory shows at once.
    waiting = list(by_length(examples.lengths, batch_tokens))[::-1]
    with (
        torch.inference_mode(),
        tqdm(total=len(examples.ids), desc=what, unit="row", file=sys.stderr, disable=not sys.stderr.isatty()) as bar,
    ):
        while waiting:
            index = waiting.pop()
            try:
                batch = to_device(task.collate(built, examples, index), device)
                with chosen.autocast(device), around(index):
                    values = step(module, batch)
            except torch.OutOfMemoryError as error:
                if len(index) == 1:
                    raise MachineError(
                        "out of memory with one row", where="train.max_length",
                        found=int(examples.lengths[index[0]]), fix="lower it, or choose a smaller base",
                    ) from error  # fmt: skip
                waiting += [index[len(index) // 2 :], index[: len(index) // 2]]
                continue
            parts.append((index, values.float().cpu().numpy()))
            bar.update(len(index))
    module.train(was_training)
    width = parts[0][1].shape[1] if parts else 0
    result = np.zeros((len(examples.ids), width), dtype=np.float32)
    for index, values in parts:
        result[index] = values
    return result


def _key(task: Task, built: Built, examples: Examples, batch_tokens: int, precision: str) -> str:
    """SHA-256 over everything that decides the values, down to how rows are batched: sums round by shape."""
    digest = hashlib.sha256()
    code = sha256_file(Path(inspect.getfile(type(task))))
    number_format = choose(precision, choose_device()).name
    how = f"{built.settings.pooling}{built.settings.pooler}"
    digest.update(f"{torch.__version__} {code} {batch_tokens} {number_format} {how}".encode())
    for name, value in built.module.state_dict().items():
        if not name.startswith("head."):  # features lie below the head
            digest.update(name.encode())
            digest.update(value.cpu().contiguous().numpy().tobytes())
    for identity in examples.identities():
        digest.update(f"{identity}\n".encode())
    return digest.hexdigest()


def _load(path: Path) -> FloatArray | None:
    """What `_save` wrote; None when it is not there any more, or not as it was written."""
    try:
        found = path.read_bytes()
        os.utime(path)
    except OSError:
        return None
    written, digest = found[:-DIGEST], found[-DIGEST:]
    if hashlib.sha256(written).digest() != digest:
        print(f"{path} is not used: it is not as it was written; features are computed again", file=sys.stderr)
        return None
    values: FloatArray = np.load(io.BytesIO(written), allow_pickle=False)
    return values


def _save(path: Path, values: FloatArray) -> None:
    """With its SHA-256 at the end. What cannot be kept is computed again the next time, and stderr says so."""
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=False)
    written = stream.getvalue()
    try:
        write_bytes(path, written + hashlib.sha256(written).digest())
    except OSError as error:
        print(f"features are not kept in {path.parent}: {error.strerror}", file=sys.stderr)
        return
    files = sorted(path.parent.glob("*.npy"), key=lambda file: file.stat().st_mtime_ns)
    for old in files[:-CACHED]:
        old.unlink(missing_ok=True)

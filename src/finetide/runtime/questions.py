"""Questions about contexts → windows → answers; see `finetide.runtime.inputs.Inputs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from finetide.errors import InputError, IntegrityError
from finetide.files import read_json
from finetide.runtime import bundle
from finetide.runtime.bundle import Info
from finetide.runtime.graph import BATCH_TOKENS, Array, batches
from finetide.spans import NOWHERE, READING_FILE, Asked, Reading, Window, by_question, choose, find, windows
from finetide.text import load_tokenizer

if TYPE_CHECKING:
    import onnxruntime

TEXTS = ("question", "context")
FIX = 'give (question, context), or {"question": …, "context": …}'


@dataclass(frozen=True)
class Answer:
    """``text`` stands in the context from character ``start`` to ``end``; it is empty, and they are None, where there
    is no answer. ``score``: calibrated probability that this is right."""

    text: str
    start: int | None
    end: int | None
    score: float


class _Questions:
    key = "asked"

    def __init__(self, tokenizer: Tokenizer, reading: Reading, pad_token_id: int) -> None:
        self._tokenizer, self._reading, self._pad_token_id = tokenizer, reading, pad_token_id

    def values(self, rows: Any) -> list[tuple[str, str]]:
        return list(zip(rows["question"], rows["context"], strict=True))

    def check(self, values: Sequence[Any]) -> None:
        if isinstance(values, (str, Mapping)):
            raise InputError(
                "predict takes a list of questions, not one question", fix="predict([(question, context)])"
            )
        for place, value in enumerate(values):
            where = f"questions[{place}]"
            if isinstance(value, Mapping):
                missing = [name for name in TEXTS if name not in value]
                if missing:
                    raise InputError(f"has no {missing[0]}", where=where, found=", ".join(map(str, value)), fix=FIX)
            elif isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
                raise InputError("is no question with its context", where=where, found=type(value).__name__, fix=FIX)
            for name, text in zip(TEXTS, _pair(value), strict=True):
                if not isinstance(text, str):
                    raise InputError(f"{name} is no text", where=where, found=type(text).__name__, fix=FIX)
                if not text.strip():
                    raise InputError(f"{name} is empty", where=where, fix=FIX)

    def encode(self, values: Sequence[Any]) -> list[Window]:
        """The windows of all questions; several a question where its context is long."""
        asked = [Asked(*_pair(value)) for value in values]
        return windows(self._tokenizer, asked, self._reading) if asked else []

    def fits(self, shape: Sequence[Any], labels: int) -> bool:
        return len(shape) == 3 and shape[2] == labels

    def run(self, session: onnxruntime.InferenceSession, encoded: Sequence[Window], outputs: int) -> Array:
        """[windows, 2 · max_length]: starts, then ends, `spans.NOWHERE` where no answer may be."""
        width = self._reading.max_length
        result = np.full((len(encoded), outputs, width), NOWHERE, np.float32)
        names = [entry.name for entry in session.get_inputs()]
        for index in batches([window.ids for window in encoded], BATCH_TOKENS):
            fed = self._batch([encoded[place] for place in index])
            logits = session.run(None, {name: fed[name] for name in names})[0]
            for row, place in enumerate(index):
                allowed = np.flatnonzero(encoded[place].places())
                result[place][:, allowed] = logits[row, allowed].T
        return result.reshape(len(encoded), -1)

    def _batch(self, chosen: Sequence[Window]) -> dict[str, Any]:
        longest = max(len(window.ids) for window in chosen)
        ids = np.full((len(chosen), longest), self._pad_token_id, np.int64)
        mask, types = np.zeros_like(ids), np.zeros_like(ids)
        for row, window in enumerate(chosen):
            length = len(window.ids)
            ids[row, :length], mask[row, :length], types[row, :length] = window.ids, 1, window.types
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}

    def predictions(self, outputs: Array, encoded: Sequence[Window], info: Info) -> list[Answer]:
        made = []
        for places in by_question(encoded):
            found = find([encoded[place] for place in places], outputs[places])
            context = encoded[places[0]].asked.context
            chosen = choose(found, context, self._reading.null_threshold, info.temperature)
            made.append(Answer(*chosen))
        return made

    def recorded(self, outputs: Array, encoded: Sequence[Window], info: Info) -> tuple[str, list[float]]:
        """The answer; the sums of logits of its span and of no answer."""
        found = find(encoded, outputs)
        best = found.spans[0].score if found.spans else 0.0
        return self.predictions(outputs, encoded, info)[0].text, [best, found.null]

    def example(self, value: Any) -> dict[str, str]:
        return dict(zip(TEXTS, _pair(value), strict=True))

    def from_example(self, found: Any) -> tuple[str, str]:
        if not isinstance(found, dict) or not all(isinstance(found.get(name), str) for name in TEXTS):
            raise ValueError("is no question with its context")
        return found["question"], found["context"]


def _pair(value: Any) -> tuple[Any, Any]:
    return (value["question"], value["context"]) if isinstance(value, Mapping) else (value[0], value[1])


def open_inputs(folder: Path, info: Mapping[str, Any]) -> _Questions:
    """Raises: IntegrityError: the tokenizer, or how contexts are read, cannot be read."""
    path = folder / "tokenizer.json"
    try:
        tokenizer = load_tokenizer(str(path))
    except Exception as error:  # the library raises bare ones
        raise IntegrityError(f"is no tokenizer: {error}", where=str(path), fix=bundle.RESTORE) from error
    path = folder / READING_FILE
    if not path.is_file():
        raise IntegrityError("is missing", where=str(path), fix=bundle.RESTORE)
    try:
        reading = Reading.from_json(read_json(path))
    except (ValueError, TypeError) as error:
        raise IntegrityError(
            f"does not say how contexts are read: {error}", where=str(path), fix=bundle.RESTORE
        ) from error
    return _Questions(tokenizer, reading, info["pad_token_id"])

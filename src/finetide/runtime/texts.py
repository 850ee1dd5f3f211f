"""Texts → token ids → logits; see `finetide.runtime.inputs.Inputs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from finetide.errors import InputError, IntegrityError
from finetide.runtime import bundle
from finetide.runtime.graph import Array, run_tokens
from finetide.runtime.labels import OneLabel
from finetide.text import encode, load_tokenizer

if TYPE_CHECKING:
    import onnxruntime


class _Texts(OneLabel):
    column = key = "text"

    def __init__(self, tokenizer: Tokenizer, max_length: int, pad_token_id: int) -> None:
        self._tokenizer, self._max_length, self._pad_token_id = tokenizer, max_length, pad_token_id

    def check(self, values: Sequence[Any]) -> None:
        if isinstance(values, str):
            raise InputError("predict takes a list of texts, not one text", fix="predict([text])")
        for place, text in enumerate(values):
            if not isinstance(text, str):
                raise InputError("is no text", where=f"texts[{place}]", found=type(text).__name__)

    def encode(self, values: Sequence[str]) -> list[list[int]]:
        return encode(self._tokenizer, values, self._max_length) if len(values) else []

    def run(self, session: onnxruntime.InferenceSession, encoded: Sequence[Any], outputs: int) -> Array:
        return run_tokens(session, encoded, pad_token_id=self._pad_token_id, labels=outputs)

    def example(self, value: str) -> str | None:
        return value if len(self._tokenizer.encode(value).ids) <= self._max_length else None

    def from_example(self, found: Any) -> str:
        if not isinstance(found, str):
            raise ValueError("is no text")
        return found


def open_inputs(folder: Path, info: Mapping[str, Any]) -> _Texts:
    """Raises: IntegrityError: the tokenizer cannot be read."""
    path = folder / "tokenizer.json"
    try:
        tokenizer = load_tokenizer(str(path))
    except Exception as error:  # the library raises bare ones
        raise IntegrityError(f"is no tokenizer: {error}", where=str(path), fix=bundle.RESTORE) from error
    return _Texts(tokenizer, info["max_length"], info["pad_token_id"])

"""Images → tensors → logits; see `finetide.runtime.inputs.Inputs`."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsBytes

import numpy as np

from finetide.errors import InputError, IntegrityError
from finetide.files import read_json
from finetide.images import SPEC_FILE, ImageError, Spec, square, tensor
from finetide.runtime import bundle
from finetide.runtime.graph import Array
from finetide.runtime.labels import OneLabel

if TYPE_CHECKING:
    import onnxruntime

BATCH = 32
Image = bytes | str | os.PathLike[str] | SupportsBytes


class _Images(OneLabel):
    column, key = "bytes", "image"

    def __init__(self, spec: Spec) -> None:
        self._spec = spec

    def check(self, values: Sequence[Any]) -> None:
        if isinstance(values, (str, bytes, os.PathLike)):
            raise InputError("predict takes a list of images, not one image", fix="predict([image])")
        for place, value in enumerate(values):
            if not isinstance(value, (bytes, str, os.PathLike, SupportsBytes)) or isinstance(value, np.ndarray):
                raise InputError(
                    "is no image", where=f"images[{place}]", found=type(value).__name__,
                    fix="give the path of an image file, or its bytes",
                )  # fmt: skip

    def encode(self, values: Sequence[Image]) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """uint8 [images, side, side, channels]. Raises: InputError for an image that cannot be used."""
        side, channels = self._spec.side, self._spec.channels
        made = np.zeros((len(values), side, side, channels), np.uint8)
        for place, value in enumerate(values):
            try:
                made[place] = square(_bytes(value), self._spec)
            except ImageError as error:
                named = f" ({value})" if isinstance(value, (str, os.PathLike)) else ""
                raise InputError(str(error), where=f"images[{place}]{named}", fix=error.fix) from error
        return made

    def run(self, session: onnxruntime.InferenceSession, encoded: Sequence[Any], outputs: int) -> Array:
        result = np.zeros((len(encoded), outputs), np.float32)
        for start in range(0, len(encoded), BATCH):
            squares = np.stack([encoded[place] for place in range(start, min(start + BATCH, len(encoded)))])
            result[start : start + len(squares)] = session.run(None, {"pixel_values": tensor(squares, self._spec)})[0]
        return result

    def example(self, value: Image) -> str:
        return base64.b64encode(_bytes(value)).decode()

    def from_example(self, found: Any) -> bytes:
        try:
            return base64.b64decode(found, validate=True)
        except (binascii.Error, TypeError) as error:
            raise ValueError("is no image in base64") from error


def _bytes(value: Image) -> bytes:
    if isinstance(value, (str, os.PathLike)):
        path = Path(value)
        if not path.is_file():
            raise ImageError("is no file", "check the path")
        return path.read_bytes()
    return bytes(value)


def open_inputs(folder: Path, info: Mapping[str, Any]) -> _Images:
    """Raises: IntegrityError: the spec cannot be read."""
    path = folder / SPEC_FILE
    try:
        spec = Spec.from_json(read_json(path))
    except (ValueError, TypeError) as error:
        raise IntegrityError(f"is no image spec: {error}", where=str(path), fix=bundle.RESTORE) from error
    return _Images(spec)

"""How a family's inputs become what a graph takes: a literal table, imported on use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from finetide.errors import IntegrityError

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime

    Array = np.ndarray[Any, np.dtype[np.float32]]

INPUTS: dict[str, str] = {
    "text-classification": "finetide.runtime.texts:open_inputs",
    "image-classification": "finetide.runtime.images:open_inputs",
}
FILES: dict[str, str] = {"text-classification": "tokenizer.json", "image-classification": "image.json"}


class Inputs(Protocol):
    """What a family supplies. ``column``: of a table of rows, where an input stands; ``key``: in examples.json."""

    column: str
    key: str

    def check(self, values: Sequence[Any]) -> None:
        """Raises: InputError when one is not of the family's kind."""

    def encode(self, values: Sequence[Any]) -> Sequence[Any]:
        """Prepared as in training, one entry an input."""

    def run(self, session: onnxruntime.InferenceSession, encoded: Sequence[Any], outputs: int) -> Array:
        """[inputs, outputs] float32, in the order of ``encoded``."""

    def example(self, value: Any) -> Any:
        """An input as examples.json holds it; None for one that is cut before the graph sees it."""

    def from_example(self, found: Any) -> Any:
        """What `example` was given. Raises: ValueError: it never was."""


def open_inputs(task: str, folder: Path, info: Mapping[str, Any]) -> Inputs:
    """Args: folder: with the family's file (`FILES`); info: the fields of bundle.json.

    Raises: IntegrityError: an unknown task, or a file that is damaged.
    """
    if task not in INPUTS:
        raise IntegrityError(
            "is of a task that this version does not know", where=str(folder), found=task, fix="update finetide"
        )
    module, _, function = INPUTS[task].partition(":")
    made: Inputs = getattr(import_module(module), function)(folder, info)
    return made

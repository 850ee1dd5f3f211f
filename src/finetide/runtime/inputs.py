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

    from finetide.runtime.bundle import Info

    Array = np.ndarray[Any, np.dtype[np.float32]]

INPUTS: dict[str, str] = {
    "text-classification": "finetide.runtime.texts:open_inputs",
    "image-classification": "finetide.runtime.images:open_inputs",
    "question-answering": "finetide.runtime.questions:open_inputs",
}


class Inputs(Protocol):
    """What a family supplies. ``key``: of an input in examples.json. An input may be several entries for the graph."""

    key: str

    def values(self, rows: Any) -> list[Any]:
        """The inputs of a table of rows."""

    def fits(self, shape: Sequence[Any], labels: int) -> bool:
        """Whether the graph's output, of this shape, is what is read here."""

    def check(self, values: Sequence[Any]) -> None:
        """Raises: InputError when one is not of the family's kind."""

    def encode(self, values: Sequence[Any]) -> Sequence[Any]:
        """Prepared as in training, the entries of an input behind one another."""

    def run(self, session: onnxruntime.InferenceSession, encoded: Sequence[Any], outputs: int) -> Array:
        """[entries, width] float32, in the order of ``encoded``. Args: outputs: numbers that the graph gives."""

    def predictions(self, outputs: Array, encoded: Sequence[Any], info: Info) -> list[Any]:
        """What a person is told, one an input. Args: outputs: of `run`."""

    def recorded(self, outputs: Array, encoded: Sequence[Any], info: Info) -> tuple[str, list[float]]:
        """Of one input: what is predicted, and numbers that differ where the graph does."""

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

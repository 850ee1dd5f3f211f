"""The protocol between the engine and a family of tasks. The engine knows no family; a family knows no engine.

A family is a module-level object that satisfies `Task`; `finetide.tasks.FAMILIES` finds it by name. Torch types are
named for type checkers only: this module imports without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from finetide.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch

    FloatArray = np.ndarray[Any, np.dtype[np.float32]]
    Scores = np.ndarray[Any, np.dtype[np.float64]]


Entry = TypeVar("Entry")


def entry(table: Mapping[str, Entry], task: str) -> Entry:
    """What a table of families has for ``task``. Raises: ConfigError for one that is not in it."""
    if task not in table:
        raise ConfigError("unknown task", where="params.yaml", found=task, fix=f"known: {', '.join(table)}")
    return table[task]


def imported(address: str) -> Any:
    """What such a table names as ``module:attribute``: imported on use, because one family must not load another's."""
    module, _, attribute = address.partition(":")
    return getattr(import_module(module), attribute)


@dataclass(frozen=True)
class ModelSettings:
    """The values of params.yaml that shape a model, as plain values.

    ``labels``: names of what the head gives. ``hidden``: sizes of the layers inside the head, () for a linear one;
    None: as the weights have it. ``tokens``: words that the vocabulary gets, unless the weights come with them.
    ``extra``: numbers that one family has, by name; empty: as the weights have them, or those of no settings.
    ``augment``: how training inputs are changed at random, by name; no part of the model.
    ``pooler``: how the features are made where the weights do it in a way of their own, as the JSON of
    `finetide.contracts.pooler`; empty: the family's way.
    """

    labels: tuple[str, ...]
    max_length: int
    pooling: str
    dropout: float
    hidden: tuple[int, ...] | None = None
    tokens: tuple[str, ...] = ()
    augment: tuple[tuple[str, float], ...] = ()
    extra: Mapping[str, float] = field(default_factory=dict)
    pooler: str = ""


@dataclass(frozen=True)
class Built:
    """A model and its preprocessing. ``module`` has a submodule named ``head`` that maps features to outputs: a linear
    layer, or several layers of which the last one is."""

    module: torch.nn.Module
    preprocessor: Any
    settings: ModelSettings


@dataclass(frozen=True)
class Examples:
    """Rows turned into model inputs, not yet padded.

    ``ids``: row ids; they travel with every row, and scores are joined on them. A row may have several examples, which
    follow one another.
    ``lengths``: the cost of an example, for text its number of tokens.
    ``targets``: index of the label, -1 where a row has none; or several numbers an example.
    ``keys``: equal for equal inputs; empty where the inputs' ``repr`` is that.
    ``groups``: equal for examples that are largely the same input, as questions about one passage are: where it can
    be, no batch has two of a group. Empty: there are none such.
    """

    ids: tuple[str, ...]
    inputs: Any
    lengths: np.ndarray[Any, Any]
    targets: np.ndarray[Any, Any]
    keys: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def take(self, places: Sequence[int]) -> Examples:
        """The examples at ``places``, in that order, as often as they are named."""
        return Examples(
            ids=tuple(self.ids[place] for place in places),
            inputs=[self.inputs[place] for place in places],
            lengths=self.lengths[[*places]],
            targets=self.targets[[*places]],
            keys=tuple(self.keys[place] for place in places) if self.keys else (),
            groups=tuple(self.groups[place] for place in places) if self.groups else (),
        )

    def identities(self) -> Iterator[str]:
        """What tells the rows' inputs apart, one a row."""
        return iter(self.keys) if self.keys else (repr(item) for item in self.inputs)

    def rows(self) -> list[list[int]]:
        """Places of each row's examples, the rows in their order."""
        found: list[list[int]] = []
        for place, row_id in enumerate(self.ids):
            if place and row_id == self.ids[place - 1]:
                found[-1].append(place)
            else:
                found.append([place])
        return found


@dataclass(frozen=True)
class ExportSpec:
    """How to export: ``module`` takes the tensors of ``inputs`` in order and returns one tensor.

    ``dynamic``: input → {axis: name}; ``output``: its name. ``types``: of each input, as onnxruntime spells it.
    ``sizes``: name of a dynamic axis → smallest and largest; ``sample``: tensors to trace with, no size of which is 1
    or equal to another. ``shapes``: (batch, length) to compare at, and ``draw``: random inputs of such a shape.
    """

    module: torch.nn.Module
    inputs: tuple[str, ...]
    dynamic: Mapping[str, Mapping[int, str]]
    output: str
    types: tuple[str, ...]
    sizes: Mapping[str, tuple[int, int]]
    sample: tuple[torch.Tensor, ...]
    shapes: Sequence[tuple[int, int]]
    draw: Callable[[np.random.Generator, int, int], dict[str, np.ndarray[Any, Any]]]


@dataclass(frozen=True)
class Preprocessing:
    """What a bundle carries to prepare inputs as training did: ``content`` of its file ``name``, and of ``more`` files.

    ``pad_token_id``: for bundle.json, None without a tokenizer. ``limit``: what a person should know of it, a sentence
    of the model card; ``stranger``: how the card calls an input of another kind, up to "something".
    """

    name: str
    content: bytes
    pad_token_id: int | None
    limit: str
    stranger: str
    more: Mapping[str, bytes] = field(default_factory=dict)

    def files(self) -> dict[str, bytes]:
        return {self.name: self.content, **self.more}


@dataclass(frozen=True)
class Anchors:
    """What zero-shot compares an input with: rows whose features' mean stands for a label. ``owner``: index of the
    label of each; ``name``: of the baseline, saying what it was given."""

    name: str
    rows: pd.DataFrame
    owner: np.ndarray[Any, Any]


class Trainable(Protocol):
    """What the training loop needs of a task, or of another objective for the same weights."""

    """What the training loop needs of a task, or of another objective for the same weights.

    ``metric``: what `score` gives, in words.
    """

    metric: str

    def draws(self, built: Built) -> bool:
        """Whether `collate` gives other inputs for another seed."""

    def packs(self, built: Built) -> bool:
        """Whether `collate` can put several examples into one row of a batch without changing any output."""

    def collate(
        self,
        built: Built,
        examples: Examples,
        index: Sequence[int],
        *,
        seed: int | None = None,
        width: int | None = None,
    ) -> dict[str, torch.Tensor]:
        """A padded batch of the chosen examples, with ``targets`` [batch] int64 beside the model's inputs.

        Args:
            seed: of what is drawn for this batch, such as masks; None: the same each time, for scoring.
            width: put examples behind one another into rows of so many tokens, or of the longest example's; None: each
                into a row of its own. Either way outputs and losses are one an example, in the order of ``index``.
        """  # fmt: skip

    def outputs(self, module: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """What the model predicts, [batch, width] float32; for a classifier logits, one a label."""

    def loss(self, outputs: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Loss of each row, shape [batch], float32; the engine weighs and averages."""

    def score(self, outputs: torch.Tensor, examples: Examples) -> tuple[float, float]:
        """Validation metric (0 to 1, more is better) and mean loss of all ``outputs``, in the order of the examples."""

    def confidence(self, outputs: FloatArray, examples: Examples) -> tuple[Scores, Scores] | None:
        """Of each row how probable its prediction is and whether it is right (1 or 0); None where that is no question.
        """  # fmt: skip


class Objective(Trainable, Protocol):
    """Another objective for a family's weights, such as masked-language modelling."""

    def wrap(self, built: Built, *, seed: int) -> Built:
        """The objective's model around the same submodules: what it learns, ``built`` has learned.

        Raises: ConfigError: this model cannot be trained so.
        """


class Task(Trainable, Protocol):
    """What a family supplies.

    ``one_label``: whether a row's answer is one of some labels. ``train_params``, ``evaluate_params``: its sections of
    params.yaml. ``measures``: of metrics.json, beside those of every classifier.
    """

    name: str
    one_label: bool
    train_params: type[Any]
    evaluate_params: type[Any]
    measures: tuple[str, ...]

    def build(self, weights: Path, settings: ModelSettings, *, seed: int) -> Built:
        """Model and preprocessing from a folder of weights: a base, or what `save` wrote (then with its head)."""

    def adopt(self, weights: Path, folder: Path, rows: pd.DataFrame, settings: ModelSettings) -> torch.nn.Module:
        """Write the model that transformers saved in ``weights``, head included, into ``folder``, for `build`.

        Args: rows: some, whose preparation is compared with transformers' own.
            settings: with labels as the data spell them, in the order that `build` will be given.

        Returns: transformers' own model, which answers `outputs` as the one built does.

        Raises: BaseModelError: it cannot be taken over exactly.
        """

    def save(self, built: Built, folder: Path) -> None:
        """Write weights (safetensors), config, preprocessing and labels, so that `build` gives them back."""

    def outcomes(self, rows: pd.DataFrame) -> tuple[str, ...]:
        """`ModelSettings.labels` of a model of these labelled rows."""

    def encode(self, built: Built, rows: pd.DataFrame) -> Examples:
        """Rows (contracts.rows) → examples, in the same order."""

    def scorable(self, built: Built, rows: pd.DataFrame) -> pd.DataFrame:
        """``rows``, those as unlabelled whose label the model does not have."""

    def said(self, outputs: FloatArray, examples: Examples) -> list[str] | list[int]:
        """What a person would be told of each row: its prediction."""

    def share_right(self, outputs: FloatArray, examples: Examples) -> tuple[float, int]:
        """Share of the labelled rows that are right, 0 without any; and how many are labelled."""

    def lost(self, built: Built, examples: Examples) -> str:
        """What of the labelled examples cannot be learned, in a sentence; empty where there is nothing."""

    def features(self, module: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """What the head sees, shape [batch, hidden], float32."""

    def objective(self, name: str) -> Objective:
        """Raises: ConfigError: the family has no such objective."""

    def export(self, built: Built) -> ExportSpec:
        """How this model becomes ONNX."""

    def preprocessing(self, built: Built) -> Preprocessing:
        """What the bundle needs besides the graph."""

    def anchors(self, rows: pd.DataFrame, labels: Sequence[str], params: Any) -> Anchors:
        """For zero-shot. Args: rows: the whole table; params: of ``evaluate_params``."""

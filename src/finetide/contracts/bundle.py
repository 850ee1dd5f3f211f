"""The bundle: what is put in service. A folder; manifest.json lists the SHA-256 of every other file in it.

The bundle's hash is the SHA-256 of manifest.json; version and champion refer to it. Files::

    model.onnx           fp32 graph (input_ids, attention_mask int64, or pixel_values float32 → logits float32; of
                         questions token_type_ids too, and logits [batch, length, 2] of start and end)
    model.int8.onnx      only if its own gate passed
    tokenizer.json       of text: Hugging Face tokenizers file, without truncation or padding baked in
    image.json           of images: how one becomes a tensor (finetide.images.Spec)
    reading.json         of questions: how contexts are cut and answers chosen (finetide.spans.Reading)
    bundle.json          BundleInfo
    card.md              model card
    examples.json        reference inputs and outputs that `verify` replays
    manifest.json        Manifest
"""

from __future__ import annotations

from typing import Literal

from finetide.contracts.base import Contract

MANIFEST_FILE = "manifest.json"
INFO_FILE = "bundle.json"


class BundleInfo(Contract):
    """What the runtime needs besides the graph. ``inputs``: names of the graph's inputs, in order. ``max_length``:
    tokens of a text or a window, or pixels of a side; ``pad_token_id``: null without a tokenizer."""

    schema_version: Literal[1] = 1
    model: str
    task: str
    labels: tuple[str, ...]
    inputs: tuple[str, ...]
    max_length: int
    pad_token_id: int | None
    temperature: float
    default_graph: Literal["model.onnx", "model.int8.onnx"]
    machine: str


class Example(Contract):
    """``logits`` are those of model.onnx for ``text`` alone in its batch."""

    text: str
    label: str
    logits: tuple[float, ...]


class ImageExample(Contract):
    """``image``: the encoded file, base64."""

    image: str
    label: str
    logits: tuple[float, ...]


class QuestionExample(Contract):
    """``asked``: question and context. ``label``: the answer, empty where there is none. ``logits``: the sums of both
    logits of the best span, and of no answer."""

    asked: dict[Literal["question", "context"], str]
    label: str
    logits: tuple[float, ...]


class Examples(Contract):
    schema_version: Literal[1] = 1
    max_abs_error: float
    examples: tuple[Example, ...] | tuple[ImageExample, ...] | tuple[QuestionExample, ...]


class Manifest(Contract):
    """``files``: POSIX path → SHA-256. ``lineage``: hashes of data, window, params, training weights."""

    schema_version: Literal[1] = 1
    files: dict[str, str]
    lineage: dict[str, str]


class ShapeCheck(Contract):
    batch: int
    length: int
    max_abs_error: float


class Parity(Contract):
    """parity.json. ``passed`` is true or the export stage failed; int8 is null when it was not tried."""

    schema_version: Literal[1] = 1
    passed: bool
    rows: int
    max_abs_error: float
    agreement: float
    accuracy_torch: float
    accuracy_onnx: float
    shapes: tuple[ShapeCheck, ...]
    int8: Int8Parity | None


class Int8Parity(Contract):
    """``kept`` exactly if validation accuracy fell by no more than the allowed drop."""

    kept: bool
    rows: int
    agreement: float
    accuracy_fp32: float
    accuracy_int8: float
    bytes_fp32: int
    bytes_int8: int
    reason: str


Parity.model_rebuild()

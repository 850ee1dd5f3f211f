"""A real bundle of a micro model, made by the export code itself."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch

from finetide import tasks
from finetide.config.export import ExportParams
from finetide.contracts.bundle import BundleInfo, Example, Examples
from finetide.export import onnx_file
from finetide.export.pack import pack
from finetide.runtime.graph import open_session, run_tokens
from finetide.task import Built, ModelSettings
from support.messages import LABELS, rows
from support.micro import micro_base

TASK = tasks.load("text-classification")
PARAMS = ExportParams(opset=18, max_abs_error=1e-4, min_agreement=0.999, int8=True, int8_max_drop=0.05)
MAX_LENGTH = 32


def table(count: int, seed: int = 1) -> pd.DataFrame:
    made = rows(count, "shop", seed)
    texts, labels = [row["body"] for row in made], [row["intent"] for row in made]
    return pd.DataFrame({"row_id": [f"a:{i}" for i in range(count)], "text": texts, "label": labels})


def micro_model(folder: Path, seed: int = 3) -> Built:
    """A micro base with a random head, whose logits differ from text to text."""
    micro_base(folder)
    built = TASK.build(folder, ModelSettings(tuple(sorted(LABELS)), MAX_LENGTH, "mean", 0.1), seed=1)
    torch.manual_seed(seed)
    with torch.no_grad():
        built.module.get_parameter("head.weight").normal_()
        built.module.get_parameter("head.bias").normal_()
    return built


def export(built: Built, path: Path) -> Path:
    onnx_file.export(TASK.export(built), path, opset=PARAMS.opset)
    return path


def bundle(folder: Path, built: Built, *, temperature: float = 1.5) -> Path:
    """A complete bundle in ``folder``."""
    folder.mkdir(parents=True)
    export(built, folder / "model.onnx")
    session = open_session(folder / "model.onnx")
    labels = built.settings.labels
    found = []
    for text in table(4)["text"]:
        ids = built.preprocessor.tokenizer.encode(text).ids
        logits = run_tokens(session, [ids], pad_token_id=0, labels=len(labels))[0]
        found.append(Example(text=text, label=labels[int(logits.argmax())], logits=tuple(map(float, logits))))
    info = BundleInfo(
        model="mail",
        task="text-classification",
        labels=labels,
        inputs=("input_ids", "attention_mask"),
        max_length=MAX_LENGTH,
        pad_token_id=0,
        temperature=temperature,
        default_graph="model.onnx",
        machine="test",
    )
    (folder / "tokenizer.json").write_bytes(built.preprocessor.tokenizer_json)
    pack(
        folder,
        info=info,
        examples=Examples(max_abs_error=1e-4, examples=tuple(found)),
        card="# mail\n",
        lineage={},
    )
    return folder

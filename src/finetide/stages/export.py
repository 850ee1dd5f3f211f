"""export: the tuned model as ONNX, proved to say the same on the held-out rows, packed with all that serving needs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from finetide import tasks
from finetide.config.evaluate import EncodingParams
from finetide.config.export import ExportParams
from finetide.config.stage import Stage
from finetide.contracts.bundle import BundleInfo, Examples, Int8Parity, Parity
from finetide.contracts.metrics import Metrics, read_evaluation
from finetide.contracts.training import TrainingReport
from finetide.data.payload import read_split
from finetide.engine.inference import predict
from finetide.errors import DataError
from finetide.export import onnx_file, parity, quantise
from finetide.export.card import write_card
from finetide.export.pack import machine_kind, pack
from finetide.files import canonical_json, read_json, sha256_bytes, sha256_file, temporary_prefix
from finetide.runtime.bundle import Info
from finetide.runtime.graph import open_session
from finetide.runtime.inputs import Inputs, open_inputs
from finetide.seeding import derive
from finetide.task import Built, ExportSpec, ModelSettings, Task

BATCH_TOKENS = 4096
EXAMPLES = 8
Array = np.ndarray[Any, Any]


def run(stage: Stage) -> None:
    params = stage.section(ExportParams)
    rows = read_split(stage)
    folder = stage.dep("model")
    task, built = _build(stage, folder, read_evaluation(stage.dep("evaluation.json")).serving)
    test = side(rows, "test")
    with tempfile.TemporaryDirectory(dir=stage.out("bundle").parent, prefix=temporary_prefix("bundle")) as scratch:
        made = Path(scratch) / "bundle"
        made.mkdir()
        for name, content in task.preprocessing(built).files().items():
            (made / name).write_bytes(content)
        onnx_file.export(task.export(built), made / "model.onnx", opset=params.opset)
        found = prove(task, built, made / "model.onnx", test, params, stage.seed)
        int8 = _try_int8(task, built, made, side(rows, "validation"), params) if params.int8 else None
        found = found.model_copy(update={"int8": int8})
        _pack(stage, made, task, built, test, rows, found, params)
        found.write(stage.out("parity.json"))
        shutil.rmtree(stage.out("bundle"), ignore_errors=True)
        made.rename(stage.out("bundle"))
    print(f"parity on {found.rows} test rows: largest difference {found.max_abs_error:.1e}")


def side(rows: pd.DataFrame, split: str) -> pd.DataFrame:
    return rows[rows["split"] == split].reset_index(drop=True)


def prove(task: Task, built: Built, path: Path, test: pd.DataFrame, params: ExportParams, seed: int) -> Parity:
    """Compare the file with the model on the test rows and at many shapes.

    Raises: GateError when any figure is over its limit. DataError when there are no test rows to compare on.
    """
    if test.empty:
        raise DataError("there are no test rows to compare torch and ONNX on", where="split.parquet")
    spec = task.export(built)
    session = open_session(path)
    parity.check_interface(session, spec, len(built.settings.labels))
    examples = task.encode(built, task.scorable(built, test))
    reference = predict(task, built, examples, batch_tokens=BATCH_TOKENS)
    inputs = served_inputs(task, built)
    exported = inputs.run(session, examples.inputs, len(built.settings.labels))
    both = parity.Rows(reference, exported, task.said(reference, examples), task.said(exported, examples))
    shapes = parity.check_shapes(session, _reference(built, spec), spec, seed)
    parity.enforce(both, shapes, max_abs_error=params.max_abs_error, min_agreement=params.min_agreement, where=path)
    return Parity(
        passed=True,
        rows=len(test),
        max_abs_error=both.max_abs_error,
        agreement=both.agreement,
        accuracy_torch=task.share_right(reference, examples)[0],
        accuracy_onnx=task.share_right(exported, examples)[0],
        shapes=shapes,
        int8=None,
    )


def _build(stage: Stage, folder: Path, serving: Mapping[str, float]) -> tuple[Task, Built]:
    """Args: serving: numbers of `ModelSettings.extra` that the evaluation has found."""
    task = tasks.load(stage.task)
    encoding = stage.section(EncodingParams, "train")
    settings = ModelSettings(tuple(read_json(folder / "labels.json")), encoding.max_length, encoding.pooling, 0.0)
    built = task.build(folder, settings, seed=derive(stage.seed, "build"))
    return task, replace(built, settings=replace(built.settings, extra={**built.settings.extra, **serving}))


def served_inputs(task: Task, built: Built) -> Inputs:
    """What will prepare inputs in service: the runtime's own code, from the file that the bundle carries."""
    prepared = task.preprocessing(built)
    info = {"max_length": built.settings.max_length, "pad_token_id": prepared.pad_token_id}
    with tempfile.TemporaryDirectory() as folder:
        for name, content in prepared.files().items():
            Path(folder, name).write_bytes(content)
        return open_inputs(task.name, Path(folder), info)


def _reference(built: Built, spec: ExportSpec) -> parity.Reference:
    def outputs(drawn: Mapping[str, Array]) -> Array:
        with torch.inference_mode():
            found: Array = built.module(*(torch.from_numpy(drawn[name]) for name in spec.inputs)).numpy()
        return found

    return outputs


def _try_int8(task: Task, built: Built, made: Path, rows: pd.DataFrame, params: ExportParams) -> Int8Parity:
    """Quantise, score both files on the validation rows, and delete the int8 file unless it passes."""
    source, target = made / "model.onnx", made / "model.int8.onnx"
    quantise.quantise(source, target)
    examples = task.encode(built, task.scorable(built, rows))
    inputs, labels = served_inputs(task, built), len(built.settings.labels)
    logits = [inputs.run(open_session(path), examples.inputs, labels) for path in (source, target)]
    (before, rows_right), (after, _) = (task.share_right(one, examples) for one in logits)
    found = quantise.judge_int8(
        rows=rows_right,
        agreement=parity.Rows(logits[0], logits[1], *(task.said(one, examples) for one in logits)).agreement,
        accuracy_fp32=before,
        accuracy_int8=after,
        sizes=(source.stat().st_size, target.stat().st_size),
        max_drop=params.int8_max_drop,
    )
    if not found.kept:
        target.unlink()
    return found


def _pack(
    stage: Stage, made: Path, task: Task, built: Built, test: pd.DataFrame, rows: pd.DataFrame, found: Parity,
    params: ExportParams,
) -> None:  # fmt: skip
    prepared = task.preprocessing(built)
    evaluation = read_evaluation(stage.dep("evaluation.json"))
    training = TrainingReport.read(stage.dep("training.json"))
    info = BundleInfo(
        model=stage.model,
        task=stage.task,
        labels=built.settings.labels,
        inputs=task.export(built).inputs,
        max_length=built.settings.max_length,
        pad_token_id=prepared.pad_token_id,
        temperature=evaluation.temperature,
        default_graph="model.onnx",
        machine=machine_kind(),
    )
    card = write_card(
        model=stage.model,
        task=stage.task,
        labels=built.settings.labels if task.one_label else (),
        base=stage.base.source,
        metrics=Metrics.read(stage.dep("metrics.json")),
        parity=found,
        data={f"{role}/{split}": len(part) for (role, split), part in rows.groupby(["role", "split"])},
        training=training.sentence,
        temperature=evaluation.temperature,
        limit=prepared.limit,
        stranger=prepared.stranger,
    )
    lineage = {
        "window.json": sha256_file(stage.dep("window.json")),
        "split.parquet": sha256_file(stage.dep("split.parquet")),
        "training.json": sha256_file(stage.dep("training.json")),
        "weights": training.weights_sha256,
        "export params": sha256_bytes(canonical_json(params.model_dump(mode="json"))),
    }
    pack(
        made,
        info=info,
        examples=_examples(made / "model.onnx", task, built, test, params.max_abs_error, info),
        card=card,
        lineage=lineage,
    )


def _examples(
    path: Path, task: Task, built: Built, test: pd.DataFrame, tolerance: float, written: BundleInfo
) -> Examples:
    """The first test rows, each alone in its batch."""
    info = Info(**written.model_dump(exclude={"schema_version", "machine"}))
    session, inputs = open_session(path), served_inputs(task, built)
    found = []
    for value in inputs.values(test.head(EXAMPLES)):
        shown = inputs.example(value)
        if shown is None:
            continue
        encoded = inputs.encode([value])
        label, numbers = inputs.recorded(inputs.run(session, encoded, len(info.labels)), encoded, info)
        found.append({inputs.key: shown, "label": label, "logits": numbers})
    return Examples.model_validate({"max_abs_error": tolerance, "examples": found})

"""export: the tuned model as ONNX, proved to say the same on the held-out rows, packed with all that serving needs."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from finetide import tasks
from finetide.config.evaluate import EncodingParams
from finetide.config.export import ExportParams
from finetide.config.stage import Stage
from finetide.contracts.bundle import BundleInfo, Example, Examples, Int8Parity, Parity
from finetide.contracts.metrics import Evaluation, Metrics
from finetide.contracts.training import TrainingReport
from finetide.engine.inference import predict
from finetide.errors import DataError
from finetide.export import onnx_file, parity, quantise
from finetide.export.card import write_card
from finetide.export.pack import machine_kind, pack
from finetide.files import canonical_json, read_json, sha256_bytes, sha256_file, temporary_prefix
from finetide.runtime.graph import open_session, run_tokens
from finetide.seeding import derive
from finetide.task import Built, ModelSettings, Task

BATCH_TOKENS = 4096
EXAMPLES = 8
Array = np.ndarray[Any, Any]


def run(stage: Stage) -> None:
    params = stage.section(ExportParams)
    rows = pd.read_parquet(stage.dep("split.parquet"))
    folder = stage.dep("model")
    task, built = _build(stage, folder)
    test = side(rows, "test")
    with tempfile.TemporaryDirectory(dir=stage.out("bundle").parent, prefix=temporary_prefix("bundle")) as scratch:
        made = Path(scratch) / "bundle"
        made.mkdir()
        onnx_file.export(
            task.export(built), made / "model.onnx", opset=params.opset, max_length=built.settings.max_length
        )
        found = prove(task, built, made / "model.onnx", test, params, stage.seed)
        int8 = _try_int8(task, built, made, side(rows, "validation"), params) if params.int8 else None
        found = found.model_copy(update={"int8": int8})
        _pack(stage, made, built, test, rows, found, params)
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
    parity.check_interface(session, spec.inputs, spec.output, len(built.settings.labels))
    examples = task.encode(built, known_labels(test, built.settings.labels))
    reference = predict(task, built, examples, batch_tokens=BATCH_TOKENS)
    both = parity.Rows(reference, _onnx_logits(built, session, examples.inputs), np.asarray(examples.targets))
    shapes = parity.check_shapes(
        session,
        _reference(built),
        parity.shapes_to_check(built.settings.max_length),
        built.preprocessor.tokenizer.get_vocab_size(),
        seed,
    )
    parity.enforce(both, shapes, max_abs_error=params.max_abs_error, min_agreement=params.min_agreement, where=path)
    return Parity(
        passed=True,
        rows=len(test),
        max_abs_error=both.max_abs_error,
        agreement=both.agreement,
        accuracy_torch=parity.accuracy(both.reference, both.targets),
        accuracy_onnx=parity.accuracy(both.exported, both.targets),
        shapes=shapes,
        int8=None,
    )


def known_labels(rows: pd.DataFrame, labels: tuple[str, ...]) -> pd.DataFrame:
    """A test row may bear a label that no training row had: then it counts as unlabelled here."""
    return rows.assign(label=rows["label"].where(rows["label"].isin(labels), None))


def _build(stage: Stage, folder: Path) -> tuple[Task, Built]:
    task = tasks.load(stage.task)
    encoding = stage.section(EncodingParams, "train")
    settings = ModelSettings(tuple(read_json(folder / "labels.json")), encoding.max_length, encoding.pooling, 0.0)
    return task, task.build(folder, settings, seed=derive(stage.seed, "build"))


def _onnx_logits(built: Built, session: Any, tokens: Any) -> Array:
    return run_tokens(session, tokens, pad_token_id=built.preprocessor.pad_token_id, labels=len(built.settings.labels))


def _reference(built: Built) -> parity.Reference:
    def outputs(ids: Array, mask: Array) -> Array:
        with torch.inference_mode():
            found: Array = built.module(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
        return found

    return outputs


def _try_int8(task: Task, built: Built, made: Path, rows: pd.DataFrame, params: ExportParams) -> Int8Parity:
    """Quantise, score both files on the validation rows, and delete the int8 file unless it passes."""
    source, target = made / "model.onnx", made / "model.int8.onnx"
    quantise.quantise(source, target)
    examples = task.encode(built, known_labels(rows, built.settings.labels))
    logits = [_onnx_logits(built, open_session(path), examples.inputs) for path in (source, target)]
    targets = np.asarray(examples.targets)
    found = quantise.judge_int8(
        rows=int((targets >= 0).sum()),
        agreement=parity.Rows(logits[0], logits[1], targets).agreement,
        accuracy_fp32=parity.accuracy(logits[0], targets),
        accuracy_int8=parity.accuracy(logits[1], targets),
        sizes=(source.stat().st_size, target.stat().st_size),
        max_drop=params.int8_max_drop,
    )
    if not found.kept:
        target.unlink()
    return found


def _pack(
    stage: Stage, made: Path, built: Built, test: pd.DataFrame, rows: pd.DataFrame, found: Parity, params: ExportParams
) -> None:
    evaluation = Evaluation.read(stage.dep("evaluation.json"))
    training = TrainingReport.read(stage.dep("training.json"))
    info = BundleInfo(
        model=stage.model,
        task=stage.task,
        labels=built.settings.labels,
        inputs=("input_ids", "attention_mask"),
        max_length=built.settings.max_length,
        pad_token_id=built.preprocessor.pad_token_id,
        temperature=evaluation.temperature,
        default_graph="model.onnx",
        machine=machine_kind(),
    )
    card = write_card(
        model=stage.model,
        task=stage.task,
        labels=built.settings.labels,
        base=stage.base.source,
        metrics=Metrics.read(stage.dep("metrics.json")),
        parity=found,
        data={f"{role}/{split}": len(part) for (role, split), part in rows.groupby(["role", "split"])},
        training=training.sentence,
        temperature=evaluation.temperature,
        max_length=built.settings.max_length,
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
        examples=_examples(made / "model.onnx", built, test, params.max_abs_error),
        card=card,
        tokenizer=built.preprocessor.tokenizer_json,
        lineage=lineage,
    )


def _examples(path: Path, built: Built, test: pd.DataFrame, tolerance: float) -> Examples:
    """The first test rows, each alone in its batch."""
    session = open_session(path)
    task_tokens = [built.preprocessor.tokenizer.encode(text).ids for text in test["text"].head(EXAMPLES)]
    found = []
    for text, ids in zip(test["text"].head(EXAMPLES), task_tokens, strict=True):
        if len(ids) > built.settings.max_length:
            continue
        logits = _onnx_logits(built, session, [ids])[0]
        label = built.settings.labels[int(logits.argmax())]
        found.append(Example(text=text, label=label, logits=tuple(float(value) for value in logits)))
    return Examples(max_abs_error=tolerance, examples=tuple(found))

"""Makes one model of a study, scores the test rows with it, and keeps what they were scored."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from finetide import tasks
from finetide.config.evaluate import MeasureParams
from finetide.config.train import AdaptPhase
from finetide.contracts.study import FinishedRun, Method
from finetide.engine.checkpoint import Checkpoints
from finetide.engine.inference import embed, predict
from finetide.engine.loop import train
from finetide.engine.precision import choose_device
from finetide.engine.progress import Curve
from finetide.engine.scratch import randomise
from finetide.engine.specs import Data
from finetide.errors import IntegrityError
from finetide.evaluation.align import align, means_of_rows
from finetide.files import canonical_json, sha256_bytes
from finetide.metrics.classification import FloatArray
from finetide.seeding import derive
from finetide.stages.evaluate import BATCH_TOKENS
from finetide.stages.train import adapt_inputs, engine_settings, model_settings
from finetide.studies.bench import Bench, digest
from finetide.studies.energy import measured
from finetide.studies.methods import phases, repeats
from finetide.task import Anchors, Built, Examples, ModelSettings, Task

Clock = Callable[[], float]
# A point is made in one go: no checkpoint but those that the engine writes at the end of a phase.
NEVER = 1 << 30
# These run the model's own phases; adapt phases among them read rows without labels too, at every share of the labels.
ADAPTED: tuple[Method, ...] = ("tuned", "champion")


@dataclass(frozen=True)
class Job:
    """One run to make: ``share`` and ``policy`` are only shown, ``rows`` are trained on."""

    method: Method
    share: float | None
    rows: pd.DataFrame
    seed: int
    policy: str | None = None


@dataclass(frozen=True)
class _Made:
    """See `FinishedRun`."""

    predicted: tuple[str, ...]
    validation: float | None
    steps: int
    seconds: float
    gap: float | None = None
    trainable: int | None = None


def folder(root: Path, model: str) -> Path:
    """What studies keep on this machine; git and DVC ignore it."""
    return root / ".finetide" / "studies" / model


def finished(bench: Bench, job: Job, *, clock: Clock = time.monotonic) -> tuple[FinishedRun, bool]:
    """The job's run, and whether it was there before. It is kept by everything that decides it."""
    key = _key(bench, job)
    path = folder(bench.stage.root, bench.model) / "runs" / f"{key}.json"
    if path.is_file():
        try:
            return FinishedRun.read(path), True
        except IntegrityError:  # torn, or of an older Finetide
            path.unlink()
    work = folder(bench.stage.root, bench.model) / "unfinished" / key
    shutil.rmtree(work, ignore_errors=True)
    _warm_up(bench.stage.task, bench.starts["base"], bench.labels, bench.params.max_length)
    try:
        with measured(choose_device().type) as reading:
            made = _zero_shot(bench, clock) if job.method == "zero-shot" else _trained(bench, job, work, clock)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    run = FinishedRun(
        method=job.method,
        seed=job.seed,
        rows=len(job.rows),
        predicted=made.predicted,
        validation=made.validation,
        steps=made.steps,
        seconds=made.seconds,
        joules=reading.joules,
        energy=reading.said,
        gap=made.gap,
        trainable=made.trainable,
    )
    run.write(path)
    return run, False


def _trained(bench: Bench, job: Job, work: Path, clock: Clock) -> _Made:
    started = clock()
    task, built = _build(bench, job)
    specs = phases(bench.params, job.method)
    rows = task.encode(built, job.rows)
    if job.method == "scratch":
        randomise(built.module, seed=derive(job.seed, "scratch"))
        rows = rows.take([*range(len(rows.ids))] * repeats(specs, len(job.rows), bench.params.batch_rows))
    inputs = adapt_inputs(task, built, bench.rows, bench.params) if job.method in ADAPTED else {}
    data = Data(rows, task.encode(built, bench.validation), inputs)
    # No cache of features: what another run left there would make this one look quicker than it is.
    settings = replace(
        engine_settings(bench.stage, bench.params),
        seed=job.seed,
        checkpoint_every_steps=NEVER,
        feature_cache=None,
        prefix_cache=work / "prefix",
    )
    curve = Curve(work / "curve.csv")
    result = train(task, built, data, specs, settings, curve, Checkpoints(work / "done" / "run"))
    seconds = clock() - started
    steps = sum(phase.steps for phase in result.phases if phase.kind in ("tune", "adapt"))

    def model(of: pd.DataFrame) -> tuple[Examples, Any]:
        examples = task.encode(built, of)
        return examples, predict(task, built, examples, batch_tokens=BATCH_TOKENS)

    said = bench.kind.said(model, replace(bench.sides, train=job.rows))
    made = _Made(said, result.phases[result.kept].score.accuracy, steps, seconds)
    tunes = [place for place, phase in enumerate(result.phases) if phase.kind == "tune"]
    if not tunes:
        return made
    gap = [row.gap for row in curve.rows if row.phase == tunes[-1]][-1]
    return replace(made, gap=gap, trainable=result.phases[tunes[-1]].trainable)


def _zero_shot(bench: Bench, clock: Clock) -> _Made:
    started = clock()
    task, built = _build(bench, Job("zero-shot", None, bench.train, bench.seed))

    def features(of: Sequence[pd.DataFrame]) -> list[FloatArray]:
        found = []
        for rows in of:
            examples = task.encode(built, rows.assign(label=None))
            values = embed(task, built, examples, batch_tokens=BATCH_TOKENS, cache=None, precision="fp32")
            ids, values = means_of_rows(examples.rows(), examples.ids, values)
            found.append(align(list(rows["row_id"]), ids, values.astype(np.float64)))
        return found

    anchors = _anchors(bench)
    (of_anchors,) = features([anchors.rows])
    seconds = clock() - started
    return _Made(bench.kind.zero_shot(anchors, of_anchors, features, bench.sides), None, 0, seconds)


def _anchors(bench: Bench) -> Anchors:
    return bench.task.anchors(pd.concat([bench.train, bench.test]), bench.labels, bench.evaluate)


def _build(bench: Bench, job: Job) -> tuple[Task, Built]:
    task, model = bench.task, model_settings(bench.labels, bench.params)
    if job.method in ("probe", "zero-shot"):  # on the base as it is
        model = replace(model, hidden=(), tokens=())
    return task, task.build(bench.starts[_start(job.method)], model, seed=derive(job.seed, "build"))


@cache
def _warm_up(name: str, start: Path, labels: tuple[str, ...], max_length: int) -> None:
    """Once a process: libraries load on first use, and that is no time of the first run's."""
    tasks.load(name).build(start, ModelSettings(labels, max_length, "mean", 0.0), seed=0)


def _start(method: Method) -> str:
    return "champion" if method == "champion" else "base"


def _key(bench: Bench, job: Job) -> str:
    """Everything that decides a run: rows, settings, code, and the weights it starts from."""
    trains = job.method != "zero-shot"
    adapts = job.method in ADAPTED and any(isinstance(phase, AdaptPhase) for phase in bench.params.phases)
    everything = {
        "method": job.method,
        # A solver needs no chance: repeats of a probe on the same rows are one run.
        "seed": job.seed if job.method not in ("probe", "zero-shot") else None,
        "rows": [digest(part) for part in ((job.rows, bench.validation) if trains else (_anchors(bench).rows,))],
        "unlabelled": digest(bench.rows) if adapts else None,
        "test": digest(bench.test),
        "labels": bench.labels,
        "task": bench.stage.task,
        "train": bench.params.model_dump(mode="json", exclude={"start", "replay", "checkpoint_every_steps"}),
        "zero-shot": bench.evaluate.model_dump(mode="json", exclude=set(MeasureParams.model_fields)),
        "start": bench.weights[_start(job.method)],
        "code": bench.code,
    }
    return sha256_bytes(canonical_json(everything))[:32]

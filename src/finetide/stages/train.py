"""train: fine-tune in phases by the recipe, keep what is best on validation."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.numpy import save_file

from finetide import base, tasks
from finetide.config.adapters import AdapterPolicy
from finetide.config.stage import Stage
from finetide.config.train import AdaptPhase, AveragePhase, LayerPolicy, LayerRule, LearnParams, ProbePhase, SoupPhase
from finetide.contracts.bundle import Manifest
from finetide.contracts.label_issues import LabelIssues
from finetide.contracts.rows import content_columns
from finetide.contracts.shift import Recipe
from finetide.contracts.training import Forgetting, PhaseReport, TrainingReport
from finetide.contracts.window import Window
from finetide.data.payload import read_split
from finetide.engine import probe
from finetide.engine.adopt import adopt
from finetide.engine.checkpoint import Checkpoints
from finetide.engine.inference import embed
from finetide.engine.loop import Result, train
from finetide.engine.progress import Curve
from finetide.engine.scratch import randomise
from finetide.engine.specs import AverageSpec, Data, PhaseSpec, ProbeSpec, Settings, SoupSpec, TuneSpec
from finetide.errors import IntegrityError, ProjectError
from finetide.evaluation import label_issues
from finetide.evaluation.align import align
from finetide.files import broken, canonical_json, seal, sha256_bytes, sha256_file, tree_hashes
from finetide.layers.policies import Adapting, Named, Policy
from finetide.layers.rules import Adapter, Rule
from finetide.seeding import derive
from finetide.stages import follow, weighting
from finetide.stages.adoption import take_over
from finetide.task import Built, Examples, ModelSettings, Task

OUTPUTS = ("model", "probe.safetensors", "training.json", "label_issues.json", "curve.csv")
# Of the probes that judge labels, which are no part of the model: strengths from few rows a label to many. With 100
# iterations they find no more flipped labels and take twice as long.
L2, ITERATIONS = (0.1, 0.01, 0.001), 40


def run(stage: Stage) -> None:
    task = tasks.load(stage.task)
    params = stage.section(task.train_params)
    window = Window.read(stage.dep("window.json"))
    recipe = Recipe.read(stage.dep("recipe.json"))
    if window.start == "adopted":  # nothing is trained that could follow it
        recipe = recipe.model_copy(update={"followed": False})
    rows = read_split(stage)
    labels = tuple(sorted(set(rows["label"].dropna())))
    window, at = follow.begin(recipe, window, labels, lambda moved: start_folder(stage, moved))
    start = start_folder(stage, window)
    checkpoints = Checkpoints(stage.root / ".finetide" / "checkpoints" / stage.model / _key(stage, params, start))
    finished = checkpoints.folder / "finished"
    damaged = broken(finished)
    if damaged:
        print(f"{finished} is not used: {damaged} is not what was written; training is done again", file=sys.stderr)
    if damaged is not None:
        shutil.rmtree(finished, ignore_errors=True)
        settings = engine_settings(stage, params)
        labels = task.outcomes(rows)
        model = model_settings(labels, params)
        built, original = _built(stage, task, window, start, rows, model)
        chosen, validation = training_rows(rows, recipe.replay), validation_rows(rows)
        specs, at = follow.plan(phase_specs(params), follow.grown(at, window, start, labels), rows)
        inputs = adapt_inputs(task, built, rows, params, [spec.rows for spec in specs if isinstance(spec, TuneSpec)])
        data = Data(task.encode(built, chosen), task.encode(built, validation), inputs)
        given = built if window.start == "base" else None
        model = replace(model, labels=built.settings.labels)
        suspects = _suspects(stage, task, built.settings, given, settings, data, chosen, validation)  # before it trains
        data, at = weighting.weights(task, lambda: given or _frozen(stage, task, model), rows, data, settings, at)
        curve = Curve(stage.out("curve.csv"))  # in its place while training, for whoever plots it
        if original is not None:
            result = adopt(task, built, original, data, settings, curve)
        else:
            found, at = follow.corrected(task, built, rows, data, settings, curve, start, at)
            result = found or train(task, built, data, specs, settings, curve, checkpoints)
        at, lost = follow.adapted(at, result), None
        if recipe.followed and recipe.forgetting_margin is not None and window.champion is not None:
            champion = start_folder(stage, window.model_copy(update={"start": "champion"}))
            result, lost = follow.bounded(task, built, rows, result, data, champion, settings, at)
        _write(finished, task, built, result, window, start, data, at, lost)
        suspects.write(finished / "label_issues.json")
        shutil.copyfile(curve.path, finished / "curve.csv")
        seal(finished)
        checkpoints.clear()
    for name in OUTPUTS:
        _publish(finished / name, stage.out(name))
    print(TrainingReport.read(stage.out("training.json")).sentence)


def model_settings(labels: tuple[str, ...], params: LearnParams) -> ModelSettings:
    """What params.yaml says of the model's shape."""
    hidden = tuple(params.head.hidden)
    return ModelSettings(
        labels, params.max_length, params.pooling, params.dropout, hidden, params.words, params.drawn, params.extra
    )


def training_rows(rows: pd.DataFrame, replay: float) -> pd.DataFrame:
    """Labelled training rows: all incoming ones, and ``replay`` (0 to 1) of the reference ones.

    A hash of the row's content chooses, so that a row stays in or out when others come, go, or change places.
    """
    side = rows[(rows["split"] == "train") & rows["label"].notna()]
    payload = content_columns(side.columns)
    digests = [sha256_bytes("\x1f".join(map(str, row)).encode()) for row in side[payload].itertuples(index=False)]
    share = np.array([int(digest[:8], 16) / 0x100000000 for digest in digests])
    return side[(side["role"] == "incoming") | (share < replay)].reset_index(drop=True)


def validation_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Labelled validation rows of both roles."""
    return rows[(rows["split"] == "validation") & rows["label"].notna()].reset_index(drop=True)


def adapt_rows(rows: pd.DataFrame, side: str, role: str) -> pd.DataFrame:
    """Rows of one side, ``train`` or ``validation``, labelled or not. Args: role: ``incoming`` or ``all``."""
    chosen = (rows["split"] == side) & ((role == "all") | (rows["role"] == role))
    return rows[chosen].reset_index(drop=True)


def adapt_inputs(
    task: Task, built: Built, rows: pd.DataFrame, params: LearnParams, also: Sequence[str | None] = ()
) -> dict[str, tuple[Examples, Examples]]:
    """For adapt phases, by the role that they ask for. Args: also: roles that phases beside those of params ask for."""
    roles = sorted({phase.rows for phase in params.phases if isinstance(phase, AdaptPhase)} | {*filter(None, also)})
    sides = {role: [adapt_rows(rows, side, role) for side in ("train", "validation")] for role in roles}
    return {role: (task.encode(built, one), task.encode(built, other)) for role, (one, other) in sides.items()}


def _suspects(
    stage: Stage, task: Task, model: ModelSettings, built: Built | None, settings: Settings, data: Data,
    chosen: pd.DataFrame, validation: pd.DataFrame,
) -> LabelIssues:  # fmt: skip
    """Labels that look wrong on the base's features: those of a champion have learned these very labels.

    Args: built: the base, where that is what training starts from; its examples are those in ``data``.
    """
    if not task.one_label or len(np.unique(data.train.targets)) < 2 or validation.empty:
        return label_issues.NOTHING
    frozen = built or _frozen(stage, task, model)
    tokens, cache, precision = settings.batch_tokens, settings.feature_cache, settings.precision

    def side(rows: pd.DataFrame, examples: Examples) -> tuple[probe.Array, probe.Array]:
        if frozen is not built:
            examples = task.encode(frozen, rows)  # a champion may have tokens of its own
        features = embed(task, frozen, examples, batch_tokens=tokens, cache=cache, precision=precision)
        ids = list(rows["row_id"])
        return align(ids, examples.ids, features), align(ids, examples.ids, np.asarray(examples.targets))

    (features, targets), (others, truth) = side(chosen, data.train), side(validation, data.validation)
    folds = label_issues.folds(targets, label_issues.contents(chosen))
    labels = model.labels
    found, rest = probe.out_of_fold(
        features, targets, folds, others, labels=len(labels), strengths=L2, max_iterations=ITERATIONS
    )
    return label_issues.report((chosen, targets, found), (validation, truth, rest), labels)


def _built(
    stage: Stage, task: Task, window: Window, start: Path, rows: pd.DataFrame, model: ModelSettings
) -> tuple[Built, torch.nn.Module | None]:
    """What training starts from; and of an adopted model, which is not trained, the one that it must answer like."""
    if window.start == "adopted":
        return take_over(task, start, rows, model, stage.seed)
    built = task.build(start, model, seed=derive(stage.seed, "build"))
    if window.start == "scratch":
        randomise(built.module, seed=derive(stage.seed, "scratch"))
    return built, None


def _frozen(stage: Stage, task: Task, model: ModelSettings) -> Built:
    return task.build(base.resolve(stage.base, stage.root), model, seed=derive(stage.seed, "build"))


def phase_specs(params: LearnParams) -> list[PhaseSpec]:
    """params.yaml's phases as the engine's plain values."""
    specs: list[PhaseSpec] = []
    for phase in params.phases:
        if isinstance(phase, ProbePhase):
            specs.append(ProbeSpec(tuple(phase.l2), phase.max_iterations))
            continue
        if isinstance(phase, AveragePhase):
            first, second = phase.between
            specs.append(AverageSpec((first - 1, second - 1), tuple(phase.shares)))
            continue
        if isinstance(phase, SoupPhase):
            tuned = specs[phase.of - 1]
            assert isinstance(tuned, TuneSpec)
            specs[phase.of - 1] = replace(tuned, remember=max(tuned.remember, phase.size))
            specs.append(SoupSpec(phase.of - 1, phase.size))
            continue
        plain = phase.model_dump(exclude={"kind", "layers", "duration"})
        policy = layer_policy(phase.layers)
        specs.append(TuneSpec(policy=policy, epochs=phase.duration.epochs, steps=phase.duration.steps, **plain))
    return specs


def layer_policy(written: LayerPolicy) -> Policy:
    """params.yaml's ``layers`` as the engine's plain values."""
    if isinstance(written, list):
        return tuple(_rule(rule) for rule in written)
    if isinstance(written, str):
        return Named(written)
    ((name, value),) = written.model_dump().items()
    if not isinstance(written, AdapterPolicy):
        return Named(name, value)
    targets = value.pop("targets")
    return Adapting(Adapter(name, **value), targets if isinstance(targets, str) else tuple(targets))


def _rule(written: LayerRule) -> Rule:
    given = written.adapter()
    adapter = Adapter(given[0], **given[1].model_dump()) if given else None
    return Rule(
        lr=written.lr, weight_decay=written.weight_decay, match=written.match, blocks=written.blocks, adapter=adapter
    )


def start_folder(stage: Stage, window: Window) -> Path:
    """Where the weights to start from are: the base, or the champion's training weights. From scratch it is the base,
    for its architecture and tokenizer."""
    if window.start != "champion" or window.champion is None:
        return base.resolve(stage.base, stage.root)
    folder = stage.root / "serving" / stage.model / window.champion.hash / "weights"
    if not folder.is_dir():
        raise ProjectError(
            f"the weights of {window.champion.version} are not here, and training starts from them",
            where=str(folder),
            fix=f"run `finetide run {stage.model}`, which brings them back from DVC",
        )
    promised = Manifest.read(folder.parent / "weights.json").files
    if tree_hashes(folder) != promised:
        raise IntegrityError(
            f"the weights of {window.champion.version} are not those that were promoted",
            where=str(folder),
            fix=f"delete {folder.parent} and run `finetide run {stage.model}`, which brings it back from DVC",
        )
    return folder


def engine_settings(stage: Stage, params: LearnParams) -> Settings:
    return Settings(
        seed=stage.seed,
        batch_rows=params.batch_rows,
        batch_tokens=params.batch_cost,
        precision=params.precision,
        checkpoint_every_steps=params.checkpoint_every_steps,
        feature_cache=stage.root / ".finetide" / "cache" / "features",
        prefix_cache=stage.root / ".finetide" / "cache" / "prefix",
        prefix_cache_gib=params.prefix_cache_gib,
        packing=params.packs,
    )


def _key(stage: Stage, params: LearnParams, start: Path) -> str:
    """Everything that decides the training: its files, params, code, the weights it starts from."""
    section = params.model_dump(mode="json")
    code = stage.code_key()
    deps = {name: sha256_file(stage.dep(name)) for name in ("split.parquet", "recipe.json", "window.json")}
    files = [
        start / name for name in (*base.NEEDED, base.IMAGES, "labels.json", "pooler.json")
    ]  # a champion's; the base is named by its hash
    weights = {path.name: sha256_file(path) for path in files if path.exists()}
    everything = {
        "task": stage.task, "base": stage.base.sha256, "params": section, "seed": stage.seed, "code": code,
        "deps": deps, "weights": weights,
    }  # fmt: skip
    return sha256_bytes(canonical_json(everything))[:32]


def _write(
    folder: Path, task: Task, built: Built, result: Result, window: Window, start: Path, data: Data,
    at: follow.Followed, lost: Forgetting | None,
) -> None:  # fmt: skip
    task.save(built, folder / "model")
    features = next(built.module.get_submodule("head").parameters()).shape[1]
    # A baseline on the base's own features; a probe after other training, or on a champion's weights, is none.
    fitted = result.probe if window.start == "base" and result.phases[0].kind == "probe" else None
    weight = fitted.weight if fitted else np.zeros((0, int(features)), dtype=np.float32)
    bias = fitted.bias if fitted else np.zeros(0, dtype=np.float32)
    save_file({"weight": weight, "bias": bias}, folder / "probe.safetensors")
    phases = tuple(
        PhaseReport(
            index=index,
            kind=phase.kind,
            steps=phase.steps,
            epochs=phase.epochs,
            rows_seen=phase.rows_seen,
            trainable=phase.trainable,
            frozen=phase.frozen,
            metric=phase.score.accuracy,
            loss=phase.score.loss,
            decisions=phase.decisions,
        )
        for index, phase in enumerate(result.phases)
    )
    TrainingReport(
        labels=built.settings.labels,
        start=window.start,
        start_hash=sha256_file(start / "model.safetensors"),
        train_rows=len(data.train.rows()),
        validation_rows=len(data.validation.rows()),
        phases=phases,
        kept=result.kept,
        sentence="; ".join(filter(None, (result.sentence, task.lost(built, data.train)))),
        weights_sha256=sha256_file(folder / "model" / "model.safetensors"),
        frozen_proof=result.proof,
        precision=result.precision,
        followed=at.done,
        forgetting=lost,
    ).write(folder / "training.json")


def _publish(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)

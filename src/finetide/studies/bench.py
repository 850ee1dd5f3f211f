"""What every study of a model starts from: the rows of its split, its settings, its base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from finetide import base, tasks
from finetide.config.evaluate import MeasureParams
from finetide.config.stage import Stage
from finetide.config.train import LearnParams
from finetide.contracts.shift import Recipe
from finetide.contracts.window import Window
from finetide.data.payload import read_split
from finetide.errors import DataError, InputError
from finetide.evaluation.align import label_indices
from finetide.evaluation.measures import BoolArray, role_masks
from finetide.files import canonical_json, sha256_bytes, sha256_file
from finetide.metrics.classification import IntArray
from finetide.pipeline import codelock
from finetide.stages.train import start_folder, training_rows, validation_rows


@dataclass(frozen=True)
class Bench:
    """``rows``: all of the split; ``train``, ``validation``, ``test``: labelled ones. ``starts``: folders of weights,
    base and maybe champion; ``weights``: their hashes. ``code``: hash of what makes a run."""

    stage: Stage
    params: LearnParams
    evaluate: MeasureParams
    rows: pd.DataFrame
    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame
    labels: tuple[str, ...]
    starts: Mapping[str, Path]
    weights: Mapping[str, str]
    code: str
    split_sha256: str

    @property
    def model(self) -> str:
        return self.stage.model

    @property
    def seed(self) -> int:
        return self.stage.seed

    @property
    def truth(self) -> IntArray:
        """Of the test rows, shape [rows]."""
        return label_indices(list(self.test["label"]), self.labels)

    @property
    def masks(self) -> dict[str, BoolArray]:
        """Role → which test rows; ``all`` where there are two roles."""
        return role_masks(list(self.test["role"]))


def open_bench(root: Path, model: str, *, with_champion: bool = False) -> Bench:
    """The rows are those that train would get: all incoming ones, and the recipe's share of the reference ones.

    Args: with_champion: look for the weights of the window's champion too.

    Raises: ProjectError where a stage has not run or the champion's weights are not here, DataError where labelled
    rows of a side are missing, InputError where a row's answer is no label.
    """
    stage = Stage.open(root, "train", model)
    split = stage.dep("split.parquet")
    rows = read_split(stage)
    task = tasks.load(stage.task)
    if not task.one_label:
        raise InputError(
            "studies compare labels of rows, and this model gives none", where=f"params.yaml: models.{model}.task",
            found=stage.task, fix="compare runs with other params.yaml instead: finetide run",
        )  # fmt: skip
    params = stage.section(task.train_params)
    written = root / stage.files.deps["recipe.json"]
    replay = Recipe.read(written).replay if written.is_file() else params.replay
    train, validation = training_rows(rows, replay), validation_rows(rows)
    test = rows[(rows["split"] == "test") & rows["label"].notna()].reset_index(drop=True)
    for name, side in (("training", train), ("validation", validation), ("test", test)):
        if side.empty:
            raise DataError(
                f"there are no labelled {name} rows, and a study needs some",
                where=stage.files.deps["split.parquet"].as_posix(),
                fix=f"label some, or raise split.{name}_percent in params.yaml, then finetide run {model}"
                if name != "training"
                else f"label some, then finetide run {model}",
            )
    window = Window.read(stage.dep("window.json"))
    starts = {"base": base.resolve(stage.base, root)}
    if with_champion and window.champion is not None:
        starts["champion"] = start_folder(stage, window.model_copy(update={"start": "champion"}))
    labels = tuple(sorted(set(rows["label"].dropna())))
    evaluate = stage.section(task.evaluate_params, "evaluate")
    weights = {name: _weights_hash(folder) for name, folder in starts.items()}
    code = codelock.code_hash("finetide.studies.fit", stage.task)
    return Bench(
        stage, params, evaluate, rows, train, validation, test, labels, starts, weights, code, sha256_file(split)
    )  # fmt: skip


def _weights_hash(folder: Path) -> str:
    files = [folder / name for name in (*base.NEEDED, base.IMAGES, "labels.json")]
    return sha256_bytes(canonical_json({path.name: sha256_file(path) for path in files if path.is_file()}))


def majority(bench: Bench) -> IntArray:
    """The most frequent training label, for every test row."""
    counts = np.bincount(label_indices(list(bench.train["label"]), bench.labels), minlength=len(bench.labels))
    return np.full(len(bench.test), int(counts.argmax()), dtype=np.int64)


def digest(rows: pd.DataFrame) -> str:
    """SHA-256 over rows in their order."""
    said = rows.drop(columns="bytes", errors="ignore")  # the address of what `digest` tells apart
    return sha256_bytes(said.to_csv(index=False).encode())

"""What every study of a model starts from: the rows of its split, its settings, its base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from finetide import base, tasks
from finetide.config.evaluate import MeasureParams
from finetide.config.stage import Stage
from finetide.config.train import LearnParams
from finetide.contracts.metrics import METRIC_NAMES
from finetide.contracts.shift import Recipe
from finetide.contracts.window import Window
from finetide.data.payload import read_split
from finetide.errors import DataError
from finetide.evaluation import kinds
from finetide.evaluation.measures import BoolArray, role_masks
from finetide.files import canonical_json, sha256_bytes, sha256_file
from finetide.pipeline import codelock
from finetide.stages.train import start_folder, training_rows, validation_rows
from finetide.task import Task


@dataclass(frozen=True)
class Terms:
    """``metric``: the main one, as in metrics.json; ``name``: in words, after "an". ``unit``: what labelled rows are
    called where they are counted."""

    metric: str
    name: str
    unit: str

    @classmethod
    def of(cls, metrics: Sequence[str], unit: str) -> Terms:
        """Args: metrics: the main one first."""
        return cls(metrics[0], METRIC_NAMES[metrics[0]], unit)

    @property
    def title(self) -> str:
        """The name with a capital."""
        return self.name[:1].upper() + self.name[1:]


@dataclass(frozen=True)
class Bench:
    """``rows``: all of the split; ``train``, ``validation``, ``test``: labelled ones. ``labels``: of the model.
    ``starts``: folders of weights, base and maybe champion; ``weights``: their hashes. ``code``: hash of what makes a
    run."""

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
    def task(self) -> Task:
        return tasks.load(self.stage.task)

    @property
    def kind(self) -> kinds.Studying:
        """How the family's predictions are made and measured."""
        return kinds.studying(self.stage.task)

    @property
    def sides(self) -> kinds.Sides:
        return kinds.Sides(self.train, self.validation, self.test, self.labels)

    @property
    def terms(self) -> Terms:
        return Terms.of(self.kind.metrics, self.kind.unit)

    @cached_property
    def guesses(self) -> dict[str, tuple[str, ...]]:
        """What one says of the test rows without any model, by baseline."""
        return self.kind.guesses(self.sides)

    @property
    def masks(self) -> dict[str, BoolArray]:
        """Role → which test rows; ``all`` where there are two roles."""
        return role_masks(list(self.test["role"]))


def open_bench(root: Path, model: str, *, with_champion: bool = False) -> Bench:
    """The rows are those that train would get: all incoming ones, and the recipe's share of the reference ones.

    Args: with_champion: look for the weights of the window's champion too.

    Raises: ProjectError where a stage has not run or the champion's weights are not here, DataError where labelled
    rows of a side are missing.
    """
    stage = Stage.open(root, "train", model)
    split = stage.dep("split.parquet")
    rows = read_split(stage)
    task = tasks.load(stage.task)
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
    labels = task.outcomes(rows)
    evaluate = stage.section(task.evaluate_params, "evaluate")
    weights = {name: _weights_hash(folder) for name, folder in starts.items()}
    code = codelock.code_hash("finetide.studies.fit", stage.task)
    return Bench(
        stage, params, evaluate, rows, train, validation, test, labels, starts, weights, code, sha256_file(split)
    )  # fmt: skip


def _weights_hash(folder: Path) -> str:
    files = [folder / name for name in (*base.NEEDED, base.IMAGES, "labels.json", "pooler.json")]
    return sha256_bytes(canonical_json({path.name: sha256_file(path) for path in files if path.is_file()}))


def digest(rows: pd.DataFrame) -> str:
    """SHA-256 over rows in their order."""
    said = rows.drop(columns="bytes", errors="ignore")  # the address of what `digest` tells apart
    return sha256_bytes(said.to_csv(index=False).encode())

"""`finetide label-requests`: a table to fill in, whose rows join by their ids when it is dropped back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from finetide import base, runtime, tasks
from finetide.config.ingest import IngestParams
from finetide.config.shift import ShiftParams
from finetide.config.stage import Stage
from finetide.contracts.window import Window
from finetide.data.csv_text import csv_text
from finetide.data.payload import read_split
from finetide.data.readers import ROW_ID, SUGGESTED
from finetide.errors import InputError
from finetide.files import write_text
from finetide.metrics.calibration import softmax
from finetide.seeding import derive, generator
from finetide.shift import informative, overlap, statistics
from finetide.stages.champion import pinned

Array = np.ndarray[Any, Any]
# Rows that are looked at closely, the least certain ones; and reference rows that stand for what is known.
POOL, COMPARED = 2000, 2000
BATCH_TOKENS = 4096


def request(root: Path, model: str, target: Path, rows: int | None) -> tuple[int, int]:
    """Write the rows to ``target``. Returns: how many, and how many incoming rows have no label.

    Args: rows: how many are wanted; None: shift.recipe.ask_labels.

    Raises: InputError: the task is not of texts, no incoming row lacks a label, or ``target`` exists, which may be
    filled in already. ProjectError: the split stage has not run.
    """
    stage = Stage.open(root, "shift", model)
    if stage.task != "text-classification":
        raise InputError("label-requests writes texts", where=model, found=stage.task, fix="label rows by their ids")
    if target.exists():
        raise InputError("is there already, and may be filled in", where=str(target), fix="name another: --output")
    wanted = rows or stage.section(ShiftParams).recipe.ask_labels
    table = read_split(stage)
    arrived = table[table["role"] == "incoming"]
    open_rows = arrived[arrived["label"].isna()].drop_duplicates("text").reset_index(drop=True)
    if open_rows.empty:
        said = "all incoming rows are labelled" if len(arrived) else "nothing has arrived"
        raise InputError(f"there is no row to ask for: {said}", where=model, fix="finetide advance brings new rows")
    champion = pinned(stage, Window.read(stage.dep("window.json")))
    unsure, suggested = _ask(champion, list(open_rows["text"]))
    pool = np.sort(np.argsort(-unsure, kind="stable")[:POOL])
    close = open_rows.loc[pool].reset_index(drop=True)
    known = table[(table["role"] == "reference") | table["label"].notna()]
    order = _rank(stage, close, unsure[pool], known, wanted)
    ingest = stage.section(IngestParams, "ingest")
    lines = [
        (close["row_id"][place], close["text"][place], suggested[pool[place]], "") for place in order
    ]  # fmt: skip
    write_text(target, csv_text((ROW_ID, ingest.columns.text, SUGGESTED, ingest.columns.label), lines))
    return len(lines), int(arrived["label"].isna().sum())


def _ask(champion: runtime.Predictor | None, texts: list[str]) -> tuple[Array, list[str]]:
    """How unsure the champion is of each text, and what it suggests; without one all are alike."""
    if champion is None:
        return np.ones(len(texts)), [""] * len(texts)
    found = softmax(champion.logits(texts).astype(np.float64), champion.info.temperature)
    return informative.uncertainty(found), [champion.labels[int(place)] for place in found.argmax(axis=1)]


def _rank(stage: Stage, close: pd.DataFrame, unsure: Array, known: pd.DataFrame, wanted: int) -> list[int]:
    reference = known[known["role"] == "reference"].head(COMPARED)
    labelled = known[known["role"] == "incoming"].head(COMPARED)
    features = _features(stage, pd.concat([close, reference, labelled], ignore_index=True))
    ends = np.cumsum([len(close), len(reference)])
    mine, theirs, told = np.split(features, ends)
    like = np.ones(len(close))
    if min(len(mine), len(theirs)) >= statistics.FOLDS:
        both = np.concatenate([mine, theirs])
        incoming = np.arange(len(both)) < len(mine)
        chance = generator(stage.seed, "label-requests", "folds")
        ratio = overlap.odds(statistics.domain_scores(both, incoming[None], chance)[:, 0], incoming)[: len(mine)]
        like = ratio / (1.0 + ratio)
    # A row of which the champion is sure still counts a little: it may be surely wrong.
    return informative.choose((0.05 + unsure) * like, mine, told, wanted)


def _features(stage: Stage, rows: pd.DataFrame) -> Array:
    from finetide.config.train import MaxLength
    from finetide.engine.inference import embed
    from finetide.task import ModelSettings

    task = tasks.load(stage.task)
    length = stage.value("train.max_length", MaxLength)
    folder = base.resolve(stage.base, stage.root)
    built = task.build(folder, ModelSettings(("?",), length, "mean", 0.0), seed=derive(stage.seed, "build"))
    examples = task.encode(built, rows.assign(label=None))
    cache = stage.root / ".finetide" / "cache" / "features"
    return embed(task, built, examples, batch_tokens=BATCH_TOKENS, cache=cache)

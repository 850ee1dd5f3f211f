"""`finetide label-requests`: a table to fill in, whose rows join by their ids when it is dropped back.

Images lie beside the table, in a folder named after it, a file a row.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any, SupportsBytes

import numpy as np
import pandas as pd
from PIL import Image

from finetide import base, runtime, tasks
from finetide.bases import new_folder
from finetide.config.shift import ShiftParams
from finetide.config.stage import Stage
from finetide.contracts.rows import content_columns
from finetide.contracts.window import Window
from finetide.data import kinds
from finetide.data.csv_text import csv_text
from finetide.data.payload import read_split
from finetide.data.readers import ROW_ID, SUGGESTED
from finetide.errors import InputError
from finetide.files import write_bytes, write_text
from finetide.metrics.calibration import softmax
from finetide.seeding import derive, generator
from finetide.shift import informative, overlap
from finetide.shift.features import FOLDS, Domain
from finetide.stages.champion import pinned

Array = np.ndarray[Any, Any]
# Rows that are looked at closely, the least certain ones; and reference rows that stand for what is known.
POOL, COMPARED = 2000, 2000
BATCH_TOKENS = 4096


def request(root: Path, model: str, target: Path, rows: int | None) -> tuple[int, int]:
    """Write the rows to ``target``. Returns: how many, and how many incoming rows have no label.

    Args: rows: how many are wanted; None: shift.recipe.ask_labels.

    Raises: InputError: a row's answer is no label, no incoming row lacks one, or ``target`` or the folder beside it
    exists, which may be filled in already. ProjectError: the split stage has not run.
    """
    stage = Stage.open(root, "shift", model)
    if not tasks.load(stage.task).one_label:
        raise InputError(
            "label-requests asks for one label a row, and here a row's answer is none", where=model, found=stage.task,
            fix="bring files with answers: finetide advance",
        )  # fmt: skip
    for path in (target, images_folder(target)):
        if path.exists():
            raise InputError("is there already, and may be filled in", where=str(path), fix="name another: --output")
    wanted = rows or stage.section(ShiftParams).recipe.ask_labels
    table = read_split(stage)
    arrived = table[table["role"] == "incoming"]
    payload = content_columns(table.columns)
    open_rows = arrived[arrived["label"].isna()].drop_duplicates(payload).reset_index(drop=True)
    if open_rows.empty:
        said = "all incoming rows are labelled" if len(arrived) else "nothing has arrived"
        raise InputError(f"there is no row to ask for: {said}", where=model, fix="finetide advance brings new rows")
    champion = pinned(stage, Window.read(stage.dep("window.json")))
    unsure, suggested = _ask(champion, open_rows)
    pool = np.sort(np.argsort(-unsure, kind="stable")[:POOL])
    close = open_rows.loc[pool].reset_index(drop=True)
    known = table[(table["role"] == "reference") | table["label"].notna()]
    order = _rank(stage, close, unsure[pool], known, wanted)
    _write(stage, target, close.loc[order], [suggested[pool[place]] for place in order])
    return len(order), int(arrived["label"].isna().sum())


def images_folder(target: Path) -> Path:
    """Where the images of a table ``target`` lie."""
    return target.with_name(f"{target.stem}-images")


def _write(stage: Stage, target: Path, chosen: pd.DataFrame, suggested: list[str]) -> None:
    """The table comes last, so that whoever finds it finds all that it names."""
    columns = stage.section(kinds.source(stage.task).params, "ingest").columns  # type: ignore[attr-defined]
    if "bytes" in chosen:
        payload, shown = columns.image, _write_images(images_folder(target), list(chosen["bytes"]))
    else:
        payload, shown = columns.text, list(chosen["text"])
    lines = list(zip(chosen["row_id"], shown, suggested, [""] * len(shown), strict=True))
    write_text(target, csv_text((ROW_ID, payload, SUGGESTED, columns.label), lines))


def _write_images(folder: Path, images: list[SupportsBytes]) -> list[str]:
    """One file each, in the order of the table. Returns: their paths from beside the table."""
    names = [f"{place:0{len(str(len(images)))}}.{_kind(bytes(image))}" for place, image in enumerate(images, start=1)]
    with new_folder(folder) as made:
        for name, image in zip(names, images, strict=True):
            write_bytes(made / name, bytes(image))
    return [f"{folder.name}/{name}" for name in names]


def _kind(data: bytes) -> str:
    """The usual ending of such a file."""
    with Image.open(BytesIO(data)) as image:
        return str(image.format).lower()


def _ask(champion: runtime.Predictor | None, rows: pd.DataFrame) -> tuple[Array, list[str]]:
    """How unsure the champion is of each row, and what it suggests; without one all are alike."""
    if champion is None:
        return np.ones(len(rows)), [""] * len(rows)
    logits = champion.logits(champion.inputs.values(rows))
    found = softmax(logits.astype(np.float64), champion.info.temperature)
    return informative.uncertainty(found), [champion.labels[int(place)] for place in found.argmax(axis=1)]


def _rank(stage: Stage, close: pd.DataFrame, unsure: Array, known: pd.DataFrame, wanted: int) -> list[int]:
    reference = known[known["role"] == "reference"].head(COMPARED)
    labelled = known[known["role"] == "incoming"].head(COMPARED)
    features = _features(stage, pd.concat([close, reference, labelled], ignore_index=True))
    ends = np.cumsum([len(close), len(reference)])
    mine, theirs, told = np.split(features, ends)
    like = np.ones(len(close))
    if min(len(mine), len(theirs)) >= FOLDS:
        both = np.concatenate([mine, theirs])
        incoming = np.arange(len(both)) < len(mine)
        chance = generator(stage.seed, "label-requests", "folds")
        ratio = overlap.odds(Domain(both, chance).scores(incoming[None])[:, 0], incoming)[: len(mine)]
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

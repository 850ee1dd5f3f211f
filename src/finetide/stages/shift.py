"""shift: incoming rows against reference rows, on a frozen encoder and by the champion's outputs.

The champion is the one that the window pins, found in serving/ by its hash, as judge finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from finetide import base, runtime, tasks
from finetide.config.shift import ShiftParams
from finetide.config.stage import Stage
from finetide.config.train import Follow, MaxLength, Replay
from finetide.contracts.rows import said_columns, shown_columns
from finetide.contracts.shift import ShiftVerdict
from finetide.contracts.window import Window
from finetide.data.payload import read_split
from finetide.evaluation.align import means_of_rows
from finetide.files import sha256_bytes, write_bytes, write_text
from finetide.metrics.calibration import softmax
from finetide.seeding import derive
from finetide.shift import page, pictures, texts
from finetide.shift.detect import Limits, Sizes, detect, without_test
from finetide.shift.plot import picture
from finetide.shift.recipe import Situation, advise
from finetide.shift.sample import Champion, Held, Sample, Taught, Wide
from finetide.stages.champion import pinned

Array = np.ndarray[Any, Any]
BATCH_TOKENS = 4096
# Held-out reference rows by which accuracy is estimated, by the rows a side that are compared: an estimate is as sure
# as these make it (docs/lab-log.md, 2026-11-22).
HELD = 4
NOT_LIMITS = {"max_rows", "false_alarms_per_year", "windows_per_year", "recipe"}


def run(stage: Stage) -> None:
    """Reads window and split, and the champion's bundle in serving/; writes shift.json, recipe.json, .png and .html."""
    params = stage.section(ShiftParams)
    rows = read_split(stage)
    limits = Limits(alpha=params.alpha, **params.model_dump(exclude=NOT_LIMITS))
    sizes = measure(rows)
    verdict = without_test(sizes, limits)
    window = Window.read(stage.dep("window.json"))
    # Torch comes with the task: a run without incoming rows has no use for it.
    one_label = verdict is None and tasks.load(stage.task).one_label
    champion = pinned(stage, window) if one_label else None
    places = sample_rows(rows, params.max_rows, stage.seed, held_first=champion is not None)
    chosen = rows.iloc[places].reset_index(drop=True)
    features, simple = None, simple_figures(chosen)
    if verdict is None:
        held, taught = of_the_reference(rows, params.max_rows, stage.seed) if champion is not None else ([], [])
        seen = _by_place([*places, *held, *taught], lambda part: _embed(stage, rows.iloc[part]))
        features = seen(places)
        wide = _of_all(stage, rows, places)
        figures = {**simple, **_unknown(stage, chosen)} if wide is None else {}
        sample = as_sample(chosen, features, figures, wide)
        if champion is not None:
            outputs = _by_place([*places, *held], partial(_judged, champion, rows))
            labels = rows["label"].to_numpy()
            right = np.asarray(champion.labels)[outputs(held).argmax(axis=1)] == labels[held].astype(str)
            sample = replace(
                sample,
                champion=Champion(champion.labels, outputs(places), _not_trained_on(chosen)),
                held=Held(seen(held), outputs(held), right, _groups(rows.iloc[held])),
                taught=Taught.of(seen(taught), list(labels[taught])),
            )
        verdict = detect(sample, replace(sizes, asks=one_label), limits, stage.seed)
    at = situation(stage, window, champion, rows, asks=one_label)
    advice = advise(verdict, params.recipe, at, stage.model)
    verdict.write(stage.out("shift.json"))
    advice.write(stage.out("recipe.json"))
    title = f"{verdict.verdict}: {verdict.sentence}"
    incoming = (chosen["role"] == "incoming").to_numpy()
    drawn = picture(title, incoming, features, _histogram(chosen, simple), list(chosen["label"]))
    write_bytes(stage.out("shift.png"), drawn)
    shown = _pictures(chosen, verdict)
    write_text(stage.out("shift.html"), page.render(stage.model, verdict, advice, limits, features, incoming, shown))
    print(title)


def situation(
    stage: Stage, window: Window, champion: runtime.Predictor | None, rows: pd.DataFrame, *, asks: bool
) -> Situation:
    return Situation(
        replay=stage.value("train.replay", Replay),
        start=window.start,
        champion=None if champion is None else champion.labels,
        texts="text" in rows,
        followed=stage.value("train.recipe", Follow) == "auto",
        asks=asks,
    )


def measure(rows: pd.DataFrame) -> Sizes:
    """Rows a side, the labelled share of the incoming ones, and labels that no reference row has."""
    incoming = rows["role"] == "incoming"
    labelled = incoming & rows["label"].notna()
    known = set(rows.loc[~incoming, "label"].dropna())
    new = tuple(sorted(set(rows.loc[labelled, "label"]) - known))
    return Sizes(int((~incoming).sum()), int(incoming.sum()), float(labelled.sum() / max(1, incoming.sum())), new)


def sample_rows(rows: pd.DataFrame, max_rows: int, seed: int, *, held_first: bool) -> list[int]:
    """Positions of at most ``max_rows`` of each role, chosen by a hash of the row id, in the order of the table.

    Args: held_first: reference rows that the champion was not trained on before those that it was.
    """
    kept: list[int] = []
    for role, side in rows.reset_index(drop=True).groupby("role", sort=True):
        rank = side["row_id"].map(lambda row_id: sha256_bytes(f"{seed} {row_id}".encode()))
        if held_first and role == "reference":
            rank = (side["split"] == "train").map({True: "1 ", False: "0 "}) + rank
        kept += rank.sort_values().index[:max_rows].tolist()
    return sorted(kept)


def simple_figures(rows: pd.DataFrame) -> dict[str, Any]:
    """Those of a row's words, or of its image; of a payload that is neither, none."""
    said = _said(rows)
    if said is not None:
        return texts.figures(said)
    return pictures.figures(list(rows["bytes"])) if "bytes" in rows else {}


def as_sample(
    rows: pd.DataFrame,
    features: Array,
    figures: dict[str, Any],
    wide: Wide | None,
) -> Sample:
    """Group labels are used only where every row has one."""
    said = _said(rows)
    return Sample(
        incoming=(rows["role"] == "incoming").to_numpy(),
        features=features,
        labels=[label if isinstance(label, str) else None for label in rows["label"]],
        texts=said,
        shown=[str(value) for value in rows[shown_columns(rows.columns)[0]]],
        groups=_groups(rows),
        figures=figures,
        places=[(str(row), str(file), int(line)) for row, file, line in rows[["row_id", "file", "line"]].to_numpy()],
        wide=wide,
    )


def of_the_reference(rows: pd.DataFrame, max_rows: int, seed: int) -> tuple[list[int], list[int]]:
    """Positions of labelled reference rows for the estimate of accuracy: held-out ones, which it is only as sure as,
    `HELD` times as many as are compared; and of the training side as many as are compared."""
    known = ((rows["role"] == "reference") & rows["label"].notna()).to_numpy()
    trained = (rows["split"] == "train").to_numpy()
    sides = np.flatnonzero(known & ~trained), np.flatnonzero(known & trained)
    held, taught = (
        side[sample_rows(rows.iloc[side], most, seed, held_first=False)].tolist()
        for side, most in zip(sides, (HELD * max_rows, max_rows), strict=True)
    )
    return held, taught


def _by_place(places: Sequence[int], make: Callable[[list[int]], Array]) -> Callable[[Sequence[int]], Array]:
    """What ``make`` gives of rows, by their positions: each row is asked for once, however often it is wanted."""
    order = sorted(set(places))
    made, at = make(order), {place: number for number, place in enumerate(order)}
    return lambda wanted: made[[at[place] for place in wanted]]


def _groups(rows: pd.DataFrame) -> list[str] | None:
    return list(rows["group"]) if rows["group"].notna().all() else None


def _of_all(stage: Stage, rows: pd.DataFrame, places: list[int]) -> Wide | None:
    """Figures of the words of all rows, where the sample leaves some out; those of images take as long as to embed
    them."""
    said, groups = _said(rows) if len(places) < len(rows) else None, _groups(rows)
    # With groups on some of the rows only, the sample would be drawn otherwise than all rows are.
    if said is None or (groups is None and _groups(rows.iloc[places]) is not None):
        return None
    figures = {**texts.figures(said), **_unknown(stage, rows)}
    incoming = (rows["role"] == "incoming").to_numpy()
    return Wide(incoming, figures, np.asarray(places), groups)


def _judged(champion: runtime.Predictor, rows: pd.DataFrame, places: list[int]) -> Array:
    """The champion's calibrated probabilities, [places, labels]."""
    logits = champion.logits(champion.inputs.values(rows.iloc[places].reset_index(drop=True)))
    return softmax(logits.astype(np.float64), champion.info.temperature)


def _not_trained_on(rows: pd.DataFrame) -> Array:
    """[rows] bool. The champion was trained on the reference rows of the training side."""
    found: Array = ((rows["role"] == "incoming") | (rows["split"] != "train")).to_numpy()
    return found


def _pictures(rows: pd.DataFrame, verdict: ShiftVerdict) -> page.Pictures | None:
    """Of the rows that moved most, and as many of the reference; None where rows are no images."""
    if "bytes" not in rows:
        return None
    images = rows.set_index("row_id")["bytes"]
    moved = [row.row_id for row in verdict.moved]
    reference = rows.loc[rows["role"] == "reference", "row_id"].head(len(moved))
    drawn = ([pictures.thumbnail(bytes(images[one])) for one in side] for side in (moved, reference))
    return page.Pictures(*drawn)


def _histogram(rows: pd.DataFrame, simple: dict[str, Any]) -> tuple[str, Array]:
    """What the picture's histogram shows, and its values: how long texts are, or how bright images."""
    if "brightness" in simple:
        return "Brightness (0: black, 1: white)", simple["brightness"]
    return "Length in words", np.array([float(len(text.split())) for text in _said(rows) or [""] * len(rows)])


def _said(rows: pd.DataFrame) -> list[str] | None:
    """The words of each row; None where a row is no words."""
    columns = said_columns(rows.columns)
    if not columns:
        return None
    return ["\n".join(map(str, row)) for row in zip(*(rows[name] for name in columns), strict=True)]


def _unknown(stage: Stage, rows: pd.DataFrame) -> dict[str, Any]:
    said = _said(rows)
    if said is None:
        return {}
    folder = base.resolve(stage.base, stage.root)
    return texts.unknown_tokens(said, str(folder / "tokenizer.json"))


def _embed(stage: Stage, rows: pd.DataFrame) -> Array:
    # Torch is imported here: a run without incoming rows has no use for it.
    from finetide.engine.inference import embed
    from finetide.task import ModelSettings

    task = tasks.load(stage.task)
    length = stage.value("train.max_length", MaxLength)
    folder = base.resolve(stage.base, stage.root)
    built = task.build(folder, ModelSettings(("?",), length, "mean", 0.0), seed=derive(stage.seed, "build"))
    unlabelled = rows.reset_index(drop=True).assign(label=None)
    cache = stage.root / ".finetide" / "cache" / "features"
    examples = task.encode(built, unlabelled)
    found = embed(task, built, examples, batch_tokens=BATCH_TOKENS, cache=cache)
    return means_of_rows(examples.rows(), examples.ids, found)[1]

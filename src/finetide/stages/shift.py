"""shift: incoming rows against reference rows, on a frozen encoder and by the champion's outputs.

The champion is the one that the window pins, found in serving/ by its hash, as judge finds it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from finetide import base, runtime, tasks
from finetide.config.shift import ShiftParams
from finetide.config.stage import Stage
from finetide.config.train import Follow, MaxLength, Replay
from finetide.contracts.rows import said_columns, shown_columns
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
    champion = pinned(stage, window) if verdict is None and tasks.load(stage.task).one_label else None
    places = sample_rows(rows, params.max_rows, stage.seed, held_first=champion is not None)
    chosen = rows.iloc[places].reset_index(drop=True)
    features, simple = None, simple_figures(chosen)
    if verdict is None:
        features = _embed(stage, chosen)
        wide = _of_all(stage, rows, places)
        figures = {**simple, **_unknown(stage, chosen)} if wide is None else {}
        sample = as_sample(chosen, features, figures, judged_by(champion, chosen), wide)
        if champion is not None:
            held, taught = of_the_reference(stage, champion, rows, params.max_rows)
            sample = replace(sample, held=held, taught=taught)
        verdict = detect(sample, sizes, limits, stage.seed)
    advice = advise(verdict, params.recipe, situation(stage, window, champion, rows), stage.model)
    verdict.write(stage.out("shift.json"))
    advice.write(stage.out("recipe.json"))
    title = f"{verdict.verdict}: {verdict.sentence}"
    incoming = (chosen["role"] == "incoming").to_numpy()
    drawn = picture(title, incoming, features, _histogram(chosen, simple), list(chosen["label"]))
    write_bytes(stage.out("shift.png"), drawn)
    write_text(stage.out("shift.html"), page.render(stage.model, verdict, advice, limits, features, incoming))
    print(title)


def situation(stage: Stage, window: Window, champion: runtime.Predictor | None, rows: pd.DataFrame) -> Situation:
    return Situation(
        replay=stage.value("train.replay", Replay),
        start=window.start,
        champion=None if champion is None else champion.labels,
        texts="text" in rows,
        followed=stage.value("train.recipe", Follow) == "auto",
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
    features: np.ndarray[Any, Any],
    figures: dict[str, Any],
    champion: Champion | None,
    wide: Wide | None = None,
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
        champion=champion,
        places=[(str(row), str(file), int(line)) for row, file, line in rows[["row_id", "file", "line"]].to_numpy()],
        wide=wide,
    )


def of_the_reference(
    stage: Stage, champion: runtime.Predictor, rows: pd.DataFrame, max_rows: int
) -> tuple[Held, Taught | None]:
    """Labelled reference rows for the estimate of accuracy: held-out ones, which it is only as sure as, `HELD` times as
    many as are compared; and as many of the training side as are compared."""
    known = rows[(rows["role"] == "reference") & rows["label"].notna()]
    sides = []
    for is_held, most in ((True, HELD * max_rows), (False, max_rows)):
        side = known[(known["split"] != "train") == is_held].reset_index(drop=True)
        side = side.iloc[sample_rows(side, most, stage.seed, held_first=False)].reset_index(drop=True)
        sides.append((side, _embed(stage, side) if len(side) else np.zeros((0, 1))))
    (held, features), (taught, of_taught) = sides
    logits = champion.logits(champion.inputs.values(held)) if len(held) else np.zeros((0, len(champion.labels)))
    outputs = softmax(logits.astype(np.float64), champion.info.temperature)
    right = np.asarray(champion.labels)[outputs.argmax(axis=1)] == held["label"].to_numpy(dtype=str)
    return Held(features, outputs, right, _groups(held)), Taught.of(of_taught, list(taught["label"]))


def _groups(rows: pd.DataFrame) -> list[str] | None:
    return list(rows["group"]) if rows["group"].notna().all() else None


def _of_all(stage: Stage, rows: pd.DataFrame, places: list[int]) -> Wide | None:
    """Figures of the words of all rows, where the sample leaves some out; those of images take as long as to embed
    them."""
    said = _said(rows) if len(places) < len(rows) else None
    if said is None:
        return None
    figures = {**texts.figures(said), **_unknown(stage, rows)}
    incoming, groups = (rows["role"] == "incoming").to_numpy(), _groups(rows)
    # With groups on some of the rows only, the sample would be drawn otherwise than all rows are.
    if groups is None and _groups(rows.iloc[places]) is not None:
        return None
    return Wide(incoming, figures, np.asarray(places), groups)


def judged_by(champion: runtime.Predictor | None, rows: pd.DataFrame) -> Champion | None:
    """The champion's calibrated probabilities. It was trained on the reference rows of the training side."""
    if champion is None:
        return None
    logits = champion.logits(champion.inputs.values(rows))
    outputs = softmax(logits.astype(np.float64), champion.info.temperature)
    scored = ((rows["role"] == "incoming") | (rows["split"] != "train")).to_numpy()
    return Champion(champion.labels, outputs, scored)


def _histogram(rows: pd.DataFrame, simple: dict[str, Any]) -> tuple[str, np.ndarray[Any, Any]]:
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


def _embed(stage: Stage, rows: pd.DataFrame) -> np.ndarray[Any, Any]:
    # Torch is imported here: a run without incoming rows has no use for it.
    from finetide.engine.inference import embed
    from finetide.task import ModelSettings

    task = tasks.load(stage.task)
    length = stage.value("train.max_length", MaxLength)
    folder = base.resolve(stage.base, stage.root)
    built = task.build(folder, ModelSettings(("?",), length, "mean", 0.0), seed=derive(stage.seed, "build"))
    unlabelled = rows.assign(label=None)
    cache = stage.root / ".finetide" / "cache" / "features"
    examples = task.encode(built, unlabelled)
    found = embed(task, built, examples, batch_tokens=BATCH_TOKENS, cache=cache)
    return means_of_rows(examples.rows(), examples.ids, found)[1]

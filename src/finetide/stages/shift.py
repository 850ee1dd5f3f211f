"""shift: incoming rows against reference rows, on a frozen encoder; verdict, recipe and picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from finetide import base, tasks
from finetide.config.shift import ShiftParams
from finetide.config.stage import Stage
from finetide.config.train import MaxLength, Replay
from finetide.files import sha256_bytes, write_bytes
from finetide.seeding import derive
from finetide.shift.detect import Limits, Sample, Sizes, detect, recipe, without_test
from finetide.shift.plot import picture

BATCH_TOKENS = 4096


def run(stage: Stage) -> None:
    params = stage.section(ShiftParams)
    rows = pd.read_parquet(stage.dep("split.parquet"))
    limits = Limits(
        alpha=params.alpha, **params.model_dump(exclude={"max_rows", "false_alarms_per_year", "windows_per_year"})
    )
    sizes = measure(rows)
    verdict = without_test(sizes, limits)
    chosen = sample_rows(rows, params.max_rows, stage.seed)
    features = None
    if verdict is None:
        features = _embed(stage, chosen)
        verdict = detect(as_sample(chosen, features), sizes, limits, stage.seed)
    verdict.write(stage.out("shift.json"))
    recipe(verdict, stage.value("train.replay", Replay)).write(stage.out("recipe.json"))
    incoming = (chosen["role"] == "incoming").to_numpy()
    texts = chosen["text"] if "text" in chosen else [""] * len(chosen)
    lengths = np.array([float(len(str(text).split())) for text in texts])
    title = f"{verdict.verdict}: {verdict.sentence}"
    write_bytes(stage.out("shift.png"), picture(title, incoming, features, lengths, list(chosen["label"])))
    print(title)


def measure(rows: pd.DataFrame) -> Sizes:
    """Rows a side, the labelled share of the incoming ones, and labels that no reference row has."""
    incoming = rows["role"] == "incoming"
    labelled = incoming & rows["label"].notna()
    known = set(rows.loc[~incoming, "label"].dropna())
    new = tuple(sorted(set(rows.loc[labelled, "label"]) - known))
    return Sizes(int((~incoming).sum()), int(incoming.sum()), float(labelled.sum() / max(1, incoming.sum())), new)


def sample_rows(rows: pd.DataFrame, max_rows: int, seed: int) -> pd.DataFrame:
    """At most ``max_rows`` of each role, of all splits, chosen by a hash of the row id, in the order of the table."""
    kept = []
    for _, side in rows.groupby("role", sort=True):
        rank = side["row_id"].map(lambda row_id: sha256_bytes(f"{seed} {row_id}".encode()))
        kept += rank.sort_values().index[:max_rows].tolist()
    return rows.loc[sorted(kept)].reset_index(drop=True)


def as_sample(rows: pd.DataFrame, features: np.ndarray[Any, Any]) -> Sample:
    """Group labels are used only where every row has one."""
    groups = list(rows["group"]) if rows["group"].notna().all() else None
    labels = [label if isinstance(label, str) else None for label in rows["label"]]
    texts = list(rows["text"]) if "text" in rows else None
    return Sample((rows["role"] == "incoming").to_numpy(), features, labels, texts, groups)


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
    return embed(task, built, task.encode(built, unlabelled), batch_tokens=BATCH_TOKENS, cache=cache)

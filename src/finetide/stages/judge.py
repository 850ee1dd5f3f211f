"""judge: challenger against champion, both as ONNX files, on the same rows. Always succeeds: the verdict decides."""

from __future__ import annotations

from typing import Any

import pandas as pd

from finetide import runtime
from finetide.config.stage import Stage
from finetide.contracts.judge import JudgeVerdict
from finetide.contracts.metrics import METRIC_NAMES
from finetide.contracts.shift import Recipe
from finetide.contracts.window import Window
from finetide.data.payload import read_split
from finetide.evaluation import kinds
from finetide.evaluation.thin import thinned
from finetide.stages.champion import pinned


def run(stage: Stage) -> None:
    """Reads window, split and bundle, and the champion's bundle in serving/; writes judge.json."""
    judging = kinds.judging(stage.task)
    params = stage.section(judging.params)
    window = Window.read(stage.dep("window.json"))
    rows = read_split(stage)
    test = rows[(rows["split"] == "test") & rows["label"].notna()]
    recipe = Recipe.read(stage.dep("recipe.json")) if stage.has_dep("recipe.json") else None
    if recipe is not None and recipe.corrects:  # the challenger is for rows that come otherwise
        test = thinned(test, recipe.priors)
    challenger = runtime.load(stage.dep("bundle"))
    champion = pinned(stage, window)
    before = None if champion is None else _says(champion, test)
    found = judging.judge(test, _says(challenger, test), before, params, stage.seed)
    JudgeVerdict(
        verdict="promote" if found.promote else "reject",
        reason=found.sentence(METRIC_NAMES[params.metric]),
        metric=params.metric,
        rows=found.rows,
        challenger_hash=challenger.hash,
        champion_hash=None if champion is None else champion.hash,
        challenger=found.challenger,
        champion=found.champion,
        difference=None if found.against is None else found.against.value,
        low=None if found.against is None else found.against.low,
        high=None if found.against is None else found.against.high,
        p=found.p,
        slices=found.slices,
    ).write(stage.out("judge.json"))


def _says(model: runtime.Predictor, rows: pd.DataFrame) -> list[Any]:
    values = model.inputs.values(rows)
    return model.predict(values) if values else []

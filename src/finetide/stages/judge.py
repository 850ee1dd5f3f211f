"""judge: challenger against champion, both as ONNX files, on the same rows. Always succeeds: the verdict decides."""

from __future__ import annotations

import pandas as pd

from finetide import runtime
from finetide.config.judge import JudgeParams
from finetide.config.stage import Stage
from finetide.contracts.judge import JudgeVerdict
from finetide.contracts.window import Window
from finetide.data.payload import read_split
from finetide.evaluation.verdict import judge
from finetide.stages.champion import pinned


def run(stage: Stage) -> None:
    """Reads window, split and bundle, and the champion's bundle in serving/; writes judge.json."""
    params = stage.section(JudgeParams)
    window = Window.read(stage.dep("window.json"))
    rows = read_split(stage)
    test = rows[(rows["split"] == "test") & rows["label"].notna()]
    challenger = runtime.load(stage.dep("bundle"))
    champion = pinned(stage, window)
    found = judge(
        list(test["label"]),
        _labels(challenger, test),
        None if champion is None else _labels(champion, test),
        list(test["role"]),
        params,
        stage.seed,
    )
    JudgeVerdict(
        verdict="promote" if found.promote else "reject",
        reason=found.sentence(params.metric),
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


def _labels(model: runtime.Predictor, rows: pd.DataFrame) -> list[str]:
    values = list(rows[model.inputs.column])
    return [prediction.label for prediction in model.predict(values)] if values else []

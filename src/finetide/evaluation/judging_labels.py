"""Judges families that give every row one label; see `finetide.evaluation.kinds.Judging`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from finetide.config.judge import JudgeParams
from finetide.evaluation.verdict import Judgement, judge


class _Labels:
    params = JudgeParams

    def judge(
        self, test: pd.DataFrame, challenger: Sequence[Any], champion: Sequence[Any] | None, params: Any, seed: int
    ) -> Judgement:
        before = None if champion is None else [one.label for one in champion]
        truth, roles = list(test["label"]), list(test["role"])
        return judge(truth, [one.label for one in challenger], before, roles, params, seed)


LABELS = _Labels()

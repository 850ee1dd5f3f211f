"""Which rows are about the same context, and which about nearly the same; for the split (`data.kinds.Contents`).

Questions about one context are all on one side: a model that has learned its answers by heart must not be asked again.
"""

from __future__ import annotations

import pandas as pd

from finetide.data.near import near_pairs
from finetide.data.questions.schema import SCHEMA
from finetide.data.split import NEAR, Texts
from finetide.data.text import Normalised, contents


class _Contexts:
    schema = SCHEMA
    shows = "context"
    words = ("context", "contexts", f"share {NEAR:.0%} or more of their 5-grams")

    def of(self, rows: pd.DataFrame) -> Texts:
        found = contents(rows["context"])
        distinct = Normalised(rows["context"], found.first)
        return Texts(distinct, found.of_row, near_pairs(distinct, NEAR))


CONTENTS = _Contexts()

"""Which images are the same, and which look alike; for the split (`finetide.data.kinds.Contents`)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from finetide.data.images.measure import near_images
from finetide.data.images.schema import SCHEMA
from finetide.data.split import Texts

# Thumbnails that correlate by so much keep two images on one side. No setting: with another value rows would change
# sides.
NEAR = 0.99


class _ImageContents:
    schema = SCHEMA
    shows = "name"
    words = ("image", "images", f"have thumbnails that correlate by {NEAR:g} or more")

    def of(self, rows: pd.DataFrame) -> Texts:
        codes, distinct = pd.factorize(rows["digest"].to_numpy(object))
        first = np.unique(codes, return_index=True)[1]
        looks = rows["look"].to_numpy(object)[first]
        near = near_images([look if isinstance(look, str) else None for look in looks], NEAR)
        return Texts(list(distinct), codes.astype(np.int64), near)


CONTENTS = _ImageContents()

"""Checks of images; those of labels are every family's (`data.checks`). The table is that of `schema.SCHEMA`."""

from __future__ import annotations

import base64

import numpy as np
import pandas as pd

from finetide.config.images import ImageValidateParams
from finetide.contracts.quality import Severity
from finetide.data import checks
from finetide.data.checks import Check
from finetide.data.images.measure import near_images
from finetide.data.images.schema import SCHEMA
from finetide.data.quality import Asked, Quality, judge_rows

SHOWN = 3


class Images:
    """See `finetide.data.quality.Subject`."""

    noun = "image"
    quarantine: tuple[str, ...] = ("row_id", "file", "line", "reason", "name", "label", "fault", "fix")
    one_label = True

    def __init__(self, params: ImageValidateParams, max_length: int) -> None:
        self._params, self._side = params, max_length

    def prepare(self, rows: pd.DataFrame) -> pd.DataFrame:
        numbers = np.where(rows["fault"].isna(), pd.factorize(rows["digest"])[0], -1)
        return rows.assign(content=numbers).reset_index(drop=True)

    def derive(self, sound: pd.DataFrame) -> pd.DataFrame:
        return sound.drop(columns=["content", "look", "start"])

    def by_row(self, table: pd.DataFrame) -> list[Check]:
        return [broken(table), tiny(table, self._params.min_side)]

    def unusable(self, table: pd.DataFrame) -> set[str]:
        return set(table.loc[table["fault"].notna(), "row_id"])

    def by_table(self, kept: pd.DataFrame) -> list[Check]:
        return [
            flat(kept),
            checks.duplicates(kept, "image", ""),
            near_duplicates(kept, self._params.near_duplicate_similarity),
            mixed_modes(kept),
        ]

    def at_last(self, kept: pd.DataFrame) -> list[Check]:
        return [small(kept, self._side)]


def broken(rows: pd.DataFrame) -> Check:
    """Images that `finetide.images.decode` refuses."""
    name, bad = "image that cannot be used", rows["fault"].notna()
    if not bad.any():
        return Check(name, "critical", "every image can be decoded to its end", column="fault")
    counts = rows.loc[bad, "fault"].value_counts(sort=False)
    first = rows[bad].drop_duplicates("fault").head(SHOWN)
    said = "; ".join(
        f"{row_id} ({name}) {fault}"
        for row_id, name, fault in first[["row_id", "name", "fault"]].itertuples(index=False)
    )
    more = f", and {len(counts) - SHOWN} other kinds" if len(counts) > SHOWN else ""
    fixes = "; ".join(dict.fromkeys(rows.loc[bad, "fix"].dropna()))
    return Check(name, "critical", "", f"{_images(bad)} unusable: {said}{more}", fixes, "fault", _ids(rows, bad))


def tiny(rows: pd.DataFrame, minimum: int) -> Check:
    name = "tiny image"
    sides = rows[["width", "height"]].min(axis=1)
    bad = rows["fault"].isna() & (sides < minimum)
    if not bad.any():
        return Check(name, "critical", f"every image has {minimum} pixels a side or more")
    first = rows[bad].iloc[0]
    said = (
        f"{_images(bad)} smaller than {minimum} pixels a side (validate.min_side), e.g. {first['row_id']} "
        f"({first['name']}), {first['width']} × {first['height']}"
    )
    return Check(name, "critical", "", said, "bring the image in its size, or delete the row", "name", _ids(rows, bad))


def flat(rows: pd.DataFrame) -> Check:
    """Images of one colour: a lens cap, a failed scan."""
    name = "empty image"
    bad = rows["look"].notna() & rows["look"].isin([look for look in rows["look"].dropna().unique() if _is_flat(look)])
    if not bad.any():
        return Check(name, "warning", "no image is of one colour")
    first = rows[bad].iloc[0]
    said = f"{_images(bad)} of one colour, e.g. {first['row_id']} ({first['name']})"
    return Check(name, "warning", "", said, "look at them; delete those that show nothing", "name", _ids(rows, bad))


def _is_flat(look: str) -> bool:
    values = np.frombuffer(base64.b64decode(look), np.uint8)
    return int(values.max()) - int(values.min()) <= 1


def near_duplicates(rows: pd.DataFrame, threshold: float) -> Check:
    """Images whose thumbnail is nearly that of an earlier one, exact copies left out."""
    name = "near-duplicate image"
    first = rows[~rows["content"].duplicated() & (rows["content"] >= 0)]
    pairs = near_images([look if isinstance(look, str) else None for look in first["look"]], threshold)
    if not len(pairs):
        return Check(name, "warning", f"no two thumbnails correlate by {threshold:g}")
    ids = first["row_id"].to_numpy()
    chosen = np.lexsort((pairs.older, pairs.newer))[0]
    newer = tuple(str(row_id) for row_id in ids[np.unique(pairs.newer)])
    said = (
        f"{len(newer)} images look like an earlier one (thumbnails correlate by {threshold:g} or more), e.g. "
        f"{ids[pairs.newer[chosen]]} like {ids[pairs.older[chosen]]} ({pairs.similarity[chosen]:.3f})"
    )
    return Check(
        name, "warning", "", said, "delete those that show nothing new; split keeps them on one side", "name", newer
    )


def mixed_modes(rows: pd.DataFrame) -> Check:
    """Grey and colour together: where one label is grey, a model learns the mode."""
    name = "grey and colour"
    counts = rows.loc[rows["fault"].isna(), "mode"].value_counts()
    if len(counts) < 2:
        return Check(name, "info", f"all images are {'grey' if 'L' in counts else 'in colour'}")
    rarer = str(counts.index[-1])
    bad = rows["mode"] == rarer
    said = f"{int(counts.get('L', 0))} images are grey, {int(counts.get('RGB', 0))} are in colour"
    labels = rows.loc[rows["label"].notna()].groupby("label", observed=True)["mode"].nunique()
    alone = labels.index[labels == 1].tolist()
    severity: Severity = "warning" if alone else "info"
    if alone:
        said += f"; the mode gives away labels that have one only, e.g. {alone[0]!r}"
    return Check(name, severity, "", said, "save all in one mode, if the mode means nothing", "mode", _ids(rows, bad))


def small(rows: pd.DataFrame, side: int) -> Check:
    name = "image smaller than the model reads"
    bad = rows["fault"].isna() & (rows[["width", "height"]].max(axis=1) < side)
    if not bad.any():
        return Check(name, "info", f"no image must be enlarged to {side} pixels (train.max_length)")
    said = f"{_images(bad)} enlarged to {side} pixels a side (train.max_length), which adds work and no detail"
    return Check(name, "info", "", said, "lower train.max_length, if the base allows it", "name", _ids(rows, bad))


def _images(mask: pd.Series[bool]) -> str:
    count = int(mask.sum())
    return f"{count} image is" if count == 1 else f"{count} images are"


def _ids(rows: pd.DataFrame, mask: pd.Series[bool]) -> tuple[str, ...]:
    return tuple(rows.loc[mask, "row_id"])


class _ImageChecks:
    """See `finetide.data.kinds.Checks`."""

    schema = SCHEMA
    params = ImageValidateParams

    def assess(self, rows: pd.DataFrame, asked: Asked) -> Quality:
        subject = Images(asked.params, asked.max_length)
        return judge_rows(rows, asked.suite, asked.params, subject, first_window=asked.first_window)


CHECKS = _ImageChecks()

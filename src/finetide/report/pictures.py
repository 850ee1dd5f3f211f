"""Small pictures of rows whose content is an image, for pages that load nothing."""

from __future__ import annotations

import base64
import io
from collections.abc import Collection
from pathlib import Path

from PIL import Image

from finetide.data.payload import Store
from finetide.images import ImageError, decode

# Pixels of the longer side. Smaller images are enlarged by whole factors, so that their pixels can be seen.
SIDE = 96


def pictures(split: Path, store: Path, wanted: Collection[str]) -> dict[str, str]:
    """Row id → a PNG as data URI, for the wanted rows that have an image; none at all where rows are texts.

    Args: split: split.parquet; store: payload.bin beside it, see `finetide.data.payload`.
    """
    import pyarrow.parquet as pq

    if not wanted or not store.exists() or "start" not in pq.read_schema(split).names:
        return {}
    columns = ["row_id", "start", "size"]
    rows = pq.read_table(split, columns=columns, filters=[("row_id", "in", list(wanted))]).to_pylist()
    opened, found = Store(store), {}
    for row in rows:
        try:
            image = decode(opened.read(row["start"], row["size"]))
        except ImageError:
            continue
        found[row["row_id"]] = f"data:image/png;base64,{base64.b64encode(_png(image)).decode()}"
    return found


def _png(image: Image.Image) -> bytes:
    longer = max(image.size)
    if longer > SIDE:
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    elif SIDE // longer > 1:
        factor = SIDE // longer
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()

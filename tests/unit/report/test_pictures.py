"""Rows of images are shown as pictures; rows of texts, and images that cannot be read, are not."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from finetide.data.payload import Writer
from finetide.report import pictures as module
from finetide.report.pictures import SIDE, pictures
from support.images import encoded, picture


def written(folder: Path, contents: dict[str, bytes]) -> tuple[Path, Path]:
    rows = []
    with Writer(folder / "payload.bin") as store:
        for name, data in contents.items():
            _, start = store.add(data)
            rows.append({"row_id": name, "start": start, "size": len(data)})
    pd.DataFrame(rows).to_parquet(folder / "split.parquet")
    return folder / "split.parquet", folder / "payload.bin"


def shown(uri: str) -> Image.Image:
    head, _, body = uri.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(body)))


def test_wanted_rows_by_their_ids(tmp_path: Path) -> None:
    small, large = picture("disc", 1, 8), picture("ring", 2, 300)
    split, store = written(tmp_path, {"a": encoded(small), "b": encoded(large), "c": b"no image"})
    found = pictures(split, store, {"a", "b", "c", "d"})
    assert sorted(found) == ["a", "b"]
    np.testing.assert_array_equal(np.asarray(shown(found["a"]))[::12, ::12], np.asarray(small))
    assert shown(found["b"]).size == (SIDE, SIDE)
    assert pictures(split, store, {"b"}).keys() == {"b"}


@pytest.mark.parametrize("missing", ["wanted", "store", "columns"])
def test_where_there_is_none(tmp_path: Path, missing: str) -> None:
    split, store = written(tmp_path, {"a": encoded(picture("disc", 1))})
    if missing == "store":
        store.unlink()
    if missing == "columns":
        pd.DataFrame({"row_id": ["a"], "text": ["x"]}).to_parquet(split)
    assert pictures(split, store, set() if missing == "wanted" else {"a"}) == {}


def test_wide_images_keep_their_shape(tmp_path: Path) -> None:
    split, store = written(tmp_path, {"a": encoded(Image.new("L", (400, 100), 9))})
    assert shown(module.pictures(split, store, ["a"])["a"]).size == (SIDE, SIDE // 4)

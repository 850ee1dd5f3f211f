"""Images as numbers (MNIST's IDX, NumPy's NPZ) and as bytes in a Parquet file → images."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from finetide.config.images import ImageColumnParams
from finetide.data.images.archive import require
from finetide.data.images.found import Found
from finetide.data.readers import as_string
from finetide.errors import DataError

Array = np.ndarray[Any, np.dtype[Any]]
# What a file of arrays may unpack to.
MAX_BYTES = 8 << 30
SIDES = ("train", "val", "test")
AGAIN = "copy or download the file again"
ROWS = 256


def is_labels(name: str) -> bool:
    """MNIST's companion of a file of images."""
    return "-idx1-" in name.lower()


def labels_name(name: str) -> str:
    """``…images-idx3-ubyte.gz`` → ``…labels-idx1-ubyte.gz``."""
    return name.replace("images-idx3-", "labels-idx1-")


def read_idx(path: Path, name: str, companion: Path | None) -> Iterator[Found]:
    """The images of ``path`` with the labels of ``companion``; without one they have none.

    Raises: DataError for other magic numbers, sizes that do not fit, and labels of another number.
    """
    images = _idx(path, name, 3)
    labels = None
    if companion is not None:
        labels = _idx(companion, labels_name(name), 1)
        if len(labels) != len(images):
            raise DataError(
                f"has {len(labels)} labels, {Path(name).name} has {len(images)} images",
                where=labels_name(name),
                fix="bring the two files that belong together",
            )
    for place, image in enumerate(images):
        yield Found(place + 1, f"image {place + 1}", _png(image), None if labels is None else str(int(labels[place])))


def _idx(path: Path, name: str, axes: int) -> Array:
    try:
        if path.name.lower().endswith(".gz"):
            with gzip.open(path) as stream:
                data = stream.read(MAX_BYTES + 1)
        else:
            data = path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise DataError(f"is a broken gzip file: {error}", where=name, fix=AGAIN) from error
    if len(data) > MAX_BYTES:
        raise DataError(f"unpacks to more than {MAX_BYTES:,} bytes", where=name, fix="cut it into smaller files")
    if data[:3] != b"\0\0\x08" or len(data) < 4 + 4 * axes or data[3] != axes:
        raise DataError(f"is no IDX file of bytes with {axes} axes", where=name, found=data[:4].hex(" "), fix=AGAIN)
    shape = [int.from_bytes(data[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(axes)]
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * axes)
    if len(values) != int(np.prod(shape, dtype=np.int64)):
        raise DataError(
            f"holds {len(values)} values, its header promises {' × '.join(map(str, shape))}", where=name, fix=AGAIN
        )
    return values.reshape(shape)


def read_npz(path: Path, name: str) -> Iterator[Found]:
    """``images`` and ``labels``, or those of MedMNIST: ``train_images``, ``train_labels``, and of val and test.

    Raises: DataError for other names, shapes and types; nothing is unpickled.
    """
    try:
        with np.load(path, allow_pickle=False) as opened:
            names = list(opened.files)
            pairs = [(f"{side}_images", f"{side}_labels", side) for side in SIDES if f"{side}_images" in names]
            if "images" in names:
                pairs.append(("images", "labels", ""))
            if not pairs:
                raise DataError(
                    "has no array `images`, and none of train_images, val_images, test_images",
                    where=name,
                    found=", ".join(names),
                    fix="save it with np.savez(FILE, images=…, labels=…)",
                )
            line = 0
            for images, labels, side in pairs:
                found = _checked(opened[images], opened[labels] if labels in names else None, name, images)
                for place in range(len(found[0])):
                    line += 1
                    label = None if found[1] is None else as_string(found[1][place].item())
                    yield Found(line, f"{images}[{place}]", _png(found[0][place]), label, side or None)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise DataError(
            f"is a damaged NPZ file, or holds pickled objects, which are never read: {error}", where=name, fix=AGAIN
        ) from error


def _checked(images: Array, labels: Array | None, name: str, called: str) -> tuple[Array, Array | None]:
    grey = images.ndim == 3
    if images.dtype != np.uint8 or not (grey or (images.ndim == 4 and images.shape[3] in (1, 3, 4))):
        raise DataError(
            f"{called} must be uint8 of shape [rows, height, width], or with 1, 3 or 4 channels at the end",
            where=name,
            found=f"{images.dtype} {list(images.shape)}",
            fix="scale the values to 0–255 and put the channels last",
        )
    if labels is None:
        return images, None
    flat = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if flat.ndim != 1 or len(flat) != len(images) or flat.dtype.kind not in "iuUbf":
        raise DataError(
            f"labels of {called} must be one number or word an image",
            where=name,
            found=f"{labels.dtype} {list(labels.shape)} for {len(images)} images",
            fix="save one label an image",
        )
    return images, flat


def _png(values: Array) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values).save(
        stream, "PNG", compress_level=1
    )
    return stream.getvalue()


def read_parquet(path: Path, name: str, columns: ImageColumnParams) -> Iterator[Found]:
    """Bytes in the image's column, bare or as ``{bytes, path}``, which is how Hugging Face writes them.

    Raises: DataError for a damaged file, missing columns, or an image's column that holds no bytes.
    """
    try:
        with pq.ParquetFile(path) as file:
            names = list(file.schema_arrow.names)
            require(names, name, columns)
            kind = file.schema_arrow.field(columns.image).type
            bare = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
            if not bare and not (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0):
                raise DataError(
                    f"column {columns.image!r} holds no bytes",
                    where=name,
                    found=str(kind),
                    fix="write the encoded image files into it, as binary",
                )
            chosen = [one for one in (columns.image, columns.label, columns.split, columns.group) if one in names]
            line = 0
            for batch in file.iter_batches(batch_size=ROWS, columns=list(dict.fromkeys(chosen))):
                cells = {column: batch.column(column).to_pylist() for column in batch.schema.names}
                for place in range(batch.num_rows):
                    line += 1
                    yield _row(line, {column: values[place] for column, values in cells.items()}, columns, name)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise DataError(f"is a damaged or truncated Parquet file: {error}", where=name, fix=AGAIN) from error


def _row(line: int, cells: dict[str, Any], columns: ImageColumnParams, name: str) -> Found:
    value = cells[columns.image]
    data = value.get("bytes") if isinstance(value, dict) else value
    path = value.get("path") if isinstance(value, dict) else None

    def word(column: str | None) -> str | None:
        try:
            found = as_string(cells.get(column)) if column else None
        except TypeError as error:
            raise DataError(
                f"column {column!r} holds no text", where=f"{name}, row {line}", found=str(error), fix="write one value"
            ) from error
        return found if found and not found.isspace() else None

    return Found(
        line, path or f"row {line}", data or b"", word(columns.label), word(columns.split), word(columns.group)
    )

"""Encoded image → tensor, the one way that training and serving share (Pillow and NumPy, nothing else)."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from finetide.errors import BaseModelError

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Floats = np.ndarray[Any, np.dtype[np.float32]]
# More pixels than any camera's picture: a file that says so is an attack or a fault, and is not unpacked.
MAX_PIXELS = 64_000_000
# Of 8 bits a channel, or fewer. Other modes have values whose range only their owner knows.
MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA"})
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
SPEC_FILE = "image.json"
PROCESSOR = "preprocessor_config.json"


class ImageError(ValueError):
    """An image that cannot be used; the message says why, ``fix`` what to do."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what)
        self.fix = fix


@dataclass(frozen=True)
class Spec:
    """How an image becomes a tensor [channels, side, side].

    ``crop``: share of the resized image's shorter side that is kept in the middle; None: the whole image is stretched
    to the square. ``resample``: Pillow's number of the filter. Values are multiplied by ``scale``, then ``mean`` is
    taken off and ``std`` divided by, one number a channel.
    """

    side: int
    channels: int
    crop: float | None
    resample: int
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        return {"schema_version": 1, **asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, value: Any) -> Spec:
        """Raises: ValueError for what `as_json` would not give."""
        if not isinstance(value, dict) or value.get("schema_version") != 1:
            raise ValueError("is no image spec of schema 1")
        given = {name: entry for name, entry in value.items() if name != "schema_version"}
        if set(given) != set(cls.__dataclass_fields__):
            raise ValueError(f"has the keys {', '.join(sorted(given))}")
        made = cls(**{**given, "mean": tuple(given["mean"]), "std": tuple(given["std"])})
        if made.channels not in (1, 3) or len(made.mean) != made.channels or len(made.std) != made.channels:
            raise ValueError("mean and std need one number a channel, and 1 or 3 channels")
        return made


def spec_of(config: Mapping[str, Any], side: int, channels: int) -> Spec:
    """The spec that a Hugging Face ``preprocessor_config.json`` means, at ``side`` pixels.

    Raises: ValueError: it asks for a step that is not known here.
    """
    size = config.get("size", side)
    crop = float(config.get("crop_pct") or 0.875) if isinstance(size, Mapping) and "shortest_edge" in size else None
    if config.get("do_center_crop") and isinstance(size, Mapping) and "crop_size" in config:
        crop = _share(config["crop_size"], size) or crop
    if side < 1:
        raise ValueError("size must be at least one pixel")
    normalises = bool(config.get("do_normalize", True))
    mean, std = (_channels(config.get(key), channels, key) for key in ("image_mean", "image_std"))
    if normalises and min(std) <= 0:
        raise ValueError("image_std must be above 0, or every pixel becomes infinite")
    resample = config.get("resample", Image.Resampling.BILINEAR)
    if resample not in list(Image.Resampling):
        raise ValueError(f"resample must be one of Pillow's numbers, 0 to {max(Image.Resampling)}")
    return Spec(
        side=side,
        channels=channels,
        crop=crop,
        resample=int(resample),
        scale=float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0,
        mean=mean if normalises else (0.0,) * channels,
        std=std if normalises else (1.0,) * channels,
    )


def _share(cropped: Any, size: Mapping[str, Any]) -> float | None:
    inner = cropped.get("height") if isinstance(cropped, Mapping) else cropped
    outer = size.get("height", size.get("shortest_edge"))
    return float(inner) / float(outer) if inner and outer and inner < outer else None


def _channels(value: Any, channels: int, key: str) -> tuple[float, ...]:
    numbers = tuple(float(entry) for entry in (value if isinstance(value, Sequence) else [value]) if entry is not None)
    if len(numbers) == channels:
        return numbers
    if channels == 1 and numbers:
        return (sum(numbers) / len(numbers),)
    if len(numbers) == 1:
        return numbers * channels
    raise ValueError(f"{key} must have {channels} numbers")


def decode(data: bytes) -> Image.Image:
    """An image in mode L or RGB, upright, decoded to its last line. What is transparent becomes white.

    Raises: ImageError: no image, a broken or truncated one, too many pixels or frames, or another mode than `MODES`.
    """
    if not data:
        raise ImageError("is empty", "bring the file again, or delete the row")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about metadata; and about many pixels, which is refused below
        try:
            opened = Image.open(io.BytesIO(data), formats=FORMATS)
        except UnidentifiedImageError:
            raise ImageError("is no image", f"bring it as one of {', '.join(FORMATS)}, or delete the row") from None
        except Image.DecompressionBombError:
            raise _bomb("more") from None
        except Exception as error:  # the readers of damaged headers raise all kinds
            raise _damaged(error, "opened") from error
        _refuse(opened)
        try:
            opened.load()
            upright = ImageOps.exif_transpose(opened)
        except Exception as error:  # and so do the decoders
            raise _damaged(error, "decoded") from error
    return _plain(upright)


def _damaged(error: Exception, what: str) -> ImageError:
    said = " ".join(str(error).split())[:200] or type(error).__name__
    cut = "truncated" in said.lower()
    return ImageError(
        "is truncated" if cut else f"cannot be {what}: {said}", "bring the whole file again, or delete the row"
    )


def _bomb(pixels: str) -> ImageError:
    return ImageError(
        f"says it has {pixels} pixels than the {MAX_PIXELS:,} that are taken (a decompression bomb?)",
        "scale it down, or delete the row",
    )


def _refuse(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _bomb(f"{width} × {height}, more")
    if getattr(image, "n_frames", 1) > 1:
        raise ImageError(f"has {image.n_frames} frames", "save the frame that counts as an image of its own")  # type: ignore[attr-defined]
    if image.mode not in MODES:
        raise ImageError(f"has mode {image.mode}", "save it as 8-bit grey or RGB")


def _plain(image: Image.Image) -> Image.Image:
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        whole = image.convert("RGBA")
        white = Image.new("RGBA", whole.size, (255, 255, 255, 255))
        flat = Image.alpha_composite(white, whole).convert("RGB")
        return flat.convert("L") if image.mode == "LA" else flat
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def square(data: bytes, spec: Spec) -> Bytes:
    """uint8 [side, side, channels]. Raises: ImageError."""
    return fit(decode(data), spec)


def fit(image: Image.Image, spec: Spec) -> Bytes:
    """A decoded image brought to the square: uint8 [side, side, channels]."""
    image = image.convert("L" if spec.channels == 1 else "RGB")
    side, resample = spec.side, Image.Resampling(spec.resample)
    if spec.crop is None:
        made = image.resize((side, side), resample)
    else:
        width, height = image.size
        shorter = round(side / spec.crop)
        longer = int(shorter * max(width, height) / min(width, height))  # rounded down, as transformers does
        size = (shorter, longer) if width <= height else (longer, shorter)
        left, top = (size[0] - side) // 2, (size[1] - side) // 2
        made = image.resize(size, resample).crop((left, top, left + side, top + side))
    found: Bytes = np.asarray(made, dtype=np.uint8).reshape(side, side, spec.channels)
    return found


def tensor(squares: Bytes, spec: Spec) -> Floats:
    """uint8 [rows, side, side, channels] → float32 [rows, channels, side, side], as the model reads it."""
    values = squares.transpose(0, 3, 1, 2).astype(np.float32)
    mean, std = (np.array(part, np.float32).reshape(1, -1, 1, 1) for part in (spec.mean, spec.std))
    made: Floats = np.ascontiguousarray((values * np.float32(spec.scale) - mean) / std)
    return made


def spec_bytes(spec: Spec) -> bytes:
    """The file that a bundle carries; equal specs give equal bytes."""
    return (json.dumps(spec.as_json(), sort_keys=True, indent=2) + "\n").encode()


def check_processor(folder: Path) -> None:
    """Raises: BaseModelError: a base's ``preprocessor_config.json`` asks for what is not known, or spoils images."""
    path = folder / PROCESSOR
    found = json.loads(path.read_text(encoding="utf-8"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    try:
        size = found.get("size")
        side = size.get("height", size.get("shortest_edge")) if isinstance(size, dict) else size
        if size is not None and type(side) is not int:
            raise ValueError("size says no whole number of pixels")
        spec_of(found, 32 if side is None else side, int(config.get("num_channels", 3)))
    except (ValueError, TypeError, AttributeError) as error:
        raise BaseModelError(str(error), where=str(path), fix="restore it, or correct it by hand") from error

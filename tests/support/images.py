"""Small images that differ by label, files of them, and tiny random vision models."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
from PIL import Image

from finetide.files import sha256_file

LABELS = ("bar", "disc", "ring")
SIDE = 32
SIZES: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "image_size": SIDE,
    "patch_size": 8,
}  # fmt: skip
# Family → settings of its config class: two blocks each, or as few as it can have.
FAMILIES: dict[str, dict[str, Any]] = {
    "ViT": SIZES,
    "DeiT": SIZES,
    "Dinov2": {**SIZES, "mlp_ratio": 2},
    "Swin": {"image_size": SIDE, "patch_size": 4, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2],
             "window_size": 4},
    "ResNet": {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1], "layer_type": "basic"},
    "ConvNext": {"hidden_sizes": [16, 32], "depths": [1, 1], "num_stages": 2, "patch_size": 4},
    "MobileNetV2": {"depth_multiplier": 0.25, "image_size": SIDE, "finegrained_output": False},
}  # fmt: skip


def picture(label: str, seed: int, side: int = SIDE, *, dark: bool = False) -> Image.Image:
    """A shape on noise and a slope of light, its place drawn; RGB."""
    chance = np.random.default_rng([seed, LABELS.index(label)])
    values = chance.integers(0, 60, (side, side, 3)).astype(np.float64)
    y, x = np.mgrid[:side, :side]
    angle = 2 * np.pi * chance.random()
    values += (chance.uniform(20, 90) * (np.cos(angle) * x + np.sin(angle) * y) / side)[..., None]
    middle = side * (0.35 + 0.3 * chance.random(2))
    away = np.hypot(y - middle[0], x - middle[1])
    shape = {
        "disc": away < side * 0.22,
        "ring": (away > side * 0.2) & (away < side * 0.32),
        "bar": np.abs(y - middle[0]) < side * 0.08,
    }[label]
    values[shape] += chance.uniform(90, 190, 3)
    return Image.fromarray((values * (0.5 if dark else 1.0)).clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def members(count: int = 20, *, dark: bool = False, start: int = 0) -> dict[str, bytes]:
    """``LABEL/NNN.png`` → bytes, ``count`` a label."""
    return {
        f"{label}/{place:03}.png": encoded(picture(label, place, dark=dark))
        for label in LABELS
        for place in range(start, start + count)
    }


def write_zip(path: Path, files: dict[str, bytes], change: Callable[[zipfile.ZipInfo], None] | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o644 << 16
            if change:
                change(info)
            archive.writestr(info, data)
    return path


def write_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def processor(side: int = SIDE) -> dict[str, Any]:
    """preprocessor_config.json as transformers writes it."""
    return {
        "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.5, 0.25, 0.2], "resample": 2, "rescale_factor": 1 / 255,
        "size": {"height": side, "width": side},
    }  # fmt: skip


@cache
def _made(family: str) -> Path:
    import logging

    import torch
    import transformers

    logging.getLogger("transformers").setLevel(logging.ERROR)
    folder = Path(tempfile.mkdtemp(prefix="finetide-micro-"))
    torch.manual_seed(7)
    config = getattr(transformers, f"{family}Config")(**FAMILIES[family])
    getattr(transformers, f"{family}Model")(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(processor()))
    return folder


def micro_vision(folder: Path, family: str = "ViT") -> str:
    """Write the base into ``folder``; returns the SHA-256 of its model.safetensors."""
    copytree(_made(family), folder, dirs_exist_ok=True)
    return sha256_file(folder / "model.safetensors")


def idx(values: np.ndarray[Any, Any]) -> bytes:
    """MNIST's format."""
    head = bytes([0, 0, 8, values.ndim]) + b"".join(int(size).to_bytes(4, "big") for size in values.shape)
    return head + values.astype(np.uint8).tobytes()


def names(found: Iterable[Any]) -> list[str]:
    return [one.name for one in found]

"""Makes examples/digits anew, as `finetide init` writes it: python examples/make_digits.py

Reference: scikit-learn's bundled digits, 8 × 8 pixels, light on black, written by hand. Incoming: digits of Pillow's
own font, dark on a bright uneven ground, turned, of many sizes, 28 × 28 pixels.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_digits

SIDE, COUNT, SEED = 28, 600, 20261122


def written() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Images, uint8 [1797, 8, 8], and labels of what people wrote."""
    found = load_digits()
    return (found.images * (255 / 16)).round().astype(np.uint8), found.target.astype(np.uint8)


def printed() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Images, uint8 [COUNT, SIDE, SIDE], and labels of what the font prints."""
    chance = np.random.default_rng(SEED)
    labels = np.arange(COUNT, dtype=np.uint8) % 10
    return np.stack([one(int(label), chance) for label in labels]), labels


def one(label: int, chance: np.random.Generator) -> np.ndarray[Any, Any]:
    """A digit on paper: uneven light, a pen darker than the paper, some grain."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    angle = chance.uniform(0, 2 * np.pi)
    paper = chance.uniform(170, 230) + chance.uniform(10, 60) * (np.cos(angle) * x + np.sin(angle) * y)
    large = Image.new("L", (4 * SIDE, 4 * SIDE))
    font = ImageFont.load_default(chance.uniform(60, 100))
    middle = 2 * SIDE + chance.uniform(-12, 12, 2)
    ImageDraw.Draw(large).text(tuple(middle), str(label), fill=255, font=font, anchor="mm")
    turned = large.rotate(chance.uniform(-20, 20), Image.Resampling.BICUBIC)
    ink = np.asarray(turned.resize((SIDE, SIDE), Image.Resampling.LANCZOS), float) / 255
    values = paper - ink * chance.uniform(90, 150) + chance.normal(0, 6, paper.shape)
    return values.clip(0, 255).astype(np.uint8)


def make(target: Path) -> None:
    """Write the project into ``target``, a new folder: the base lies in it, and git carries the raw files."""
    with tempfile.TemporaryDirectory() as made:
        scratch = Path(made)
        for name, (images, labels) in (("written", written()), ("printed", printed())):
            np.savez_compressed(scratch / f"{name}.npz", images=images, labels=labels)
        base = scratch / "base"
        _finetide("base", str(base), "--architecture", "resnet", "--side", "32", "--channels", "1")
        project(target, scratch / "written.npz", scratch / "printed.npz", base)
    for left in (".git", ".finetide", ".dvc/cache", ".dvc/tmp"):
        shutil.rmtree(target / left, ignore_errors=True)
    (target / "finetide.lock").unlink()  # which code made what; the first run writes it


def project(target: Path, reference: Path, incoming: Path, base: Path) -> None:
    """`finetide init`, and then the base inside the project."""
    _finetide(
        "init", str(target), "--task", "image-classification", "--name", "digits", "--reference", str(reference),
        "--incoming", str(incoming), "--base", str(base), "--from-scratch",
    )  # fmt: skip
    shutil.copytree(base, target / "base")
    params = target / "params.yaml"
    params.write_text(re.sub(r"source: path:\S+", "source: path:base", params.read_text()))


def _finetide(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "finetide", *arguments], check=True)


if __name__ == "__main__":
    make(Path(__file__).parent / "digits")

"""A fine-tuned image classifier of transformers as weights of ours, and whether it is shown the same pixels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import transformers

from finetide import adopted
from finetide.base import IMAGES
from finetide.errors import BaseModelError
from finetide.images import decode, fit, spec_of, tensor
from finetide.task import ModelSettings
from finetide.tasks.adopted import Original, convert
from finetide.tasks.quiet import quiet

# Images that are compared with transformers' own processor, and how far a value may be off: no level of any pixel.
PICTURES, PIXELS = 16, 1e-3


def convert_images(
    weights: Path, folder: Path, images: Sequence[bytes], settings: ModelSettings, *, task: str
) -> Original:
    """`convert` for a classifier of images. Args: images: encoded, as the rows have them."""
    labels = adopted.labels_of(weights, settings.labels)
    check_pixels(weights, images, settings.max_length)
    model = convert(weights, folder, task=task, labels=labels, preprocessing=IMAGES)
    return Original(model, ("pixel_values",), [labels.index(label) for label in settings.labels])


def check_pixels(weights: Path, images: Sequence[bytes], side: int) -> None:
    """Raises: BaseModelError: transformers' own image processor makes other pixels of an image than ours does."""
    some = [decode(one) for one in images[:PICTURES]]
    if not some:
        return
    channels = int(adopted.read_config(weights).get("num_channels", 3))
    spec = spec_of(json.loads((weights / IMAGES).read_text(encoding="utf-8")), side, channels)
    some = [one.convert("L" if channels == 1 else "RGB") for one in some]
    try:
        with quiet():
            theirs: Any = transformers.AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
                weights, local_files_only=True, trust_remote_code=False, backend="pil"
            )
            found = [np.asarray(theirs(images=one, return_tensors="np")["pixel_values"][0]) for one in some]
    except Exception as error:  # of a file that it does not know it raises all kinds
        raise BaseModelError(
            f"transformers cannot use its own image processor: {' '.join(str(error).split())[:200]}",
            where=str(weights / IMAGES), fix="save the image processor that training used once more beside the weights",
        ) from error  # fmt: skip
    for image, one in zip(some, found, strict=True):
        ours = tensor(fit(image, spec)[None], spec)[0]
        same = one.shape == ours.shape
        if not same or float(np.abs(one - ours).max()) > PIXELS:
            raise BaseModelError(
                "transformers' own image processor makes other pixels of an image than Finetide does",
                where=str(weights / IMAGES),
                found=f"off by up to {np.abs(one - ours).max():.2g}" if same else f"{one.shape}, not {ours.shape}",
                fix="its way to resize or crop is not known here exactly: bring the images to the model's size first, "
                "or fine-tune with a processor that resizes to height and width",
            )  # fmt: skip

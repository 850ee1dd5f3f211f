"""A vision encoder with random weights as a base folder: something to train from scratch, with no download."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModel

from finetide.tasks.image_classification import PREPROCESSOR
from finetide.tasks.weights import WEIGHTS

# Architecture → size → settings of its config in transformers. Attention takes 64 patches, whatever the side.
SIZES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "resnet": {
        "tiny": {"embedding_size": 32, "hidden_sizes": [32, 64, 128], "depths": [1, 1, 1], "layer_type": "basic"},
        # ResNet-18 (He et al. 2016).
        "small": {
            "embedding_size": 64, "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2], "layer_type": "basic",
        },
    },
    "convnext": {
        "tiny": {"hidden_sizes": [32, 64, 128], "depths": [2, 2, 2], "num_stages": 3, "patch_size": 2},
        "small": {"hidden_sizes": [48, 96, 192, 384], "depths": [2, 2, 6, 2], "num_stages": 4, "patch_size": 2},
    },
    "vit": {
        "tiny": {"hidden_size": 96, "num_hidden_layers": 6, "num_attention_heads": 3, "intermediate_size": 384},
        # DeiT-Ti (Touvron et al. 2021).
        "small": {"hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3, "intermediate_size": 768},
    },
}  # fmt: skip
PATCHES = 8
# Of a side: less leaves nothing after the strides of a convolutional net, more no pixels for 8 × 8 patches.
STEP = 8


def write(folder: Path, *, architecture: str, size: str, side: int, channels: int, seed: int) -> int:
    """Config, weights and image processor into ``folder``, which must exist; equal arguments give equal bytes.

    Args: side: pixels, a multiple of `STEP`; channels: 1 or 3.

    Returns: how many parameters it has.
    """
    given = dict(SIZES[architecture][size])
    if architecture == "vit":
        given.update(image_size=side, patch_size=side // PATCHES)
    config = AutoConfig.for_model(architecture, num_channels=channels, **given)
    torch.manual_seed(seed)
    model = AutoModel.from_config(config, **({"add_pooling_layer": False} if architecture == "vit" else {}))  # type: ignore[no-untyped-call]
    model.config.save_pretrained(folder)
    state = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    processor = {
        "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": [0.5] * channels,
        "image_std": [0.5] * channels, "resample": 2, "rescale_factor": 1 / 255,
        "size": {"height": side, "width": side},
    }  # fmt: skip
    text = json.dumps(processor, sort_keys=True, indent=2) + "\n"
    (folder / PREPROCESSOR).write_text(text, encoding="utf-8")
    return sum(value.numel() for value in model.parameters())

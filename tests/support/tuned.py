"""Fine-tuned models as transformers saves them: micro encoders with its own heads, random or trained."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

from support.micro import micro_base

NAMES = ("account", "delivery", "money")
IMAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "ViT": ("ViTForImageClassification", {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "image_size": 32,
        "patch_size": 8}),
    "DeiT": ("DeiTForImageClassification", {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "image_size": 32,
        "patch_size": 8}),
    "Dinov2": ("Dinov2ForImageClassification", {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}),
    "Swin": ("SwinForImageClassification", {
        "image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4}),
    "ResNet": ("ResNetForImageClassification", {
        "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}),
    "ConvNext": ("ConvNextForImageClassification", {
        "hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "patch_size": 2}),
    "MobileNetV2": ("MobileNetV2ForImageClassification", {"depth_multiplier": 0.35, "image_size": 32}),
}  # fmt: skip
PROCESSOR = (
    '{"do_resize": true, "size": {"height": 32, "width": 32}, "resample": 2, "do_rescale": true, '
    '"rescale_factor": 0.00392156862745098, "do_normalize": true, "image_mean": [0.5, 0.5, 0.5], '
    '"image_std": [0.5, 0.5, 0.5]}'
)


def tuned_text(
    folder: Path, family: str = "Bert", *, names: tuple[str, ...] | None = NAMES, kind: str = "SequenceClassification",
    **more: Any,
) -> Path:  # fmt: skip
    """A random model with a head, as save_pretrained writes it. Args: names: id2label; None: transformers' own.

    Biases and norms are random too: at their first values half of a wrong translation would not show.
    """
    import torch
    import transformers

    logging.getLogger("transformers").setLevel(logging.ERROR)
    micro_base(folder, family=family)
    if names is not None and kind == "SequenceClassification":
        more = {
            "id2label": dict(enumerate(names)),
            "label2id": {name: place for place, name in enumerate(names)},
            **more,
        }
    config = transformers.AutoConfig.from_pretrained(folder, **more)
    torch.manual_seed(11)
    model = getattr(transformers, f"{family}For{kind}")(config)
    _shake(model)
    model.save_pretrained(folder)
    if family == "DebertaV2":  # whose own class knows no tokenizer of this kind
        (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    return folder


def tuned_images(folder: Path, family: str, *, names: tuple[str, ...] = NAMES) -> Path:
    import torch
    import transformers

    logging.getLogger("transformers").setLevel(logging.ERROR)
    architecture, settings = IMAGES[family]
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: place for place, name in enumerate(names)}}
    config = getattr(transformers, f"{family}Config")(**settings, **labels)
    torch.manual_seed(11)
    model = getattr(transformers, architecture)(config)
    _shake(model)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(PROCESSOR, encoding="utf-8")
    return folder


def leave_behind(folder: Path) -> None:
    """What a Trainer puts beside the weights: pickles that whoever reads them would run."""
    bomb = b"cos\nsystem\n(S'touch " + str(folder / "ran").encode() + b"'\ntR."
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth"):
        (folder / name).write_bytes(bomb)
    (folder / "trainer_state.json").write_text('{"global_step": 6}', encoding="utf-8")
    shutil.copytree(folder, folder / "checkpoint-6", ignore=shutil.ignore_patterns("checkpoint-*"))


def _shake(model: Any) -> None:
    import torch

    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn(value.shape) * 0.05)
        for name, value in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                value.add_(torch.rand(value.shape) * 0.5)

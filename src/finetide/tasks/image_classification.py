"""Image classification by a vision encoder of transformers (ViT, DeiT, Swin, ResNet, ConvNeXt, MobileNet and their
like), pooling and a linear head."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModel

from finetide.config.images import ImageEvaluateParams, ImageTrainParams, cost
from finetide.errors import BaseModelError, ConfigError, DataError
from finetide.files import sha256_bytes
from finetide.images import SPEC_FILE, ImageError, Spec, spec_bytes, spec_of, square, tensor
from finetide.seeding import generator
from finetide.task import Anchors, Built, Examples, ExportSpec, ModelSettings, Objective, Preprocessing
from finetide.tasks import adopted_images, heads, pooler
from finetide.tasks import weights as weights_of
from finetide.tasks.augment import Augment
from finetide.tasks.classification import Batch, OneLabel, targets_of
from finetide.tasks.quiet import quiet
from finetide.tasks.weights import LABELS, WEIGHTS

# Encoders whose outputs are known here, and pass the export gate.
ENCODERS = frozenset({"convnext", "deit", "dinov2", "mobilenet_v2", "resnet", "swin", "vit"})
# The exporter stumbles over its windows in scaled_dot_product_attention.
WITHOUT_SDPA = frozenset({"swin"})
PREPROCESSOR = "preprocessor_config.json"
MAX_BATCH = 65_536
# Squares beyond so many bytes lie in an unnamed temporary file, which the system pages in and out.
IN_MEMORY = 512 << 20


@dataclass(frozen=True)
class Preprocessor:
    """``config``: preprocessor_config.json of the base as it came, which `save` hands on. ``augment``: for training
    alone, never saved."""

    spec: Spec
    config: dict[str, Any]
    augment: Augment


class Classifier(nn.Module):
    """Encoder → pooling → one length → dropout → head. Submodules: ``encoder``, ``head``, of an adopted model
    ``pooler``, which then stands in place of the length.

    The features' length is √hidden, for the reason that text classification has: one range of L2 strengths and
    learning rates then serves every encoder.
    """

    def __init__(self, encoder: nn.Module, settings: ModelSettings, channels: int, side: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = settings.pooling
        self.patches = bool(settings.pooler) and pooler.said(settings).patches
        # Position tables made for another size are interpolated, where the encoder knows how.
        configured = getattr(encoder.config, "image_size", None)
        fits = "interpolate_pos_encoding" in inspect.signature(encoder.forward).parameters
        self.interpolates = fits and configured not in (None, side, [side, side], (side, side))
        with torch.no_grad():
            hidden = self.eval()._pooled(torch.zeros(1, channels, side, side)).shape[1]
        self.length = math.sqrt(hidden)
        self.pooler = pooler.make(hidden, settings)
        self.dropout = nn.Dropout(settings.dropout)
        self.head = heads.make(hidden, settings.hidden or (), len(settings.labels), settings.dropout)

    def _pooled(self, pixel_values: torch.Tensor) -> torch.Tensor:
        more = {"interpolate_pos_encoding": True} if self.interpolates else {}
        found = self.encoder(pixel_values=pixel_values, **more)
        hidden = found.last_hidden_state.float()
        if hidden.ndim == 4:  # a convolutional net: its own pooling has the last norm in it
            pooled = getattr(found, "pooler_output", None)
            chosen = hidden.mean((2, 3)) if pooled is None else pooled.float().flatten(1)
        else:
            chosen = hidden[:, 0] if self.pooling == "cls" else hidden.mean(1)
            if self.patches:
                chosen = torch.cat([chosen, hidden[:, 1:].mean(1)], dim=1)
        return cast(torch.Tensor, chosen)

    def features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Args: [batch, channels, side, side] float32. Returns: [batch, hidden] float32."""
        pooled = self._pooled(pixel_values)
        if self.pooler is not None:
            found: torch.Tensor = self.pooler(pooled)
            return found
        return nn.functional.normalize(pooled, dim=1) * self.length

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Logits, [batch, labels]."""
        return self.logits(self.features(pixel_values))

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """[batch, hidden] → [batch, labels]."""
        logits: torch.Tensor = self.head(self.dropout(features))
        return logits.float()


class ImageClassification(OneLabel):
    """The family; holds no state."""

    name = "image-classification"
    train_params = ImageTrainParams
    evaluate_params = ImageEvaluateParams
    measures = ("balanced_accuracy", "auroc")

    def build(self, weights: Path, settings: ModelSettings, *, seed: int) -> Built:
        """See `finetide.task.Task`. Raises: BaseModelError for an encoder, a size or a head that does not fit."""
        torch.manual_seed(seed)
        config = _config(weights)
        given = _preprocessor(weights)
        channels, side = int(getattr(config, "num_channels", 3)), settings.max_length
        try:
            spec = spec_of(given, side, channels)
        except ValueError as error:
            raise BaseModelError(
                str(error), where=str(weights / PREPROCESSOR), fix="restore the base model's files"
            ) from error
        tuned = (weights / LABELS).is_file()
        settings = pooler.read(weights, settings, tuned=tuned)
        state = load_file(weights / WEIGHTS)
        if tuned:
            settings = replace(settings, hidden=heads.check(state, settings.hidden, weights))
        # A base by transformers' own loader: it knows under which names vision weights were saved over the years.
        encoder = _untrained(config) if tuned else _pretrained(weights, config)
        if isinstance(getattr(encoder, "pooler", None), nn.Module) and list(encoder.pooler.parameters()):
            encoder.pooler = None  # of token vectors, where we pool ourselves: it would be neither trained nor frozen
        module = _module(encoder, settings, channels, side, weights)
        if tuned:
            weights_of.load_tuned(module, weights, state, settings.labels)
        return Built(module.eval(), Preprocessor(spec, given, Augment(**dict(settings.augment))), settings)

    def adopt(self, weights: Path, folder: Path, rows: pd.DataFrame, settings: ModelSettings) -> nn.Module:
        images = [bytes(one) for one in rows.get("bytes", ())]
        return adopted_images.convert_images(weights, folder, images, settings, task=self.name)

    def save(self, built: Built, folder: Path) -> None:
        weights_of.save(built, folder)
        text = json.dumps(built.preprocessor.config, sort_keys=True, indent=2) + "\n"
        (folder / PREPROCESSOR).write_text(text, encoding="utf-8")

    def encode(self, built: Built, rows: pd.DataFrame) -> Examples:
        """Every image is decoded here, once, to a square of bytes.

        Raises: DataError for a label that the model does not have, or an image that cannot be used.
        """
        spec: Spec = built.preprocessor.spec
        squares = _room((len(rows), spec.side, spec.side, spec.channels))
        for place, value in enumerate(rows["bytes"]):
            try:
                squares[place] = square(bytes(value), spec)
            except ImageError as error:
                raise DataError(str(error), where=str(rows["row_id"].iloc[place]), fix=error.fix) from error
        targets = targets_of(rows, built.settings.labels)
        how = sha256_bytes(spec_bytes(spec))[:16]
        keys = tuple(f"{how} {hashlib.sha256(one.tobytes()).hexdigest()}" for one in squares)
        lengths = np.full(len(rows), cost(spec.side), np.int64)
        return Examples(tuple(rows["row_id"]), squares, lengths, targets, keys)

    def draws(self, built: Built) -> bool:
        return bool(built.preprocessor.augment)

    def packs(self, built: Built) -> bool:
        del built
        return False

    def collate(
        self,
        built: Built,
        examples: Examples,
        index: Sequence[int],
        *,
        seed: int | None = None,
        width: int | None = None,
    ) -> dict[str, torch.Tensor]:
        """``targets`` [batch] int64 beside ``pixel_values`` [batch, channels, side, side] float32.

        With a seed every image is changed as ``train.augment`` says.
        """
        del width
        squares = np.stack([examples.inputs[place] for place in index])
        if seed is not None and built.preprocessor.augment:
            augment = built.preprocessor.augment
            for row, place in enumerate(index):  # by row: cutting a batch in smaller ones changes nothing
                squares[row] = augment.apply(squares[row], generator(seed, "augment", place))
        targets = torch.from_numpy(examples.targets[np.asarray(index)])
        return {"pixel_values": torch.from_numpy(tensor(squares, built.preprocessor.spec)), "targets": targets}

    def features(self, module: nn.Module, batch: Batch) -> torch.Tensor:
        found: torch.Tensor = module.features(batch["pixel_values"])  # type: ignore[operator]
        return found

    def objective(self, name: str) -> Objective:
        raise ConfigError(
            "image-classification has no such objective, so it has no adapt phase", found=name,
            fix="take the phase out of train.phases",
        )  # fmt: skip

    def export(self, built: Built) -> ExportSpec:
        spec: Spec = built.preprocessor.spec

        def draw(rng: np.random.Generator, batch: int, side: int) -> dict[str, np.ndarray[Any, Any]]:
            """Any pixels."""
            values = rng.integers(0, 256, (batch, side, side, spec.channels), dtype=np.uint8)
            return {"pixel_values": tensor(values, spec)}

        return ExportSpec(
            module=built.module.eval(),
            inputs=("pixel_values",),
            dynamic={"pixel_values": {0: "batch"}},
            output="logits",
            types=("tensor(float)",),
            sizes={"batch": (1, MAX_BATCH)},
            sample=(torch.zeros(2, spec.channels, spec.side, spec.side),),
            shapes=[(batch, spec.side) for batch in (1, 2, 3, 17)],
            draw=draw,
        )

    def preprocessing(self, built: Built) -> Preprocessing:
        side = built.preprocessor.spec.side
        return Preprocessing(
            name=SPEC_FILE,
            content=spec_bytes(built.preprocessor.spec),
            pad_token_id=None,
            limit=f"Images are brought to {side} × {side} pixels.",
            stranger="an image of something",
        )

    def anchors(self, rows: pd.DataFrame, labels: Sequence[str], params: ImageEvaluateParams) -> Anchors:
        """``zero_shot_examples`` training rows a label, chosen by a hash of their pixels; fewer where there are not
        so many."""
        taught = rows[(rows["split"] == "train") & rows["label"].isin(list(labels))]
        ranked = taught.assign(rank=[sha256_bytes(str(one).encode()) for one in taught["digest"]])
        ranked = ranked.sort_values(["rank", "row_id"], kind="stable").drop_duplicates("digest")
        chosen = ranked.groupby("label", sort=False).head(params.zero_shot_examples).drop(columns="rank")
        owner = np.array([labels.index(label) for label in chosen["label"]], np.int64)
        return Anchors(f"nearest mean of {params.zero_shot_examples}", chosen, owner)


def _config(weights: Path) -> Any:
    found = json.loads((weights / "config.json").read_text(encoding="utf-8")).get("model_type")
    if found not in ENCODERS:
        raise BaseModelError(
            "image-classification does not know this architecture", where=str(weights / "config.json"), found=found,
            fix=f"use one of: {', '.join(sorted(ENCODERS))}",
        )  # fmt: skip
    return AutoConfig.from_pretrained(weights, local_files_only=True, trust_remote_code=False)


def _attention(config: Any) -> dict[str, str]:
    return {"attn_implementation": "eager"} if config.model_type in WITHOUT_SDPA else {}


def _untrained(config: Any) -> Any:
    return AutoModel.from_config(config, dtype=torch.float32, **_attention(config))  # type: ignore[no-untyped-call]


def _pretrained(weights: Path, config: Any) -> Any:
    """Raises: BaseModelError: the file lacks weights of the encoder."""
    with quiet():
        encoder, told = AutoModel.from_pretrained(
            weights, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32,
            output_loading_info=True, **_attention(config),
        )  # fmt: skip
    missing = sorted(name for name in told["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise BaseModelError(
            f"lacks {len(missing)} of the encoder's weights, first {missing[0]!r}",
            where=str(weights / WEIGHTS),
            fix="use a checkpoint of the architecture that config.json names",
        )
    return encoder


def _preprocessor(weights: Path) -> dict[str, Any]:
    path = weights / PREPROCESSOR
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("is no JSON object")
    except (OSError, ValueError) as error:
        raise BaseModelError(
            f"cannot be read: {error}", where=str(path), fix="save the image processor beside the weights"
        ) from error
    return found


def _module(encoder: nn.Module, settings: ModelSettings, channels: int, side: int, weights: Path) -> Classifier:
    if settings.pooling == "cls" and not any("cls_token" in name for name, _ in encoder.named_parameters()):
        raise BaseModelError(
            "this encoder has no class token", where=str(weights), found="train.pooling: cls", fix="write mean"
        )
    try:
        return Classifier(encoder, settings, channels, side)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise BaseModelError(
            f"the base does not take images of {side} × {side}: {' '.join(str(error).split())[:200]}",
            where=str(weights), found=side, fix="set train.max_length to the size of the base's config",
        ) from error  # fmt: skip


def _room(shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Zeros, in memory or in a file without a name."""
    if math.prod(shape) <= IN_MEMORY:
        return np.zeros(shape, np.uint8)
    with tempfile.TemporaryFile() as stream:  # the mapping outlives it
        return np.memmap(stream, np.uint8, "w+", shape=shape)


TASK = ImageClassification()

"""Text classification by an encoder (BERT, RoBERTa, DistilBERT and their like), pooling and a linear head."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoConfig, AutoModel

from finetide.base import SHIFTED_POSITIONS
from finetide.config.evaluate import EvaluateParams
from finetide.config.train import TrainParams
from finetide.errors import ConfigError
from finetide.task import Anchors, Built, Examples, ExportSpec, ModelSettings, Objective, Preprocessing
from finetide.tasks import adopted, heads, packing, pooler, text_encoders, vocabulary
from finetide.tasks import weights as weights_of
from finetide.tasks.classification import Batch, OneLabel, targets_of
from finetide.tasks.label_texts import label_texts
from finetide.tasks.masked_language import MaskedLanguage
from finetide.tasks.weights import LABELS, WEIGHTS
from finetide.text import encode, load_tokenizer

# The largest batch that the exported graph promises to take.
MAX_BATCH = 65_536
# They take positions and a mask of who sees whom. DistilBERT takes no positions, ModernBERT's local layers no mask.
PACKABLE = frozenset({"bert", "camembert", "electra", "roberta", "xlm-roberta"})


@dataclass(frozen=True)
class Preprocessor:
    """``tokenizer_json`` is the file as it came, so that the bundle carries the same bytes, unless words were added."""

    tokenizer: Tokenizer
    tokenizer_json: bytes
    pad_token_id: int
    has_types: bool


class Classifier(nn.Module):
    """Encoder → pooling → one length → dropout → head. Submodules: ``encoder``, ``head``, of an adopted model
    ``pooler``, which then stands in place of the length.

    Every pooled vector is scaled to the length √hidden. Sentence encoders are trained by cosine, so that the length of
    a vector says little, and a probe is better without it (docs/lab-log.md); √hidden keeps the entries near 1, where
    one range of L2 strengths and learning rates serves every encoder.
    """

    def __init__(self, encoder: nn.Module, hidden: int, settings: ModelSettings, *, has_types: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooler = pooler.make(hidden, settings)
        self.dropout = nn.Dropout(settings.dropout)
        self.head = heads.make(hidden, settings.hidden or (), len(settings.labels), settings.dropout)
        self.pooling = settings.pooling
        self.length = math.sqrt(hidden)
        self.has_types = has_types

    def features(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Args: both [batch, length] int64. Returns: [batch, hidden] float32."""
        types = {"token_type_ids": torch.zeros_like(input_ids)} if self.has_types else {}
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **types).last_hidden_state
        if self.pooling == "cls":
            return self._finished(hidden[:, 0].float())
        sums = (hidden.float() * attention_mask.unsqueeze(-1)).sum(1)
        return self._finished(sums if self.pooler is None else sums / attention_mask.sum(1, keepdim=True))

    def _finished(self, pooled: torch.Tensor) -> torch.Tensor:
        """Where the length is set here, a sum is as good as a mean."""
        if self.pooler is not None:
            found: torch.Tensor = self.pooler(pooled)
            return found
        return nn.functional.normalize(pooled, dim=1) * self.length

    def packed_features(
        self, input_ids: torch.Tensor, positions: torch.Tensor, segments: torch.Tensor, starts: torch.Tensor
    ) -> torch.Tensor:
        """As `features`, of texts that lie behind one another in rows.

        Args:
            input_ids, positions: [rows, width] int64.
            segments: [rows, width] int64, the number of the text that a token is of, -1 at padding.
            starts: [batch] int64, where each text starts, counted over all rows.
        """
        types = {"token_type_ids": torch.zeros_like(input_ids)} if self.has_types else {}
        mask = segments[:, None, :, None] == segments[:, None, None, :]  # a token sees its own text only
        found = self.encoder(input_ids=input_ids, attention_mask=mask, position_ids=positions, **types)
        hidden = found.last_hidden_state.flatten(0, 1).float()
        if self.pooling == "cls":
            return self._finished(hidden[starts])
        owners = torch.where(segments < 0, len(starts), segments).flatten()
        sums = hidden.new_zeros(len(starts) + 1, hidden.shape[1]).index_add(0, owners, hidden)[:-1]
        if self.pooler is None:
            return self._finished(sums)
        return self._finished(sums / torch.bincount(owners, minlength=len(starts) + 1)[:-1, None])

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Logits, [batch, labels]."""
        return self.logits(self.features(input_ids, attention_mask))

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """[batch, hidden] → [batch, labels]."""
        logits: torch.Tensor = self.head(self.dropout(features))
        return logits.float()


class TextClassification(OneLabel):
    """The family; holds no state."""

    name = "text-classification"
    train_params = TrainParams
    evaluate_params = EvaluateParams
    measures = ()

    def build(self, weights: Path, settings: ModelSettings, *, seed: int) -> Built:
        """See `finetide.task.Task`. Raises: BaseModelError for an encoder or a head that does not fit."""
        torch.manual_seed(seed)
        text_encoders.check_architecture(weights, self.name)
        config = AutoConfig.from_pretrained(weights, local_files_only=True, trust_remote_code=False)
        text_encoders.check_length(config, settings.max_length, weights)
        attention = text_encoders.attention(config)
        tuned = (weights / LABELS).is_file()
        settings = pooler.read(weights, settings, tuned=tuned)
        state = load_file(weights / WEIGHTS)
        if tuned:
            settings = replace(settings, hidden=heads.check(state, settings.hidden, weights))
        encoder = AutoModel.from_config(config, attn_implementation=attention, dtype=torch.float32)  # type: ignore[no-untyped-call]
        if getattr(encoder, "pooler", None) is not None:
            encoder.pooler = None  # we pool ourselves; unused weights would be neither trained nor frozen
        has_types = int(getattr(config, "type_vocab_size", 0)) > 1
        module = Classifier(encoder, int(config.hidden_size), settings, has_types=has_types)
        if tuned:
            weights_of.load_tuned(module, weights, state, settings.labels)
        else:
            weights_of.load_encoder(encoder, state, weights)
        path = weights / "tokenizer.json"
        tokenizer, as_it_came = load_tokenizer(str(path)), path.read_bytes()
        added = vocabulary.add(tokenizer, encoder, settings.tokens, known=tuned)
        tokenizer_json = tokenizer.to_str(pretty=True).encode() if added else as_it_came
        preprocessor = Preprocessor(tokenizer, tokenizer_json, int(config.pad_token_id or 0), has_types)
        return Built(module.eval(), preprocessor, settings)

    def adopt(self, weights: Path, folder: Path, rows: pd.DataFrame, settings: ModelSettings) -> nn.Module:
        return adopted.convert_texts(weights, folder, list(rows["text"]), settings, task=self.name)

    def save(self, built: Built, folder: Path) -> None:
        weights_of.save(built, folder)
        (folder / "tokenizer.json").write_bytes(built.preprocessor.tokenizer_json)

    def encode(self, built: Built, rows: pd.DataFrame) -> Examples:
        """Raises: DataError for a label that the model does not have."""
        tokens = encode(built.preprocessor.tokenizer, list(rows["text"]), built.settings.max_length)
        targets = targets_of(rows, built.settings.labels)
        lengths = np.array([len(ids) for ids in tokens], dtype=np.int64)
        return Examples(tuple(rows["row_id"]), tokens, lengths, targets)

    def draws(self, built: Built) -> bool:
        del built
        return False

    def packs(self, built: Built) -> bool:
        return _model_type(built) in PACKABLE

    def collate(
        self,
        built: Built,
        examples: Examples,
        index: Sequence[int],
        *,
        seed: int | None = None,
        width: int | None = None,
    ) -> dict[str, torch.Tensor]:
        """``targets`` [batch] int64 beside ``input_ids`` and ``attention_mask`` [batch, longest] int64, or beside what
        `Classifier.packed_features` takes. Nothing is drawn."""  # fmt: skip
        del seed
        targets = torch.from_numpy(examples.targets[np.asarray(index)])
        texts = [examples.inputs[place] for place in index]
        padding = built.preprocessor.pad_token_id
        if width is not None:
            first = padding + 1 if _model_type(built) in SHIFTED_POSITIONS else 0
            return {**packing.pack(texts, width, padding, first), "targets": targets}
        longest = max(map(len, texts))
        ids = np.full((len(index), longest), padding, dtype=np.int64)
        mask = np.zeros((len(index), longest), dtype=np.int64)
        for row, tokens in enumerate(texts):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask), "targets": targets}

    def features(self, module: nn.Module, batch: Batch) -> torch.Tensor:
        """Of a padded or of a packed batch."""
        if "segments" in batch:
            names = ("input_ids", "positions", "segments", "starts")
            packed: torch.Tensor = module.packed_features(*(batch[name] for name in names))  # type: ignore[operator]
            return packed
        found: torch.Tensor = module.features(batch["input_ids"], batch["attention_mask"])  # type: ignore[operator]
        return found

    def objective(self, name: str) -> Objective:
        if name != MaskedLanguage.name:
            raise ConfigError(
                "text-classification has no such objective", found=name, fix=f"write {MaskedLanguage.name}"
            )
        return MaskedLanguage()

    def export(self, built: Built) -> ExportSpec:
        axes = {0: "batch", 1: "length"}
        longest = built.settings.max_length
        vocabulary = built.preprocessor.tokenizer.get_vocab_size()

        def draw(rng: np.random.Generator, batch: int, length: int) -> dict[str, np.ndarray[Any, Any]]:
            """Any tokens, the last row half padded."""
            ids = rng.integers(0, vocabulary, (batch, length), dtype=np.int64)
            mask = np.ones((batch, length), dtype=np.int64)
            mask[-1, (length + 1) // 2 :] = 0
            return {"input_ids": ids, "attention_mask": mask}

        return ExportSpec(
            module=built.module.eval(),
            inputs=("input_ids", "attention_mask"),
            dynamic={"input_ids": axes, "attention_mask": axes},
            output="logits",
            types=("tensor(int64)", "tensor(int64)"),
            sizes={"batch": (1, MAX_BATCH), "length": (1, longest)},
            sample=tuple(torch.ones(2, min(7, longest), dtype=torch.int64) for _ in range(2)),
            shapes=shapes_to_check(longest),
            draw=draw,
        )

    def preprocessing(self, built: Built) -> Preprocessing:
        return Preprocessing(
            name="tokenizer.json",
            content=built.preprocessor.tokenizer_json,
            pad_token_id=built.preprocessor.pad_token_id,
            limit=f"Texts are cut at {built.settings.max_length} tokens.",
            stranger="a text about something",
        )

    def anchors(self, rows: pd.DataFrame, labels: Sequence[str], params: EvaluateParams) -> Anchors:
        """Each label's own words. Raises: ConfigError: a description names no label."""
        texts = label_texts(labels, params.label_descriptions)
        table = pd.DataFrame({"row_id": [f"label:{place}" for place in range(len(texts))], "text": texts})
        return Anchors("zero-shot", table, np.arange(len(texts)))


def shapes_to_check(max_length: int) -> list[tuple[int, int]]:
    """Single and many rows, shortest, odd and longest: a graph with a constant baked in fails at one of them."""
    lengths = sorted({1, 2, min(13, max_length), max(1, max_length // 2), max_length})
    return [(1, length) for length in lengths] + [(3, lengths[-2]), (17, min(13, max_length)), (5, max_length)]


def _model_type(built: Built) -> str:
    encoder: Any = built.module.get_submodule("encoder")
    return str(encoder.config.model_type)


TASK = TextClassification()

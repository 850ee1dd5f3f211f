"""Extractive question answering: an encoder of text, and two logits a token, of an answer's start and of its end."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoConfig, AutoModel

from finetide.config.questions import QuestionEvaluateParams, QuestionTrainParams
from finetide.data.questions import answers
from finetide.errors import BaseModelError, ConfigError
from finetide.files import read_json
from finetide.metrics.answers import exact_match, f1, sentences, threshold_of
from finetide.spans import NOWHERE, READING_FILE, Asked, Found, Reading, Window, choose, find_all, windows
from finetide.task import Anchors, Built, Examples, ExportSpec, ModelSettings, Objective, Preprocessing
from finetide.tasks import adopted, heads, pooler, text_encoders
from finetide.tasks import weights as weights_of
from finetide.tasks.classification import Batch, FloatArray
from finetide.tasks.weights import LABELS, WEIGHTS
from finetide.text import load_tokenizer

# What the head gives of each token; in this order in the graph, too.
OUTPUTS = ("start", "end")
UNLABELLED = (-1, -1)
MAX_BATCH = 65_536


@dataclass(frozen=True)
class Preprocessor:
    """``tokenizer_json`` is the file as it came, so that the bundle carries the same bytes."""

    tokenizer: Tokenizer
    tokenizer_json: bytes
    pad_token_id: int
    has_types: bool


class Reader(nn.Module):
    """Encoder → dropout → head, of every token. Submodules: ``encoder``, ``head``, of some adopted models
    ``pooler`` before the dropout."""

    def __init__(self, encoder: nn.Module, hidden: int, settings: ModelSettings, *, has_types: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooler = pooler.make(hidden, settings)
        self.dropout = nn.Dropout(settings.dropout)
        self.head = heads.make(hidden, settings.hidden or (), len(OUTPUTS), settings.dropout)
        self.pooling = settings.pooling
        self.length = math.sqrt(hidden)
        self.width = settings.max_length
        self.has_types = has_types

    def hidden(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None
    ) -> torch.Tensor:
        types = {"token_type_ids": token_type_ids} if self.has_types else {}
        found: torch.Tensor = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, **types
        ).last_hidden_state
        return found

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Args: [batch, length] int64. Returns: logits [batch, length, 2] of `OUTPUTS`."""
        hidden = self.hidden(input_ids, attention_mask, token_type_ids)
        logits: torch.Tensor = self.head(self.dropout(hidden if self.pooler is None else self.pooler(hidden)))
        return logits.float()

    def features(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None
    ) -> torch.Tensor:
        """One vector a window, [batch, hidden] float32, of the length that text classification's have."""
        hidden = self.hidden(input_ids, attention_mask, token_type_ids)
        pooled = hidden[:, 0].float() if self.pooling == "cls" else (hidden.float() * attention_mask[..., None]).sum(1)
        return nn.functional.normalize(pooled, dim=1) * self.length


class QuestionAnswering:
    """The family; holds no state. Its examples are windows (`finetide.spans`), one or several a row."""

    name = "question-answering"
    metric = "F1"
    one_label = False
    train_params = QuestionTrainParams
    evaluate_params = QuestionEvaluateParams
    measures = ()

    def build(self, weights: Path, settings: ModelSettings, *, seed: int) -> Built:
        """See `finetide.task.Task`. Raises: BaseModelError for an encoder, a tokenizer or a head that does not fit."""
        torch.manual_seed(seed)
        text_encoders.check_architecture(weights, self.name)
        config = AutoConfig.from_pretrained(weights, local_files_only=True, trust_remote_code=False)
        text_encoders.check_length(config, settings.max_length, weights)
        tuned = (weights / LABELS).is_file()
        settings = pooler.read(weights, settings, tuned=tuned)
        state = load_file(weights / WEIGHTS)
        if tuned:
            weights_of.check_outputs(weights, OUTPUTS)
            settings = replace(settings, hidden=heads.check(state, settings.hidden, weights))
            if not settings.extra:
                found = Reading.from_json(read_json(weights / READING_FILE))
                settings = replace(settings, extra=_extra(found))
        settings = replace(settings, labels=OUTPUTS)
        attention = text_encoders.attention(config)
        encoder = AutoModel.from_config(config, attn_implementation=attention, dtype=torch.float32)  # type: ignore[no-untyped-call]
        if getattr(encoder, "pooler", None) is not None:
            encoder.pooler = None  # of one vector, which nothing here asks for
        has_types = int(getattr(config, "type_vocab_size", 0)) > 1
        module = Reader(encoder, int(config.hidden_size), settings, has_types=has_types)
        if tuned:
            weights_of.load_tuned(module, weights, state, OUTPUTS)
        else:
            weights_of.load_encoder(encoder, state, weights)
            # No probe solves this head before the encoder learns. Of zeros, it lets hardly anything through until it
            # has grown: one epoch of 2,000 questions of SQuAD came to an F1 of 15, with this to 38 (docs/lab-log.md).
            nn.init.normal_(heads.last(module.head).weight, std=heads.DEVIATION)
        path = weights / "tokenizer.json"
        tokenizer = load_tokenizer(str(path))
        preprocessor = Preprocessor(tokenizer, path.read_bytes(), int(config.pad_token_id or 0), has_types)
        try:
            windows(tokenizer, [Asked("a", "b")], reading_of(settings))
        except ValueError as error:
            raise BaseModelError(
                f"the tokenizer {error}", where=str(path), fix="choose a base whose tokenizer knows pairs of texts"
            ) from error
        return Built(module.eval(), preprocessor, settings)

    def adopt(self, weights: Path, folder: Path, rows: pd.DataFrame, settings: ModelSettings) -> nn.Module:
        texts, longest = [*rows["question"], *rows["context"]], settings.max_length
        return adopted.convert_reader(weights, folder, texts, OUTPUTS, longest)

    def save(self, built: Built, folder: Path) -> None:
        weights_of.save(built, folder)
        (folder / "tokenizer.json").write_bytes(built.preprocessor.tokenizer_json)
        (folder / READING_FILE).write_bytes(reading_of(built.settings).to_json())

    def outcomes(self, rows: pd.DataFrame) -> tuple[str, ...]:
        del rows
        return OUTPUTS

    def encode(self, built: Built, rows: pd.DataFrame) -> Examples:
        """Rows of questions, or of a ``text`` alone, whose features then are that text's."""
        reading, groups = reading_of(built.settings), tuple[str, ...]()
        if "question" not in rows:
            found = _alone(built, list(rows["text"]), reading)
            targets = np.full((len(found), 2), UNLABELLED, np.int64)
        else:
            cells = zip(rows["question"], rows["context"], rows["answers"], strict=True)
            asked = [Asked(question, context, answers.golds(said)) for question, context, said in cells]
            found = windows(built.preprocessor.tokenizer, asked, reading)
            targets = _targets(found, [answers.place(said) for said in rows["answers"]])
            groups = tuple(one.asked.context for one in found)
        ids = list(rows["row_id"])
        keys = tuple(hashlib.sha256(np.array([*one.ids, one.first], np.int64).tobytes()).hexdigest() for one in found)
        lengths = np.array([len(one.ids) for one in found], np.int64)
        return Examples(tuple(ids[one.row] for one in found), found, lengths, targets, keys, groups)

    def scorable(self, built: Built, rows: pd.DataFrame) -> pd.DataFrame:
        del built
        return rows

    def draws(self, built: Built) -> bool:
        del built
        return False

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
        """``targets`` [batch, 2] int64 beside ``input_ids``, ``attention_mask``, ``token_type_ids`` [batch, longest]
        int64 and ``places`` [batch, longest] bool, where an answer may start or end."""
        del seed, width
        chosen: list[Window] = [examples.inputs[place] for place in index]
        longest = max(len(window.ids) for window in chosen)
        ids = np.full((len(chosen), longest), built.preprocessor.pad_token_id, np.int64)
        mask, types = np.zeros_like(ids), np.zeros_like(ids)
        places = np.zeros(ids.shape, bool)
        for row, window in enumerate(chosen):
            length = len(window.ids)
            ids[row, :length], mask[row, :length], types[row, :length] = window.ids, 1, window.types
            places[row, :length] = window.places()
        made = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types, "places": places}
        made["targets"] = examples.targets[np.asarray(index)]
        return {name: torch.from_numpy(value) for name, value in made.items()}

    def features(self, module: nn.Module, batch: Batch) -> torch.Tensor:
        found: torch.Tensor = module.features(  # type: ignore[operator]
            batch["input_ids"], batch["attention_mask"], batch["token_type_ids"]
        )
        return found

    def outputs(self, module: nn.Module, batch: Batch) -> torch.Tensor:
        """[batch, 2 · max_length]: logits of starts, then of ends, `spans.NOWHERE` where no answer may be."""
        logits: torch.Tensor = module(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])
        found = logits.masked_fill(~batch["places"].unsqueeze(-1), NOWHERE).transpose(1, 2)
        more = int(module.width) - found.shape[2]  # type: ignore[arg-type]
        return nn.functional.pad(found, (0, more), value=NOWHERE).flatten(1)

    def loss(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Mean of the cross-entropies of start and end; a window without the answer has both at its first token."""
        sides = outputs.view(len(outputs), 2, -1)
        losses = [
            nn.functional.cross_entropy(sides[:, side], batch["targets"][:, side], reduction="none") for side in (0, 1)
        ]
        return (losses[0] + losses[1]) / 2

    def score(self, outputs: torch.Tensor, examples: Examples) -> tuple[float, float]:
        """Mean F1 of the questions, at the null threshold that is best for them, and mean loss of the windows."""
        loss = self.loss(outputs, {"targets": torch.from_numpy(examples.targets)}).double().mean()
        found, asked = _found(outputs.numpy(), examples)
        threshold = threshold_of(found, asked)
        values = [
            f1(_text(one, question, threshold), question.golds or ())
            for one, question in zip(found, asked, strict=True)
        ]
        return float(np.mean(values)) if values else 0.0, float(loss)

    def confidence(self, outputs: FloatArray, examples: Examples) -> tuple[FloatArray, FloatArray]:
        found, asked = _found(outputs, examples)
        threshold = threshold_of(found, asked)
        told = [choose(one, question.context, threshold, 1.0) for one, question in zip(found, asked, strict=True)]
        right = [exact_match(one.text, question.golds or ()) for one, question in zip(told, asked, strict=True)]
        return np.array([one.score for one in told]), np.array(right)

    def said(self, outputs: FloatArray, examples: Examples) -> list[str]:
        found, asked = _found(outputs, examples)
        threshold = _threshold(examples)
        return [_text(one, question, threshold) for one, question in zip(found, asked, strict=True)]

    def share_right(self, outputs: FloatArray, examples: Examples) -> tuple[float, int]:
        """By exact match."""
        asked = _asked(examples)
        right = [
            exact_match(text, question.golds)
            for text, question in zip(self.said(outputs, examples), asked, strict=True)
            if question.golds is not None
        ]
        return float(np.mean(right)) if right else 0.0, len(right)

    def lost(self, built: Built, examples: Examples) -> str:
        """Of questions that have an answer, those of which no window holds it whole or short enough."""
        del built
        rows = examples.rows()
        held = [any(_learnable(examples, place) for place in places) for places in rows]
        answerable = [bool(examples.inputs[places[0]].asked.golds) for places in rows]
        lost = [
            examples.ids[places[0]]
            for places, has, fits in zip(rows, answerable, held, strict=True)
            if has and not fits
        ]
        if not lost:
            return ""
        return (
            f"{len(lost)} of {sum(answerable)} training questions have an answer that no window holds, or of more than "
            f"max_answer tokens, first {lost[0]}: raise train.stride, max_answer or max_length"
        )

    def objective(self, name: str) -> Objective:
        raise ConfigError(
            "question-answering has no such objective, so it has no adapt phase", found=name,
            fix="take the phase out of train.phases",
        )  # fmt: skip

    def export(self, built: Built) -> ExportSpec:
        axes = {0: "batch", 1: "length"}
        longest, has_types = built.settings.max_length, built.preprocessor.has_types
        vocabulary = built.preprocessor.tokenizer.get_vocab_size()
        names = ("input_ids", "attention_mask", *(("token_type_ids",) if has_types else ()))

        def draw(rng: np.random.Generator, batch: int, length: int) -> dict[str, np.ndarray[Any, Any]]:
            """Any tokens, the last third of the second text, the last row half padded."""
            ids = rng.integers(0, vocabulary, (batch, length), dtype=np.int64)
            mask, types = np.ones((batch, length), np.int64), np.zeros((batch, length), np.int64)
            mask[-1, (length + 1) // 2 :] = 0
            types[:, 2 * length // 3 :] = 1
            drawn = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
            return {name: drawn[name] for name in names}

        lengths = sorted({2, min(13, longest), longest // 2, longest})
        return ExportSpec(
            module=built.module.eval(),
            inputs=names,
            dynamic=dict.fromkeys(names, axes),
            output="logits",
            types=("tensor(int64)",) * len(names),
            sizes={"batch": (1, MAX_BATCH), "length": (1, longest)},
            sample=tuple(torch.ones(2, min(7, longest), dtype=torch.int64) for _ in names),
            shapes=[*((1, length) for length in lengths), (3, lengths[-2]), (17, min(13, longest)), (5, longest)],
            draw=draw,
        )

    def preprocessing(self, built: Built) -> Preprocessing:
        reading = reading_of(built.settings)
        nothing = "" if reading.null_threshold is None else ", or says that there is none"
        return Preprocessing(
            name="tokenizer.json",
            content=built.preprocessor.tokenizer_json,
            pad_token_id=built.preprocessor.pad_token_id,
            limit=f"Contexts are read in windows of {reading.max_length} tokens that share {reading.stride}; questions "
            f"are cut at {reading.max_question} tokens, and answers have at most {reading.max_answer}.",
            stranger=f"It gives words of the context and no others{nothing}: to a question of another kind, too.",
            more={READING_FILE: reading.to_json()},
        )

    def anchors(self, rows: pd.DataFrame, labels: Sequence[str], params: QuestionEvaluateParams) -> Anchors:
        """The sentences of each context of the labelled test rows, the contexts numbered as they come."""
        del labels, params
        contexts = list(dict.fromkeys(rows.loc[(rows["split"] == "test") & rows["label"].notna(), "context"]))
        texts = [(owner, text[start:end]) for owner, text in enumerate(contexts) for start, end in sentences(text)]
        table = pd.DataFrame(
            {"row_id": [f"sentence:{place}" for place in range(len(texts))], "text": [text for _, text in texts]}
        )
        return Anchors("zero-shot", table, np.array([owner for owner, _ in texts], np.int64))


def reading_of(settings: ModelSettings) -> Reading:
    """Without settings, of a base whose features are asked for: windows that share nothing."""
    extra = dict(settings.extra)
    if not extra:
        return Reading(settings.max_length, 0, settings.max_length // 2, 1)
    null = extra.get("null_threshold")
    return Reading(
        settings.max_length, int(extra["stride"]), int(extra["max_question"]), int(extra["max_answer"]), null
    )


def _extra(reading: Reading) -> dict[str, float]:
    found = {name: value for name, value in asdict(reading).items() if value is not None}
    found.pop("max_length")
    return found


def _alone(built: Built, texts: Sequence[str], reading: Reading) -> list[Window]:
    tokenizer: Tokenizer = built.preprocessor.tokenizer
    tokenizer.enable_truncation(reading.max_length)
    try:
        found = tokenizer.encode_batch(list(texts))
    finally:
        tokenizer.no_truncation()
    none = np.zeros((0, 2), np.int64)
    return [
        Window(one.ids, one.type_ids, len(one.ids), none, row, Asked("", text), reading)
        for row, (one, text) in enumerate(zip(found, texts, strict=True))
    ]


def _targets(found: Sequence[Window], places: Sequence[tuple[int, int] | None]) -> np.ndarray[Any, Any]:
    """[windows, 2]: first and last token of the answer, (0, 0) where the window does not have it."""
    made = np.full((len(found), 2), UNLABELLED, np.int64)
    for row, window in enumerate(found):
        if window.asked.golds is not None:
            place = places[window.row]
            made[row] = (0, 0) if place is None else window.target(*place)
    return made


def _learnable(examples: Examples, place: int) -> bool:
    start, end = examples.targets[place].tolist()
    return bool(start > 0 and end - start < examples.inputs[place].reading.max_answer)


def _found(outputs: FloatArray, examples: Examples) -> tuple[list[Found], list[Asked]]:
    return find_all(examples.inputs, outputs), _asked(examples)


def _asked(examples: Examples) -> list[Asked]:
    return [examples.inputs[places[0]].asked for places in examples.rows()]


def _threshold(examples: Examples) -> float | None:
    return examples.inputs[0].reading.null_threshold if len(examples.inputs) else None


def _text(found: Found, asked: Asked, threshold: float | None) -> str:
    return choose(found, asked.context, threshold, 1.0).text


TASK = QuestionAnswering()

"""A fine-tuned model of transformers as weights of ours: the same numbers under our names.

Its own loader reads the checkpoint, because it knows under which names weights were saved over the years. The tensors
of the head go where `finetide.adopted` says; one that would be left over, or that is missing, is an error.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file
from torch import nn

from finetide import adopted
from finetide.contracts import pooler
from finetide.errors import BaseModelError
from finetide.files import write_json
from finetide.task import ModelSettings
from finetide.tasks.quiet import quiet
from finetide.tasks.weights import LABELS, WEIGHTS
from finetide.text import encode, load_tokenizer

# Kept neither by transformers nor by us: they follow from the config.
CONSTANTS = ("position_ids", "token_type_ids")
LOADERS = {
    "text-classification": "AutoModelForSequenceClassification",
    "image-classification": "AutoModelForImageClassification",
    "question-answering": "AutoModelForQuestionAnswering",
}
TOKENIZER = "tokenizer.json"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
SAVE_TOKENIZER = "save the tokenizer that training used once more beside the weights: tokenizer.save_pretrained(FOLDER)"
# Texts that are compared with transformers' own tokenizer.
COMPARED = 200


class Original(nn.Module):
    """Transformers' own model behind the calls that ours answers, so that the same code asks both.

    ``order``: of its outputs, where ours has each. ``width``: see `finetide.tasks.question_answering.Reader`.
    """

    def __init__(self, model: nn.Module, names: Sequence[str], order: Sequence[int], width: int = 0) -> None:
        super().__init__()
        self.model, self.names, self.order, self.width = model, tuple(names), list(order), width

    def features(self, *given: torch.Tensor) -> torch.Tensor:
        """Its logits: they come out of `logits` as they are."""
        found = self.model(**dict(zip(self.names, given, strict=True)))
        logits: torch.Tensor = found.logits.float()[:, self.order]
        return logits

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return features

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        """Of every token, where an answer starts and ends: [batch, length, 2]."""
        found = self.model(**dict(zip(self.names, given, strict=False)))
        return torch.stack([found.start_logits, found.end_logits], dim=-1).float()


def convert_texts(weights: Path, folder: Path, texts: Sequence[str], settings: ModelSettings, *, task: str) -> Original:
    """`convert` for a classifier of texts. Args: settings: as `Task.adopt` has them."""
    labels = adopted.labels_of(weights, settings.labels)
    check_tokens(weights, texts, settings.max_length)
    model = convert(weights, folder, task=task, labels=labels, preprocessing=TOKENIZER)
    return Original(model, ("input_ids", "attention_mask"), [labels.index(label) for label in settings.labels])


def convert_reader(weights: Path, folder: Path, texts: Sequence[str], outputs: Sequence[str], longest: int) -> Original:
    """`convert` for question answering. Args: longest: tokens of a window."""
    check_tokens(weights, texts, longest)
    model = convert(weights, folder, task="question-answering", labels=outputs, preprocessing=TOKENIZER)
    has_types = int(getattr(model.config, "type_vocab_size", 0)) > 1
    return Original(model, INPUTS if has_types else INPUTS[:2], (), longest)


def convert(weights: Path, folder: Path, *, task: str, labels: Sequence[str], preprocessing: str) -> Any:
    """Write what `Task.build` reads into ``folder``, which must exist.

    Args: labels: of the outputs, in their order. preprocessing: name of the file that is handed on as it is.

    Returns: transformers' own model. Raises: BaseModelError: the weights are not what the config says, or not all of
    them have a place.
    """
    head = adopted.head_of(weights, task)
    model = _loaded(weights, task)
    ours = _renamed(model, head, weights)
    if len(ours["head.weight"]) != len(labels):
        raise BaseModelError(
            f"the head has {len(ours['head.weight'])} outputs, and {len(labels)} are named", where=str(weights),
            found=", ".join(labels[:6]), fix="id2label in config.json must name every output",
        )  # fmt: skip
    save_file(ours, folder / WEIGHTS, metadata={"format": "pt"})
    config = adopted.read_config(weights)
    for key in ("dtype", "torch_dtype"):  # ours are float32, whatever it was saved in
        config.pop(key, None)
    write_json(folder / "config.json", config)
    write_json(folder / LABELS, list(labels))
    if task != "question-answering" or head.dense:
        head.pooler({**model.config.to_dict(), **config}).write(folder / pooler.FILE)
    shutil.copyfile(weights / preprocessing, folder / preprocessing)
    return model.eval()


def _loaded(weights: Path, task: str) -> Any:
    """Raises: BaseModelError: weights are missing, left over, or of another size."""
    try:
        with quiet():
            model, told = getattr(transformers, LOADERS[task]).from_pretrained(
                weights, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32,
                output_loading_info=True, attn_implementation="eager",
            )  # fmt: skip
    except RuntimeError as error:  # of sizes that do not fit
        raise BaseModelError(
            f"the weights are not those of the config: {' '.join(str(error).split())[:200]}", where=str(weights),
            fix=f"restore {weights / 'config.json'}: it and the weights are of two models",
        ) from error  # fmt: skip
    for key, what in (("missing_keys", "lacks"), ("unexpected_keys", "has, beside the model's own,")):
        names = sorted(name for name in told[key] if not name.endswith(CONSTANTS))
        if names:
            raise BaseModelError(
                f"{what} {len(names)} weights, first {names[0]!r}: it is not the model that config.json names",
                where=str(weights / WEIGHTS),
                fix="save the fine-tuned model with save_pretrained(…)",
            )
    return model


def _renamed(model: Any, head: adopted.Head, weights: Path) -> dict[str, torch.Tensor]:
    """``encoder.``, ``pooler.`` and ``head.`` instead of transformers' names."""
    moves = [(head.output, "head"), (head.dense, "pooler.dense"), (head.norm, "pooler.norm")]
    moves = [(before, after) for before, after in moves if before] + [(model.base_model_prefix, "encoder")]
    made: dict[str, torch.Tensor] = {}
    left = []
    for name, value in model.state_dict().items():
        place = next((pair for pair in moves if name.startswith(f"{pair[0]}.")), None)
        if place is None:
            left.append(name)
            continue
        made[f"{place[1]}{name.removeprefix(place[0])}"] = value.detach().float().contiguous().clone()
    missing = [before for before, after in moves if f"{after}.weight" not in made and after != "encoder"]
    if left or missing:
        raise BaseModelError(
            f"its head is not of the kind that is known for {model.config.model_type}: "
            + (f"{left[0]!r} has no place" if left else f"{missing[0]!r} is missing"),
            where=str(weights / WEIGHTS),
            fix="a head of another kind cannot be adopted; train one of ours on it: finetide init --base",
        )
    return made


def check_tokens(weights: Path, texts: Sequence[str], limit: int) -> None:
    """Raises: BaseModelError: transformers' own tokenizer makes other tokens of a text than tokenizer.json does."""
    some = list(dict.fromkeys(texts))[:COMPARED]
    if not some or not (weights / "tokenizer_config.json").is_file():
        return
    try:
        with quiet():
            theirs: Any = transformers.AutoTokenizer.from_pretrained(
                weights, local_files_only=True, trust_remote_code=False
            )
            found = theirs(some, truncation=True, max_length=limit)["input_ids"]
    except Exception as error:  # of a damaged or foreign file it raises all kinds
        raise BaseModelError(
            f"transformers cannot read its own tokenizer: {' '.join(str(error).split())[:200]}",
            where=str(weights / "tokenizer_config.json"), fix=SAVE_TOKENIZER,
        ) from error  # fmt: skip
    ours = encode(load_tokenizer(str(weights / TOKENIZER)), some, limit)
    for text, one, other in zip(some, found, ours, strict=True):
        if one != other:
            raise BaseModelError(
                "tokenizer.json makes other tokens of a text than transformers' own tokenizer does "
                f"(tokenizer_config.json): {json.dumps(text[:60], ensure_ascii=False)}",
                where=str(weights / TOKENIZER), found=f"{other[:12]}, not {one[:12]}",
                fix=SAVE_TOKENIZER,
            )  # fmt: skip

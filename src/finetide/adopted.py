"""A checkpoint that transformers saved, as its files describe it: which head it has, what its labels are called, how
many tokens it read. Nothing here loads weights.

One line a model type says where the head's layers are; `finetide.tasks.adopted` moves them. What is not in the table
is refused: an approximate translation would be another model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetide.contracts.pooler import Pooler
from finetide.errors import BaseModelError
from finetide.task import entry

WEIGHTS = "model.safetensors"
# Transformers' names of labels that nobody has named.
GENERIC = re.compile(r"LABEL_(\d+)")
# Labels that an error names.
NAMED = 6
# A tokenizer without a limit of its own says 10³⁰.
UNLIMITED = 1_000_000
SAID = "config:"


@dataclass(frozen=True)
class Head:
    """Where transformers keeps a head's layers, by name. ``dense`` and ``norm``: before the ``output``; empty: none.

    ``pooling``, ``activation``, ``bias``, ``norm_bias`` and ``epsilon`` may be ``config:KEY``, a key of config.json.
    """

    output: str
    dense: str = ""
    activation: str | None = None
    norm: str = ""
    pooling: str | None = "cls"
    patches: bool = False
    bias: str | bool = True
    epsilon: str = ""
    norm_bias: str | bool = True

    def pooler(self, config: Mapping[str, Any]) -> Pooler:
        def said(value: Any) -> Any:
            return config[value.removeprefix(SAID)] if str(value).startswith(SAID) else value

        return Pooler(
            pooling=said(self.pooling),
            patches=self.patches,
            dense=bool(self.dense),
            bias=said(self.bias),
            activation=said(self.activation),
            norm=said(self.epsilon) if self.norm else None,
            norm_bias=said(self.norm_bias),
        )


_CLS_TANH = Head("classifier.out_proj", dense="classifier.dense", activation="tanh")
_MODERN = Head(
    "classifier", dense="head.dense", activation="config:classifier_activation", norm="head.norm",
    pooling="config:classifier_pooling", bias="config:classifier_bias", epsilon="config:norm_eps",
    norm_bias="config:norm_bias",
)  # fmt: skip
_SPANS = Head("qa_outputs", pooling=None)
_AVERAGED = Head("classifier", pooling="mean")
# Task → what its architectures are called, and model type → head.
HEADS: dict[str, tuple[str, dict[str, Head]]] = {
    "text-classification": (
        "ForSequenceClassification",
        {
            "bert": Head("classifier", dense="bert.pooler.dense", activation="tanh"),
            "camembert": _CLS_TANH,
            "deberta-v2": Head("classifier", dense="pooler.dense", activation="config:pooler_hidden_act"),
            "distilbert": Head("classifier", dense="pre_classifier", activation="relu"),
            "electra": Head("classifier.out_proj", dense="classifier.dense", activation="gelu"),
            "modernbert": _MODERN,
            "mpnet": _CLS_TANH,
            "roberta": _CLS_TANH,
            "xlm-roberta": _CLS_TANH,
        },
    ),
    "image-classification": (
        "ForImageClassification",
        {
            "convnext": _AVERAGED,
            "deit": Head("classifier"),
            "dinov2": Head("classifier", patches=True),
            "mobilenet_v2": _AVERAGED,
            "resnet": Head("classifier.1", pooling="mean"),
            "swin": _AVERAGED,
            "vit": Head("classifier"),
        },
    ),
    "question-answering": (
        "ForQuestionAnswering",
        {
            **dict.fromkeys(
                ("bert", "camembert", "deberta-v2", "distilbert", "electra", "mpnet", "roberta", "xlm-roberta"), _SPANS
            ),
            "modernbert": Head(
                "classifier", dense="head.dense", activation="config:classifier_activation", norm="head.norm",
                pooling=None, bias="config:classifier_bias", epsilon="config:norm_eps", norm_bias="config:norm_bias",
            ),
        },
    ),
}  # fmt: skip


def check_folder(folder: Path) -> None:
    """Raises: BaseModelError: it holds no model but an adapter, or checkpoints only.

    What a Trainer leaves beside the weights (training_args.bin, optimizer.pt, …) is neither read nor in the way.
    """
    if (folder / WEIGHTS).is_file() or not folder.is_dir():
        return
    if (folder / "adapter_config.json").is_file():
        raise BaseModelError(
            f"holds an adapter and not the model (adapter_config.json, no {WEIGHTS})",
            where=str(folder),
            fix="merge it first: model.merge_and_unload().save_pretrained(FOLDER), and save the tokenizer there too",
        )
    inside = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    if inside:
        inside.sort(key=lambda path: int(path.name.removeprefix("checkpoint-")))
        names = ", ".join(path.name for path in inside[-NAMED:])
        raise BaseModelError(
            f"has no {WEIGHTS} of its own, only checkpoints ({names})",
            where=str(folder),
            fix=f"name the one that you mean, e.g. {inside[-1]}; trainer_state.json in the last one names the best",
        )


def read_config(folder: Path) -> dict[str, Any]:
    """config.json, of which `finetide.base` has seen that it is one."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config


def head_of(folder: Path, task: str) -> Head:
    """Raises: BaseModelError: it has no head for ``task``, or one that is not known here."""
    config, path = read_config(folder), str(folder / "config.json")
    kind, heads = entry(HEADS, task)
    architectures = config.get("architectures")
    found = architectures[0] if isinstance(architectures, list) and architectures else None
    if config["model_type"] not in heads:
        raise BaseModelError(
            f"{task} can adopt no head of this architecture", where=path, found=config["model_type"],
            fix=f"one of: {', '.join(sorted(heads))}; or train a head of our own on it: finetide init --base {folder}",
        )  # fmt: skip
    if not isinstance(found, str) or not found.endswith(kind):
        raise BaseModelError(
            f"is no model for {task}: architectures names none that ends in {kind}", where=path, found=found,
            fix=f"save the fine-tuned model itself; a base without a head is for: finetide init --base {folder}",
        )  # fmt: skip
    if task != "question-answering":
        _check_one_label(config, path)
    return heads[config["model_type"]]


def pooling_of(folder: Path, head: Head) -> str | None:
    """Which vector the head sees, as train.pooling spells it; None where it sees every token's."""
    if head.pooling is None or not head.pooling.startswith(SAID):
        return head.pooling
    return str(read_config(folder).get(head.pooling.removeprefix(SAID), "cls"))


def _check_one_label(config: Mapping[str, Any], path: str) -> None:
    problem = config.get("problem_type")
    if problem not in (None, "single_label_classification") or len(_names(config, path)) < 2:
        raise BaseModelError(
            "does not choose one label of several a row, which is what Finetide's classifiers do", where=path,
            found=problem or "one output", fix="a regression or a model of several labels a row cannot be adopted",
        )  # fmt: skip


def labels_of(folder: Path, wanted: Sequence[str]) -> tuple[str, ...]:
    """What the model's outputs are called, in their order, in the words of the data.

    By name; by number where the data's labels are numbers and none of them is a name. A label of the model that no row
    has stays: it is one of its answers.

    Args: wanted: labels of the data.

    Raises: BaseModelError: labels that nobody has named, or a label of the data that the model does not know.
    """
    path = str(folder / "config.json")
    names = _names(read_config(folder), path)
    numbers = tuple(str(place) for place in range(len(names)))
    if not set(wanted) & set(names) and set(wanted) <= set(numbers):
        return numbers
    if all(GENERIC.fullmatch(name) for name in names) and not set(wanted) & set(names):
        example = ", ".join(f'"{place}": "{label}"' for place, label in enumerate(sorted(wanted)[:2]))
        raise BaseModelError(
            f"names its labels {names[0]}, {names[1]}, … (id2label), which does not say which is which of the data's",
            where=path,
            found=_shown(wanted),
            fix=f"write their names into id2label, in the order that training had, e.g. {{{example}, …}}",
        )
    unknown = sorted(set(wanted) - set(names))
    if unknown:
        raise BaseModelError(
            f"the model does not know labels that the data have: {_shown(unknown)}",
            where=path,
            found=f"id2label: {_shown(names)}",
            fix="if they are known under other names, write the data's into id2label; if they are new, leave their "
            "rows out and bring them with `finetide advance` once the model is in service",
        )
    return names


def _names(config: Mapping[str, Any], path: str) -> tuple[str, ...]:
    """Transformers leaves id2label out where it is LABEL_0 and LABEL_1."""
    said = config.get("id2label") or {str(place): f"LABEL_{place}" for place in range(int(config.get("num_labels", 2)))}
    found = {int(key): str(name) for key, name in said.items() if str(key).isdigit()} if isinstance(said, dict) else {}
    names = tuple(found.get(place, "") for place in range(len(said)))
    if not all(names) or len(set(names)) < len(names):
        raise BaseModelError(
            "id2label must give every output from 0 on a name of its own", where=path, found=json.dumps(said)[:200],
            fix="correct it by hand; training had that order",
        )  # fmt: skip
    return names


def tokens_read(folder: Path, positions: int | None) -> tuple[int, str] | None:
    """How many tokens the model read of a text in training, and which file says so; None where none does.

    A tokenizer that was saved after it had cut texts says where. Else it is all that tokenizer and model can take.

    Args: positions: of the model.
    """
    cut = _json(folder / "tokenizer.json").get("truncation")
    if isinstance(cut, dict) and type(cut.get("max_length")) is int:
        return min(cut["max_length"], positions or cut["max_length"]), "where the tokenizer cut texts (tokenizer.json)"
    said = _json(folder / "tokenizer_config.json").get("model_max_length")
    limits: list[tuple[int, str]] = []
    if isinstance(said, int | float) and 0 < said < UNLIMITED:
        limits.append((int(said), "model_max_length (tokenizer_config.json)"))
    if positions is not None:
        limits.append((positions, "the positions that the model has (config.json)"))
    return min(limits, default=None)


def cropped(folder: Path) -> int | None:
    """Pixels a side that an image processor cuts out of the middle; None where it cuts nothing."""
    said = _json(folder / "preprocessor_config.json")
    size = said.get("crop_size")
    side = size.get("height") if isinstance(size, dict) else size
    return side if said.get("do_center_crop") and type(side) is int else None


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _shown(labels: Sequence[str]) -> str:
    return ", ".join(sorted(labels)[:NAMED]) + (", …" if len(labels) > NAMED else "")

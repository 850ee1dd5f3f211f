"""What the commands share: the project's folder, the choice of models, the look of an example."""

from __future__ import annotations

from pathlib import Path

import click

from finetide.errors import InputError, ProjectError

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
        raise InputError("unknown model", where=PARAMS_FILE, found=model, fix=f"models there: {', '.join(names)}")
    return [model]

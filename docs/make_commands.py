"""Writes docs/commands.md from the command line's own help: `python docs/make_commands.py`. A test compares."""

from __future__ import annotations

from pathlib import Path

import click

from finetide.cli.main import cli

HEADER = """# Commands

Every verb answers to `--help`, and every one works from any folder inside a project. [Exit codes](exit-codes.md) are
the same for all. Written by `docs/make_commands.py` from the command line's own help.
"""


def page() -> str:
    return HEADER + "".join(_verb(name, command) for name, command in cli.commands.items())


def _verb(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"finetide {name}")
    lines = [f"## finetide {name}", "", command.get_short_help_str(limit=10_000), ""]
    lines += ["```text", " ".join([f"finetide {name}", *command.collect_usage_pieces(context)]), "```", ""]
    options = [option for option in command.params if isinstance(option, click.Option)]
    if options:
        lines += ["| option | meaning |", "|---|---|", *(_option(option) for option in options), ""]
    examples = [line.strip() for line in (command.epilog or "").strip().splitlines()]
    lines += ["```console", *(f"$ {line}" for line in examples), "```", ""]
    return "\n" + "\n".join(lines).rstrip() + "\n"


def _option(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    said = [option.help or ""]
    if isinstance(option.type, click.Choice):
        said.append("One of " + ", ".join(f"`{choice}`" for choice in option.type.choices) + ".")
    if option.required:
        said.append("Required.")
    elif option.show_default:
        said.append(f"Default: `{option.default}`.")
    return f"| {names} | {' '.join(part for part in said if part)} |"


if __name__ == "__main__":
    Path(__file__).with_name("commands.md").write_text(page(), encoding="utf-8")

"""The console blocks of the manual, as a person would type them.

A block is fenced with ``console``. A line that starts with ``$ `` is a command; it goes on while it ends with a
backslash or a here-document is open. Other lines are what the command prints, at least these and in this order; ``…``
stands for any text, and alone on a line for any lines or none. ``# ends with 3`` after a command names its exit code,
where that is not 0. A block that cannot run in a test stands after a line ``<!-- no-test: REASON -->``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_CODE = re.compile(r"\s+# ends with (\d+)$")
_SKIP = re.compile(r"<!-- no-test: (.+) -->")


@dataclass(frozen=True)
class Command:
    """``at``: PAGE:LINE. ``prints``: the lines that the page shows."""

    at: str
    text: str
    exit_code: int
    prints: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """``no_test``: why it does not run in a test; empty where it does."""

    at: str
    no_test: str
    commands: tuple[Command, ...]


def blocks(page: str) -> list[Block]:
    """All console blocks of docs/PAGE, in order."""
    found: list[Block] = []
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    number, no_test = 0, ""
    while number < len(lines):
        line = lines[number]
        if line == "```console":
            end = lines.index("```", number)
            commands = tuple(_commands(lines[number + 1 : end], page, number + 2))
            found.append(Block(f"{page}:{number + 1}", no_test, commands))
            number = end
        if line.strip():
            skip = _SKIP.fullmatch(line)
            no_test = skip[1] if skip else ""
        number += 1
    return found


def _commands(lines: list[str], page: str, first: int) -> Iterator[Command]:
    number = 0
    while number < len(lines):
        assert lines[number].startswith("$ "), f"{page}:{first + number}: no command before this line"
        start, text = number, lines[number][2:]
        number += 1
        while text.endswith("\\"):
            text += "\n" + lines[number]
            number += 1
        if here := re.search(r"<<'(\w+)'", text):
            end = lines.index(here[1], number)
            text = "\n".join([text, *lines[number : end + 1]])
            number = end + 1
        prints = []
        while number < len(lines) and not lines[number].startswith("$ "):
            prints.append(lines[number])
            number += 1
        code = _CODE.search(text)
        yield Command(f"{page}:{first + start}", _CODE.sub("", text), int(code[1]) if code else 0, tuple(prints))


def not_printed(shown: tuple[str, ...], output: str) -> list[str]:
    """Those of the lines shown that the output does not hold, each looked for after the one before it."""
    rest, missing = [" ".join(line.split()) for line in output.splitlines()], []
    for line in (line for line in shown if line != "…"):
        pattern = ".*".join(re.escape(part) for part in " ".join(line.split()).split("…"))
        place = next((at for at, said in enumerate(rest) if re.fullmatch(pattern, said)), None)
        if place is None:
            missing.append(line)
        else:
            rest = rest[place + 1 :]
    return missing

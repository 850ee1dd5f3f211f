"""docs/causes.md: every cause with what is said and the exit code. `make causes` writes it, test_causes.py compares.

Paths, hashes and places that depend on the machine are left out of the messages, so that two machines agree.
"""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from bad_input.cause import Cause
from bad_input.causes import CAUSES

PAGE = Path(__file__).parents[2] / "docs" / "causes.md"
PYTHON = ".".join(platform.python_version_tuple()[:2])
BEGINS = re.compile(r"(error: |Error: |Usage: |✗ |\w+: (halted|failed|rejected): )")
LEFT_OUT = re.compile(r"\s+(report|in service|next): |✓ |⊘ |\d+ of the checks failed$")
CHANGING = (
    (re.compile(r"[0-9a-f]{12,64}"), "HASH"),
    (re.compile(r"process \d+"), "process N"),
    (re.compile(r"line \d+ column \d+ \(char \d+\)"), "line N column N"),
    (re.compile(r"\d+(\.\d+)? ([GMk]i?B)\b"), r"N \2"),
    (re.compile(r"\d+\.\d{3,}(e-?\d+)?"), "N"),
    (re.compile(r"tmp[a-z0-9_]{8}"), "TMP"),
    (re.compile(r"(/\.[a-z0-9-]*(\.[a-z]+)*[.-])(\d+-)?[a-z0-9_]{8}\b"), r"\1TMP"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:+]+"), "TIME"),
    (re.compile(r"[^ '\"]*/(?=test_cause_[^ '\"]*/f/)test_cause_[^/]*/f/"), "../"),
    (re.compile(r'resolved path: "[^"\n]*"?'), "resolved path: …"),  # the message ends at a number of characters
)
HEADER = f"""# Causes of errors

Each cause was brought about in a project on a small model, and the command was run. This is what a person then reads,
with the exit code ([what it means](exit-codes.md)); earlier outputs stayed as they were, and nothing half-written was
left. Written by `make causes` (Python {PYTHON}); the tests compare. Hashes and numbers of the machine are left out.

Looking for your own error? [Troubleshooting](troubleshooting.md) tells more about each kind.
"""


def message(output: str, replaced: Mapping[str, str]) -> str:
    """What is said of the error. Args: replaced: path of this machine → how the page names it, longest first."""
    lines = output.splitlines()
    start = next((index for index, line in enumerate(lines) if BEGINS.match(line)), 0)
    text = "\n".join(line.rstrip() for line in lines[start:] if not LEFT_OUT.match(line)).strip()
    for path, name in replaced.items():
        text = text.replace(path, name)
    for pattern, name in CHANGING:
        text = pattern.sub(name, text)
    return text


def entry(cause: Cause, said: str, code: int) -> str:
    """One cause as the page shows it."""
    if code == 0:
        said = "no error: it works all the same"
    command = " ".join(cause.command).replace("{root}/", "").replace("{root}", ".").replace("{folder}", "..")
    command = command.replace("\n", "\\n")
    return f"**{cause.name}**: `finetide {command.strip()}` ends with {code}\n\n```text\n{said}\n```\n"


def write(folder: Path) -> str:
    """The page from what the tests left in ``folder``: one JSON file a cause, named by its place in `CAUSES`."""
    kinds: dict[str, list[str]] = {}
    for index, cause in enumerate(CAUSES):
        found = json.loads((folder / f"{index}.json").read_text(encoding="utf-8"))
        kinds.setdefault(cause.kind, []).append(entry(cause, found["said"], found["code"]))
    parts = [HEADER, f"{len(CAUSES)} causes in {len(kinds)} classes.\n"]
    for kind, entries in kinds.items():
        parts += [f"## {kind[0].upper()}{kind[1:]}\n", *entries]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(write(Path(sys.argv[1])), encoding="utf-8")

"""Changes params.yaml in place, comments and order kept, and shows the change as a diff."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.representer import RoundTripRepresenter

from finetide.config.load import PARAMS_FILE, check
from finetide.config.params import Params
from finetide.files import write_text


class _NullWritten(RoundTripRepresenter):
    """Writes null as the word; ruamel leaves the place empty."""


_NullWritten.add_representer(
    type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
)


def edited(root: Path, changes: Mapping[tuple[str | int, ...], Any]) -> tuple[str, str]:
    """The file as it would be, and the difference as ``diff -u`` shows it; nothing is written.

    Args: changes: path of keys and list indices → value.

    Raises: ConfigError when the result would not be valid.
    """
    before = (root / PARAMS_FILE).read_text(encoding="utf-8")
    yaml = YAML()
    yaml.width = 4096
    yaml.preserve_quotes = True
    if re.search(r": null$", before, re.MULTILINE):
        yaml.Representer = _NullWritten
    offset = _offset(before)
    yaml.indent(mapping=2, sequence=offset + 2, offset=offset)
    document = yaml.load(before)
    for path, value in changes.items():
        place = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
    stream = StringIO()
    yaml.dump(document, stream)
    after = stream.getvalue()
    check(YAML(typ="safe").load(after), Params, file=PARAMS_FILE)
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{PARAMS_FILE}", f"b/{PARAMS_FILE}", n=2
    )
    return after, "".join(lines)


def _offset(text: str) -> int:
    """How far the file indents the dashes of a list below its key."""
    found = re.search(r"^( *)[^\s#-][^\n]*:[ \t]*(?:#[^\n]*)?\n( *)- ", text, re.MULTILINE)
    return max(0, len(found[2]) - len(found[1])) if found else 0


def write(root: Path, text: str) -> None:
    """Replace the file at once."""
    write_text(root / PARAMS_FILE, text)

from __future__ import annotations

from pathlib import Path

import pytest

from finetide.errors import IntegrityError
from finetide.registry import alias
from support.registry import MODEL, promote


def test_no_alias_before_the_first_promotion(root: Path) -> None:
    assert alias.read_alias(root, MODEL) is None


def test_the_alias_says_what_a_server_needs(root: Path) -> None:
    entry = promote(root, "one", at="2026-01-05T10:00:00+00:00")
    read = alias.read_alias(root, MODEL)
    assert read == alias.alias_of(entry)
    assert read is not None
    assert (read.version, read.entry, read.since) == ("v1", 1, "2026-01-05T10:00:00+00:00")
    assert (root / read.bundle / "model.onnx").is_file()


def test_a_torn_alias_is_found(root: Path) -> None:
    promote(root, "one")
    alias.alias_path(root, MODEL).write_text('{"model": "tick')
    with pytest.raises(IntegrityError, match=r"champion\.json: is not valid JSON"):
        alias.read_alias(root, MODEL)

"""An edit of params.yaml changes its lines and no others, however the file indents its lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetide.config import edit
from finetide.errors import ConfigError

ROOT = Path(__file__).parents[3]
WHERE = ("models", "tickets", "train", "phases", 1)


@pytest.mark.parametrize("dashes", ["indented", "flush"])
def test_only_the_line_changes(tmp_path: Path, dashes: str) -> None:
    text = (ROOT / "params.yaml").read_text()
    if dashes == "flush":  # as `finetide init` writes them
        from io import StringIO

        from ruamel.yaml import YAML

        yaml, stream = YAML(), StringIO()
        yaml.width = 4096
        yaml.dump(yaml.load(text), stream)
        text = stream.getvalue()
    (tmp_path / "params.yaml").write_text(text)
    after, difference = edit.edited(tmp_path, {(*WHERE, "learning_rate"): 2.5e-4, (*WHERE, "layers"): {"last": 2}})
    changed = [line for line in difference.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    removed = [line.strip("- ") for line in changed if line.startswith("-")]
    assert "learning_rate: 1.0e-4" in removed
    assert len(removed) == 5  # the rate, and the four lines of the rules
    assert [line.strip("+ ") for line in changed if line.startswith("+")] == ["last: 2", "learning_rate: 0.00025"]
    assert after.count("\n") == text.count("\n") - 3
    assert (tmp_path / "params.yaml").read_text() == text
    edit.write(tmp_path, after)
    assert (tmp_path / "params.yaml").read_text() == after


def test_a_value_that_the_file_may_not_have_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    with pytest.raises(ConfigError, match="learning_rate: must be greater than 0"):
        edit.edited(tmp_path, {(*WHERE, "learning_rate"): -1.0})

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from finetide.config.graph import stage_files
from finetide.errors import ConfigError

WHOLE = (files("finetide.init") / "graph.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("last", "says"),
    [
        ("\n  validate:", "has no stage 'validate'"),
        ("\n  validate:\n", "stages.validate: must be a mapping"),
    ],
)
def test_a_torn_graph_comes_from_git_or_from_init(tmp_path: Path, last: str, says: str) -> None:
    """Cut before a stage, and right after its name."""
    before, _, _ = WHOLE.partition("\n  validate:")
    (tmp_path / "dvc.yaml").write_text(before + (last if last.endswith("\n") else "\n"))
    assert stage_files(tmp_path, "ingest", "mail").deps
    with pytest.raises(ConfigError) as caught:
        stage_files(tmp_path, "validate", "mail")
    said = str(caught.value)
    assert said.startswith(f"dvc.yaml: {says}")
    assert "fix: take it from git: git checkout dvc.yaml; or from a project that `finetide init` writes" in said


def test_a_whole_one_is_read(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text(WHOLE)
    assert set(stage_files(tmp_path, "validate", "mail").outs) >= {"quality.json"}

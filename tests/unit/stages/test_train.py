"""The train stage on a micro base: outputs, resume across processes, warm start, what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML
from safetensors.numpy import load_file

from finetide import tasks
from finetide.config.stage import Stage
from finetide.config.train import TrainParams
from finetide.contracts.bundle import Manifest
from finetide.contracts.gate import GateRecord
from finetide.contracts.label_issues import LabelIssues
from finetide.contracts.shift import Recipe
from finetide.contracts.training import TrainingReport
from finetide.contracts.window import ChampionPin, Start, Window
from finetide.engine.specs import ProbeSpec, TuneSpec
from finetide.errors import DataError, IntegrityError, ProjectError
from finetide.files import sha256_file, tree_hashes
from finetide.layers.rules import Rule
from finetide.stages import train
from finetide.task import ModelSettings
from support import studies
from support.messages import LABELS, rows
from support.micro import HIDDEN, micro_base

PROJECT = Path(__file__).parents[3]
MODEL = "tickets"
CHAMPION = ChampionPin(version="v1", hash="c" * 64)
PROBE: dict[str, Any] = {"kind": "probe", "l2": [0.001, 0.01], "max_iterations": 50}
TUNE: dict[str, Any] = {**studies.TUNE, "evaluations_per_epoch": 2, "overfit_gap": 0.2}


ADAPTERS = {"dora": {"rank": 4, "alpha": 8.0, "dropout": 0.1, "targets": "linear"}}


def table(count: int = 90) -> pd.DataFrame:
    """As many reference rows as incoming ones; every tenth incoming row has no label."""
    made = []
    for role, domain in (("reference", "shop"), ("incoming", "airline")):
        for index, row in enumerate(rows(count, domain, 1)):
            label = None if role == "incoming" and index % 10 == 0 else row["intent"]
            made.append(
                {
                    "row_id": f"{domain}.csv:{index + 2}", "role": role, "file": f"{domain}.csv", "line": index + 2,
                    "label": label, "split": row["side"], "group": None, "text": row["body"],
                }
            )  # fmt: skip
    return pd.DataFrame(made)


class Project:
    def __init__(self, root: Path, phases: list[dict[str, Any]] | None = None) -> None:
        self.root = root
        root.mkdir(exist_ok=True)
        shutil.copy(PROJECT / "dvc.yaml", root / "dvc.yaml")
        shutil.copy(PROJECT / "params.yaml", root / "params.yaml")
        sha256 = micro_base(root / "base")
        self.params(
            base={"source": "path:base", "revision": None, "sha256": sha256},
            train={
                "max_length": 32, "batch_rows": 16, "batch_tokens": 128, "checkpoint_every_steps": 2,
                "prefix_cache_gib": 1.0, "packing": "auto", "precision": "fp32", "phases": phases or [PROBE, TUNE],
            },
        )  # fmt: skip
        (root / "finetide.lock").write_text(json.dumps({"stages": {MODEL: {"train": {"code": "abc"}}}}))
        self.window()
        self.rows(table())
        self.recipe(1.0)
        GateRecord().write(self.dep("gate.json"))

    def dep(self, name: str) -> Path:
        path = self.root / self.stage.files.deps[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def stage(self) -> Stage:
        return Stage.open(self.root, "train", MODEL)

    def params(self, **sections: dict[str, Any]) -> None:
        yaml, path = YAML(), self.root / "params.yaml"
        document = yaml.load(path.read_text(encoding="utf-8"))
        for section, values in sections.items():
            document["models"][MODEL][section].update(values)
        stream = StringIO()
        yaml.dump(document, stream)
        path.write_text(stream.getvalue(), encoding="utf-8")

    def window(self, *, champion: ChampionPin | None = None, start: Start = "base") -> None:
        start = "champion" if champion else start
        Window(model=MODEL, start=start, champion=champion, files=()).write(self.dep("window.json"))

    def rows(self, frame: pd.DataFrame) -> None:
        frame.to_parquet(self.dep("split.parquet"))

    def recipe(self, replay: float) -> None:
        Recipe(verdict="none", replay=replay, reason="").write(self.dep("recipe.json"))

    def promote(self, *labels: str) -> Path:
        """Weights of a champion with these labels in the store, as a promotion leaves them."""
        task = tasks.load("text-classification")
        built = task.build(self.root / "base", ModelSettings(labels, 32, "mean", 0.1), seed=9)
        folder = self.root / "serving" / MODEL / CHAMPION.hash / "weights"
        task.save(built, folder)
        Manifest(files=tree_hashes(folder), lineage={}).write(folder.parent / "weights.json")
        self.window(champion=CHAMPION)
        return folder

    def run(self) -> TrainingReport:
        train.run(self.stage)
        return self.report

    @property
    def report(self) -> TrainingReport:
        return TrainingReport.read(self.stage.out("training.json"))

    def outputs(self) -> dict[str, str]:
        return tree_hashes(self.stage.out("training.json").parent)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


def test_the_stage_writes_the_model_the_probe_the_report_and_the_curve(project: Project) -> None:
    report = project.run()
    assert report.labels == tuple(sorted(LABELS))
    assert [phase.kind for phase in report.phases] == ["probe", "tune"]
    assert report.phases[report.kept].metric >= report.phases[0].metric
    assert report.sentence.startswith(f"kept phase {report.kept + 1}")
    assert (report.train_rows, report.validation_rows) == (102, 33)
    assert report.start_hash == sha256_file(project.root / "base" / "model.safetensors")
    assert report.weights_sha256 == sha256_file(project.stage.out("model") / "model.safetensors")
    assert report.frozen_proof
    assert all("embeddings" in name for name in report.frozen_proof)
    probe = load_file(project.stage.out("probe.safetensors"))
    assert (probe["weight"].shape, probe["bias"].shape) == ((3, HIDDEN), (3,))
    curve = pd.read_csv(project.stage.out("curve.csv"))
    assert list(curve["phase"]) == [0, 1, 1, 1]
    assert {path.name for path in project.stage.out("model").iterdir()} == {
        "model.safetensors", "config.json", "tokenizer.json", "labels.json",
    }  # fmt: skip


def test_adapters_are_gone_from_what_the_stage_writes(project: Project, tmp_path: Path) -> None:
    plain = project.run()
    adapters = {"lora": {"rank": 4, "alpha": 8.0, "dropout": 0.0, "targets": "linear"}}
    other = Project(tmp_path / "lora", [PROBE, {**TUNE, "layers": adapters, "learning_rate": 1.0e-2}])
    report = other.run()
    # 2 blocks of 32 × 32 four times and 32 × 64 twice; 3 labels.
    assert report.phases[1].trainable == 2 * 4 * (4 * 64 + 2 * 96) + 3 * (HIDDEN + 1)
    assert report.phases[1].frozen == plain.phases[0].trainable + plain.phases[0].frozen - 3 * (HIDDEN + 1)
    assert any("with lora of rank 4, alpha 8 beside 12 of them" in line for line in report.phases[1].decisions)
    model, theirs = (load_file(one.stage.out("model") / "model.safetensors") for one in (project, other))
    assert {name: value.shape for name, value in model.items()} == {name: value.shape for name, value in theirs.items()}
    assert "encoder.encoder.layer.0.attention.self.query.bias" in report.frozen_proof
    assert "encoder.encoder.layer.0.attention.self.query.weight" not in report.frozen_proof  # merged into since


def test_flipped_labels_are_listed_with_their_place_and_test_rows_never(project: Project) -> None:
    frame = table(300)
    rng = np.random.default_rng(0)
    sides = frame["split"].isin(["train", "test"]) & frame["label"].notna()
    flipped = rng.choice(frame.index[sides], 40, replace=False)
    frame.loc[flipped, "label"] = [LABELS[(LABELS.index(label) + 1) % 3] for label in frame.loc[flipped, "label"]]
    project.rows(frame)
    project.run()
    found = LabelIssues.read(project.stage.out("label_issues.json"))
    training = {frame["row_id"][index] for index in flipped if frame["split"][index] == "train"}
    first = {issue.row_id for issue in found.train.issues[: len(training)]}
    assert len(first & training) >= len(training) / 2
    sides_of = dict(zip(frame["row_id"], frame["split"], strict=True))
    assert {sides_of[issue.row_id] for issue in found.train.issues} == {"train"}
    assert {sides_of[issue.row_id] for issue in found.validation.issues} <= {"validation"}
    issue = found.train.issues[0]
    (row,) = frame[frame["row_id"] == issue.row_id].to_dict("records")
    assert (issue.file, issue.line, issue.given, issue.value) == (row["file"], row["line"], row["label"], row["text"])


def test_labels_are_judged_on_the_base_whatever_training_starts_from(project: Project) -> None:
    project.run()
    before = project.stage.out("label_issues.json").read_bytes()
    project.promote(*sorted(LABELS))
    assert project.run().start == "champion"
    assert project.stage.out("label_issues.json").read_bytes() == before


def test_from_scratch_nothing_of_the_base_is_left_but_its_shape(project: Project) -> None:
    project.params(train={"phases": [{**TUNE, "layers": "full"}]})
    known = project.run()
    issues = project.stage.out("label_issues.json").read_bytes()
    name = "encoder.encoder.layer.0.intermediate.dense.weight"
    base = load_file(project.root / "base" / "model.safetensors")[name.removeprefix("encoder.")]
    tuned = load_file(project.stage.out("model") / "model.safetensors")[name]
    project.window(start="scratch")
    found = project.run()
    scratch = load_file(project.stage.out("model") / "model.safetensors")[name]
    assert (found.start, found.start_hash) == ("scratch", known.start_hash)
    assert np.corrcoef(tuned.ravel(), base.ravel())[0, 1] > 0.9
    assert abs(np.corrcoef(scratch.ravel(), base.ravel())[0, 1]) < 0.1
    assert project.stage.out("label_issues.json").read_bytes() == issues  # judged on the base all the same


def test_one_label_leaves_nothing_to_judge(project: Project) -> None:
    project.rows(table().assign(label=LABELS[0]))
    project.run()
    assert LabelIssues.read(project.stage.out("label_issues.json")).train.rows == 0


def test_two_projects_in_other_folders_give_the_same_bytes(project: Project, tmp_path: Path) -> None:
    project.run()
    other = Project(tmp_path / "elsewhere")
    other.run()
    assert other.outputs() == project.outputs()


@pytest.mark.parametrize(
    "layers", [TUNE["layers"], pytest.param(ADAPTERS, marks=pytest.mark.slow)], ids=["rules", "dora"]
)
def test_a_killed_process_is_continued_to_the_same_bytes(tmp_path: Path, layers: Any) -> None:
    """Ended in the middle of a step without any clean-up; the engine's own tests do so at random steps."""
    phases = [PROBE, {**TUNE, "layers": layers}]
    project = Project(tmp_path / "whole", phases)
    project.run()
    other = Project(tmp_path / "killed", phases)
    script = """
import os, sys
from pathlib import Path
from finetide.config.stage import Stage
from finetide.engine import tune
from finetide.stages import train
original, left = tune.Tuner._step, [int(sys.argv[2])]
def dying(self, rows, at):
    left[0] -= 1
    if left[0] == 0:
        os._exit(9)
    return original(self, rows, at)
tune.Tuner._step = dying
train.run(Stage.open(Path(sys.argv[1]), "train", "tickets"))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(other.root), "4"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 9, done.stderr
    assert not other.stage.out("training.json").exists()
    assert len(pd.read_csv(other.stage.out("curve.csv"))) >= 2  # what a person watches is there already
    shutil.rmtree(other.root / "artifacts" / MODEL / "train")  # DVC deletes the outputs when a stage starts
    other.run()
    assert other.outputs() == project.outputs()


@pytest.mark.parametrize("how", ["cut", "gone", "more"])
def test_a_finished_training_that_was_damaged_is_done_again(
    how: str, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.run()
    before = project.outputs()
    path = next(project.root.rglob("finished/model/model.safetensors"))
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-7])
    else:
        path = path.with_name("stray")
        path.write_text("")
    capsys.readouterr()
    project.run()
    assert project.outputs() == before
    told = capsys.readouterr().err
    assert f"finished is not used: model/{path.name} is not what was written; training is done again" in told


def test_a_finished_training_is_brought_back_without_training(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.run()
    before = project.outputs()
    shutil.rmtree(project.root / "artifacts" / MODEL / "train")

    def never(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(train, "train", never)
    project.run()
    assert project.outputs() == before


@pytest.mark.parametrize("part", ["params", "rows", "code", "recipe", "tokenizer"])
def test_a_change_of_any_input_trains_anew(project: Project, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    project.run()
    if part == "params":
        project.params(train={"dropout": 0.2})
    elif part == "rows":
        project.rows(table(93))
    elif part == "code":
        (project.root / "finetide.lock").write_text(json.dumps({"stages": {MODEL: {"train": {"code": "def"}}}}))
    elif part == "recipe":
        project.recipe(0.5)
    else:
        path = project.root / "base" / "tokenizer.json"
        path.write_text(path.read_text() + " ")

    class TrainedError(Exception):
        pass

    def trained(*_: object) -> None:
        raise TrainedError

    monkeypatch.setattr(train, "train", trained)
    with pytest.raises(TrainedError):
        project.run()


def test_checkpoints_are_gone_when_the_result_is_kept(project: Project) -> None:
    project.run()
    (folder,) = (project.root / ".finetide" / "checkpoints" / MODEL).iterdir()
    assert [path.name for path in folder.iterdir()] == ["finished"]


def test_without_a_probe_phase_the_probe_file_is_empty(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", [TUNE])
    project.run()
    probe = load_file(project.stage.out("probe.safetensors"))
    assert (probe["weight"].shape, probe["bias"].shape) == ((0, HIDDEN), (0,))


def test_training_goes_on_from_the_champion_and_learns_new_labels(project: Project) -> None:
    folder = project.promote(*sorted(LABELS)[:2])
    report = project.run()
    assert report.start == "champion"
    assert report.start_hash == sha256_file(folder / "model.safetensors")
    assert report.labels == tuple(sorted(LABELS))
    probe = load_file(project.stage.out("probe.safetensors"))
    assert probe["weight"].shape == (0, HIDDEN)  # the champion's features are no baseline


def test_a_champion_that_is_not_here_says_how_to_get_it(project: Project) -> None:
    project.window(champion=CHAMPION)
    with pytest.raises(ProjectError, match=r"the weights of v1 are not here(.|\n)*fix: run `finetide run tickets`"):
        project.run()


def test_altered_weights_of_a_champion_are_refused(project: Project) -> None:
    folder = project.promote(*sorted(LABELS))
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="the weights of v1 are not those that were promoted"):
        project.run()


def test_rows_without_labels_are_no_training(project: Project) -> None:
    frame = table()
    project.rows(frame.assign(label=frame["label"].where(frame["split"] != "train", None)))
    with pytest.raises(DataError, match="there are no labelled training rows"):
        project.run()


def test_replay_keeps_all_incoming_and_a_share_of_the_reference_rows() -> None:
    frame = table(1500)
    all_rows, half, none = (train.training_rows(frame, replay) for replay in (1.0, 0.5, 0.0))
    incoming = [len(side[side["role"] == "incoming"]) for side in (all_rows, half, none)]
    reference = [len(side[side["role"] == "reference"]) for side in (all_rows, half, none)]
    assert len(set(incoming)) == 1
    assert reference[0] == 900
    assert 400 < reference[1] < 500
    assert reference[2] == 0
    assert all_rows["label"].notna().all()


def test_replay_chooses_by_content_not_by_place() -> None:
    frame = table(300)
    moved = frame.assign(row_id=[f"other.csv:{index}" for index in range(len(frame))]).iloc[::-1]
    assert set(train.training_rows(frame, 0.5)["text"]) == set(train.training_rows(moved, 0.5)["text"])


def test_no_rows_at_all_are_an_empty_choice() -> None:
    assert len(train.training_rows(table().head(0), 1.0)) == 0


def test_validation_takes_labelled_rows_of_both_roles() -> None:
    found = train.validation_rows(table())
    assert set(found["role"]) == {"reference", "incoming"}
    assert set(found["split"]) == {"validation"}
    assert found["label"].notna().all()


def test_phases_become_plain_values() -> None:
    given = {
        "start": "base", "max_length": 32, "pooling": "mean", "dropout": 0.1, "head": {"hidden": []}, "tokens": [],
        "batch_rows": 8, "batch_tokens": 64,
        "precision": "fp32", "replay": 1.0, "recipe": "auto",
        "checkpoint_every_steps": 5, "prefix_cache_gib": 1.0, "packing": "auto",
        "phases": [PROBE, TUNE],
    }  # fmt: skip
    probe, tune = train.phase_specs(TrainParams.model_validate(given))
    assert probe == ProbeSpec((0.001, 0.01), 50)
    assert isinstance(tune, TuneSpec)
    assert tune.policy == (Rule(match="embeddings", lr="frozen"), Rule(match=".*", lr=1.0))
    assert (tune.epochs, tune.steps, tune.learning_rate) == (1, None, np.float64(1e-3))

from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML
from safetensors.numpy import save_file

from finetide import tasks
from finetide.config.stage import Stage
from finetide.contracts.metrics import Evaluation, Metrics
from finetide.errors import ConfigError, ProjectError
from finetide.files import sha256_file
from finetide.stages import evaluate
from finetide.task import ModelSettings
from support.artifacts import PROJECT
from support.micro import HIDDEN, micro_base

MODEL = "tickets"
LABELS = ("cancel", "refund", "where_is_it")
OUTPUTS = ("metrics.json", "evaluation.json", "predictions.parquet", "confusion.csv")


def frame(rows: int = 60, roles: tuple[str, ...] = ("reference", "incoming")) -> pd.DataFrame:
    chance = np.random.default_rng(2)
    labels = [LABELS[i % 3] for i in range(rows)]
    return pd.DataFrame(
        {
            "row_id": [f"a.csv:{i + 2}" for i in range(rows)],
            "role": [roles[i % len(roles)] for i in range(rows)],
            "file": "a.csv",
            "line": range(2, rows + 2),
            "label": labels,
            "split": list(chance.permutation(["train"] * (rows - 30) + ["validation"] * 12 + ["test"] * 18)),
            "group": None,
            "text": [f"{label} please {chance.integers(1000)}" for label in labels],
        }
    )


class Project:
    """A project with a random model instead of a trained one: nothing here asks for good numbers."""

    def __init__(self, root: Path, rows: pd.DataFrame) -> None:
        self.root = root
        (root / "dvc.yaml").write_text((PROJECT / "dvc.yaml").read_text())
        weights = micro_base(root / "base")
        self.params(lambda model: model["base"].update(source="path:base", revision=None, sha256=weights))
        settings = ModelSettings(labels=LABELS, max_length=16, pooling="mean", dropout=0.0)
        task = tasks.load("text-classification")
        built = task.build(root / "base", settings, seed=1)
        self.stage = Stage.open(root, "evaluate", MODEL)
        import torch

        torch.manual_seed(3)
        torch.nn.init.normal_(built.module.head.weight)
        task.save(built, self.path("model"))
        chance = np.random.default_rng(1)
        probe = {
            "weight": chance.normal(size=(3, HIDDEN)).astype(np.float32),
            "bias": np.zeros(3, dtype=np.float32),
        }
        save_file(probe, self.path("probe.safetensors"))
        self.rows(rows)

    def path(self, name: str) -> Path:
        path = self.root / self.stage.files.deps[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def rows(self, rows: pd.DataFrame) -> None:
        rows.to_parquet(self.path("split.parquet"))

    def params(self, change) -> None:
        yaml = YAML()
        source = self.root / "params.yaml"
        document = yaml.load((source if source.exists() else PROJECT / "params.yaml").read_text())
        document["models"][MODEL]["train"]["max_length"] = 16
        document["models"][MODEL]["evaluate"]["bootstrap"] = 50
        change(document["models"][MODEL])
        stream = StringIO()
        yaml.dump(document, stream)
        source.write_text(stream.getvalue())

    def run(self) -> tuple[Metrics, Evaluation, pd.DataFrame]:
        evaluate.run(self.stage)
        out = self.stage.out
        table = pq.read_table(out("predictions.parquet")).to_pandas()
        return Metrics.read(out("metrics.json")), Evaluation.read(out("evaluation.json")), table


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path, frame())


def test_model_and_baselines_are_measured_by_role(project):
    metrics, evaluation, table = project.run()
    assert list(metrics.roles) == ["all", "incoming", "reference"]
    assert set(metrics.baselines) == {"majority", "zero-shot", "tf-idf", "probe", "probe-reference-only"}
    assert set(metrics.roles["all"]) == {"accuracy", "macro_f1", "ece", "ece_calibrated", "nll"}
    assert evaluation.labels == LABELS
    assert set(table["split"]) == {"validation", "test"}
    test = table[table["split"] == "test"]
    assert metrics.roles["all"]["accuracy"].value == pytest.approx((test["label"] == test["predicted"]).mean())
    assert metrics.roles["all"]["accuracy"].rows == len(test) == 18


def test_the_confusion_file_has_a_line_a_test_row(project):
    _, evaluation, _ = project.run()
    pairs = pd.read_csv(project.stage.out("confusion.csv"))
    assert list(pairs.columns) == ["actual", "predicted"]
    assert len(pairs) == 18
    matrix = np.array(evaluation.confusion["all"])
    assert (pairs["actual"] == pairs["predicted"]).sum() == np.trace(matrix)


def test_predictions_do_not_depend_on_the_order_of_the_rows(project):
    _, _, before = project.run()
    project.rows(frame().iloc[::-1])
    _, _, after = project.run()
    pd.testing.assert_frame_equal(
        before.sort_values("row_id", ignore_index=True), after.sort_values("row_id", ignore_index=True), rtol=1e-4
    )


def test_the_same_inputs_give_the_same_bytes(project):
    project.run()
    first = [sha256_file(project.stage.out(name)) for name in OUTPUTS]
    project.run()
    assert [sha256_file(project.stage.out(name)) for name in OUTPUTS] == first


def test_without_incoming_rows_there_is_one_role_and_no_reference_only_probe(project):
    project.rows(frame(roles=("reference",)))
    metrics, _, _ = project.run()
    assert list(metrics.roles) == ["reference"]
    assert set(metrics.baselines) == {"majority", "zero-shot", "tf-idf", "probe"}


def test_a_role_without_labelled_test_rows_is_left_out_and_its_predictions_are_kept(project):
    rows = frame()
    rows.loc[(rows["role"] == "incoming") & (rows["split"] == "test"), "label"] = None
    project.rows(rows)
    metrics, _, table = project.run()
    assert list(metrics.roles) == ["reference"]
    unlabelled = table[table["label"].isna()]
    assert set(unlabelled["role"]) == {"incoming"}
    assert unlabelled["predicted"].notna().all()


def test_a_label_missing_from_the_test_rows_is_no_fault(project):
    rows = frame()
    rows = rows[(rows["split"] != "test") | (rows["label"] != "refund")]
    project.rows(rows)
    metrics, evaluation, _ = project.run()
    assert metrics.roles["all"]["macro_f1"].rows == (rows["split"] == "test").sum()
    assert evaluation.labels == LABELS


def test_a_label_that_the_model_does_not_know_is_scored_as_wrong(project):
    rows = frame()
    rows.loc[rows["split"] == "test", "label"] = "brand_new"
    project.rows(rows)
    metrics, evaluation, _ = project.run()
    assert metrics.roles["all"]["accuracy"].value == 0.0
    assert evaluation.labels == (*LABELS, "brand_new")


@pytest.mark.parametrize("split", ["test", "validation"])
def test_without_test_or_validation_rows_the_stage_succeeds(project, split):
    rows = frame(roles=("reference",))
    project.rows(rows[rows["split"] != split])
    metrics, evaluation, table = project.run()
    assert list(metrics.roles) == ([] if split == "test" else ["reference"])
    assert split not in set(table["split"])
    assert evaluation.temperature > 0


def test_without_validation_rows_the_temperature_is_one(project):
    rows = frame()
    project.rows(rows[rows["split"] != "validation"])
    assert project.run()[1].temperature == 1.0


def test_with_training_rows_only_the_stage_succeeds(project):
    rows = frame(roles=("reference",))
    project.rows(rows[rows["split"] == "train"])
    metrics, _, table = project.run()
    assert metrics.roles == {}
    assert table.empty


def test_descriptions_of_labels_change_zero_shot(project):
    before = project.run()[0].baselines
    texts = {"cancel": "refund please", "refund": "where is it", "where_is_it": "cancel"}
    project.params(lambda model: model["evaluate"].update(label_descriptions=texts))
    after = project.run()[0].baselines
    assert before["zero-shot"] != after["zero-shot"]
    assert before["probe"] == after["probe"]


def test_a_description_of_no_label_is_refused_before_anything_is_computed(project, monkeypatch):
    project.params(lambda model: model["evaluate"].update(label_descriptions={"refunds": "money"}))
    monkeypatch.setattr(evaluate, "predict", lambda *_, **__: pytest.fail("computed"))
    with pytest.raises(ConfigError, match=r"evaluate\.label_descriptions\.refunds: the model has no such label"):
        project.run()


def test_a_missing_model_is_named(project):
    (project.path("probe.safetensors")).unlink()
    with pytest.raises(ProjectError, match=r"probe\.safetensors: is missing\n  fix: run what comes before"):
        project.run()

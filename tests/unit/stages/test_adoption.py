"""The train stage on a window that adopts: nothing is trained, the head stays, and later trainings know its shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from finetide import adopted
from finetide.contracts.bundle import BundleInfo, Manifest
from finetide.contracts.window import Window
from finetide.errors import BaseModelError, DataError
from finetide.files import sha256_file, tree_hashes
from finetide.layers.policies import Named, resolve
from finetide.layers.structure import read
from support.tuned import tuned_text
from unit.stages.test_follow import follows, told
from unit.stages.test_train import CHAMPION, MODEL, PROBE, TUNE, Project, table

ORDER = ("money", "account", "delivery")
SORTED = tuple(sorted(ORDER))


def adopting(tmp_path: Path, names: tuple[str, ...] = ORDER, family: str = "Bert") -> Project:
    project = Project(tmp_path / "project", [PROBE, TUNE])
    tuned_text(project.root / "base", family, names=names)
    sha256 = sha256_file(project.root / "base" / "model.safetensors")
    project.params(
        base={"source": "path:base", "revision": None, "sha256": sha256},
        train={"pooling": "cls", "phases": [PROBE, TUNE], "packing": "auto"},
    )
    project.window(start="adopted")
    return project


def in_service(project: Project) -> Path:
    """What train wrote becomes the champion, from which the window then starts."""
    folder = project.root / "serving" / MODEL / CHAMPION.hash / "weights"
    folder.mkdir(parents=True)
    for path in project.stage.out("model").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    Manifest(files=tree_hashes(folder), lineage={}).write(folder.parent / "weights.json")
    BundleInfo(
        model=MODEL, task="text-classification", labels=SORTED, inputs=("input_ids", "attention_mask"), max_length=32,
        pad_token_id=0, temperature=2.0, default_graph="model.onnx", machine="x",
    ).write(_made(folder.parent / "bundle") / "bundle.json")  # fmt: skip
    project.window(champion=CHAMPION)
    return folder


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_nothing_is_trained_and_the_report_says_so(tmp_path: Path) -> None:
    project = adopting(tmp_path)
    report = project.run()
    assert (report.start, report.labels) == ("adopted", SORTED)
    assert [(phase.kind, phase.steps, phase.trainable) for phase in report.phases] == [("adopted", 0, 0)]
    assert report.sentence.startswith("adopted as it came, nothing trained, validation accuracy ")
    assert "outputs differ from transformers' own by at most" in report.phases[0].decisions[0]
    theirs, ours = (
        load_file(project.root / "base" / "model.safetensors"),
        load_file(project.stage.out("model") / "model.safetensors"),
    )
    by_name = theirs["classifier.weight"][[ORDER.index(label) for label in SORTED]]
    np.testing.assert_array_equal(ours["head.weight"], by_name)
    np.testing.assert_array_equal(ours["pooler.dense.weight"], theirs["bert.pooler.dense.weight"])
    assert load_file(project.stage.out("probe.safetensors"))["weight"].shape[0] == 0
    assert len(pd.read_csv(project.stage.out("curve.csv"))) == 1
    first = project.outputs()
    assert project.run() == report
    assert project.outputs() == first


def test_a_recipe_is_not_followed_by_what_is_not_trained(tmp_path: Path) -> None:
    project = adopting(tmp_path)
    report = follows(project, "weigh", "adapt", "lower-rate", weight_clip=4.0, rate_factor=0.5)
    assert (report.followed, [phase.kind for phase in report.phases]) == ((), ["adopted"])


def test_a_translation_that_is_wrong_stops_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = adopted.Head.pooler
    monkeypatch.setattr(
        adopted.Head, "pooler", lambda head, config: right(head, config).model_copy(update={"activation": "gelu"})
    )
    with pytest.raises(BaseModelError, match="does not give the answers of transformers' own"):
        adopting(tmp_path).run()


def test_a_label_that_no_row_has_stays_an_answer(tmp_path: Path) -> None:
    project = adopting(tmp_path, (*ORDER, "other"))
    assert project.run().labels == ("account", "delivery", "money", "other")


def test_a_label_that_the_model_does_not_know(tmp_path: Path) -> None:
    project = adopting(tmp_path)
    frame = table()
    project.rows(frame.assign(label=frame["label"].replace("money", "refund")))
    with pytest.raises(BaseModelError, match="the model does not know labels that the data have: refund"):
        project.run()


def test_no_validation_rows(tmp_path: Path) -> None:
    project = adopting(tmp_path)
    project.rows(table().query("split != 'validation'"))
    with pytest.raises(DataError, match="there are no labelled validation rows"):
        project.run()


@pytest.mark.parametrize("family", ["Bert", "ModernBert"])
def test_the_next_training_starts_from_its_head(tmp_path: Path, family: str) -> None:
    project = adopting(tmp_path, family=family)
    project.run()
    folder = in_service(project)
    report = project.run()
    assert [phase.kind for phase in report.phases] == ["probe", "tune"]
    assert report.start == "champion"
    model = project.stage.out("model")
    assert (model / "pooler.json").read_bytes() == (folder / "pooler.json").read_bytes()
    before, after = (load_file(one / "model.safetensors") for one in (folder, model))
    assert before.keys() == after.keys()
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert "pooler.dense.weight" in moved or report.kept == 0
    assert not any("embeddings" in name for name in moved)


def test_new_priors_move_the_adopted_heads_bias_alone(tmp_path: Path) -> None:
    project = adopting(tmp_path)
    project.run()
    folder = in_service(project)
    frame = table(300)
    project.rows(frame[(frame["role"] == "reference") | (frame["label"] == SORTED[0])])
    ratio = dict(zip(SORTED, (10.0, 0.1, 0.1), strict=True))
    found = follows(project, "prior-correction", start="champion", priors=ratio)
    assert told(found)["prior-correction"].kept is True
    before, after = (load_file(one / "model.safetensors") for one in (folder, project.stage.out("model")))
    assert {name for name in before if not np.array_equal(before[name], after[name])} == {"head.bias"}
    assert after["head.bias"] - before["head.bias"] == pytest.approx(2.0 * np.log([10.0, 0.1, 0.1]), abs=1e-5)


@pytest.mark.slow
def test_auto_tries_layers_of_an_adopted_model(tmp_path: Path) -> None:
    project = adopting(tmp_path)
    project.run()
    in_service(project)
    project.params(train={"phases": [{**TUNE, "layers": {"auto": 60}}]})
    report = project.run()
    assert any(line.startswith("auto: after") and "full" in line for line in report.phases[0].decisions)


def test_weights_of_two_poolers_are_not_mixed(tmp_path: Path) -> None:
    """A challenger from the base has features of its own: a mixture with the adopted champion would be neither's."""
    project = adopting(tmp_path, family="ModernBert")
    project.run()
    in_service(project)
    window = Window.read(project.dep("window.json"))
    window.model_copy(update={"start": "base"}).write(project.dep("window.json"))
    found = follows(project, "blocks", replay=0.0, forgetting_margin=0.0)
    assert (found.start, found.forgetting) == ("base", None)
    assert not (project.stage.out("model") / "pooler.json").exists()


def test_another_pooling_than_the_champions_is_refused(tmp_path: Path) -> None:
    project = adopting(tmp_path)
    project.run()
    in_service(project)
    project.params(train={"pooling": "mean"})
    with pytest.raises(BaseModelError, match=r"was adopted with the pooling cls, and train\.pooling is another"):
        project.run()


def test_the_pooler_lies_above_the_blocks(tmp_path: Path) -> None:
    from finetide import tasks
    from finetide.task import ModelSettings

    project = adopting(tmp_path)
    project.run()
    task = tasks.load("text-classification")
    built = task.build(project.stage.out("model"), ModelSettings(SORTED, 32, "cls", 0.0), seed=1)
    assert read(built.module).above == ("pooler.dense.weight", "pooler.dense.bias")
    plan = resolve(Named("last", 1), built.module, where="layers")
    assert {"pooler.dense.weight", "head.weight"} <= set(plan.trainable)

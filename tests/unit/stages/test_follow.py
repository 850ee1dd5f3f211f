"""The train stage follows the recipe: what it changes, what it says became of it, and that off changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from finetide.contracts.base import Contract
from finetide.contracts.bundle import BundleInfo
from finetide.contracts.shift import Recipe, RecipeStep, StepKind
from finetide.contracts.training import FollowedStep, TrainingReport
from finetide.contracts.window import Window
from finetide.engine.specs import AverageSpec, ProbeSpec, SoupSpec, TuneSpec
from finetide.layers.policies import Named
from finetide.stages import follow
from support.messages import LABELS
from unit.engine.test_loop import spec
from unit.stages.test_train import CHAMPION, MODEL, PROBE, TUNE, Project, table

SORTED = tuple(sorted(LABELS))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project", [PROBE, TUNE])


def recipe(*kinds: StepKind, **more: Any) -> Recipe:
    steps = tuple(RecipeStep(kind=kind, reason=f"because of {kind}") for kind in kinds)
    plain: dict[str, Any] = {"verdict": "adapt", "replay": 1.0, "reason": "", "followed": True, "steps": steps}
    return Recipe(**{**plain, **more})


def follows(project: Project, *kinds: StepKind, **more: Any) -> TrainingReport:
    recipe(*kinds, **more).write(project.dep("recipe.json"))
    return project.run()


def told(report: TrainingReport) -> dict[str, FollowedStep]:
    return {one.kind: one for one in report.followed}


def champion(project: Project, *labels: str, temperature: float = 2.0) -> Path:
    """Trained, so that its answers mean something; with the bundle.json of its bundle beside its weights."""
    project.run()
    trained = project.stage.out("model")
    folder = project.promote(*labels)
    if labels == SORTED:
        (folder / "model.safetensors").write_bytes((trained / "model.safetensors").read_bytes())
        from finetide.contracts.bundle import Manifest
        from finetide.files import tree_hashes

        Manifest(files=tree_hashes(folder), lineage={}).write(folder.parent / "weights.json")
    info: Contract = BundleInfo(
        model=MODEL, task="text-classification", labels=labels, inputs=("input_ids", "attention_mask"), max_length=32,
        pad_token_id=0, temperature=temperature, default_graph="model.onnx", machine="x",
    )  # fmt: skip
    (folder.parent / "bundle").mkdir()
    info.write(folder.parent / "bundle" / "bundle.json")
    return folder


def test_a_recipe_that_is_not_followed_changes_no_weight(project: Project) -> None:
    plain = project.run()
    found = follows(project, "weigh", "lower-rate", "adapt", weight_clip=4.0, rate_factor=0.5, followed=False)
    assert found.weights_sha256 == plain.weights_sha256
    assert found.followed == ()


def test_new_priors_for_the_champion_without_training(project: Project) -> None:
    """Rows of the first label come ten times as often: the head's bias alone moves, by the calibrated log-ratio."""
    folder = champion(project, *SORTED)
    project.window()  # the window starts from the base; the recipe says otherwise
    window = Window.read(project.dep("window.json"))
    window.model_copy(update={"champion": CHAMPION}).write(project.dep("window.json"))
    frame = table(300)
    keep = (frame["role"] == "reference") | (frame["label"] == SORTED[0])
    project.rows(frame[keep])
    ratio = dict(zip(SORTED, (10.0, 0.1, 0.1), strict=True))
    found = follows(project, "prior-correction", start="champion", priors=ratio)
    assert [(phase.kind, phase.steps) for phase in found.phases] == [("correct", 0)]
    assert told(found)["prior-correction"].kept is True
    assert found.start == "champion"
    before, after = (load_file(one / "model.safetensors") for one in (folder, project.stage.out("model")))
    assert {name for name in before if not np.array_equal(before[name], after[name])} == {"head.bias"}
    moved = after["head.bias"] - before["head.bias"]
    assert moved == pytest.approx(2.0 * np.log([10.0, 0.1, 0.1]), abs=1e-5)
    assert found.forgetting is None


def test_priors_that_validation_speaks_against_are_left_out_and_training_goes_on(project: Project) -> None:
    champion(project, *SORTED)
    project.rows(table())
    ratio = dict(zip(SORTED, (1e-6, 1.0, 1.0), strict=True))
    found = follows(project, "prior-correction", start="champion", priors=ratio)
    assert told(found)["prior-correction"].kept is False
    assert [phase.kind for phase in found.phases] == ["probe", "tune"]


def test_the_head_grows_and_its_old_rows_stay_to_the_bit(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = champion(project, *SORTED[:2])
    seen: dict[str, Any] = {}

    class StopError(Exception):
        pass

    def stop(task: Any, built: Any, *_: Any) -> None:
        seen.update({name: value.numpy().copy() for name, value in built.module.state_dict().items()})
        raise StopError

    monkeypatch.setattr("finetide.stages.train.train", stop)
    window = Window.read(project.dep("window.json"))
    window.model_copy(update={"start": "base"}).write(project.dep("window.json"))
    with pytest.raises(StopError):
        follows(project, "grow-head", start="champion")
    before = load_file(folder / "model.safetensors")
    assert seen["head.weight"].shape[0] == 3
    assert seen["head.weight"][:2].tobytes() == before["head.weight"].tobytes()
    assert seen["head.bias"][:2].tobytes() == before["head.bias"].tobytes()


def test_a_head_that_grew_is_told(project: Project) -> None:
    champion(project, *SORTED[:2])
    found = told(follows(project, "grow-head", start="champion"))["grow-head"]
    assert (found.kept, found.said) == (True, f"2 rows of the champion's head as they were, new ones for {SORTED[2]}")


def test_a_champion_with_labels_that_are_gone_is_no_start(project: Project) -> None:
    champion(project, *SORTED)
    frame = table()
    project.rows(frame[frame["label"] != SORTED[0]])
    window = Window.read(project.dep("window.json"))
    window.model_copy(update={"start": "base"}).write(project.dep("window.json"))
    found = follows(project, "grow-head", start="champion")
    assert found.start == "base"
    assert told(found)["grow-head"].said == f"the champion knows labels that no row has any more: {SORTED[0]}"


def test_weights_rate_and_adaptation_are_tried_and_told(project: Project) -> None:
    found = follows(
        project, "adapt", "weigh", "lower-rate", "blocks", "labels",
        weight_clip=4.0, rate_factor=0.5, adapt_epochs=1, blocks="early",
    )  # fmt: skip
    said = told(found)
    assert set(said) == {"adapt", "weigh", "lower-rate", "blocks", "labels"}
    assert [phase.kind for phase in found.phases] == ["adapt", "probe", "tune"]
    assert said["weigh"].said.startswith("weights from ")
    assert said["lower-rate"].said == "0.5 of the learning rate in 1 tune phase(s)"
    assert said["blocks"].said == "no phase has layers: auto"
    assert said["labels"].said == "because of labels"
    assert "a probe on validation" in said["adapt"].said
    first = project.outputs()
    assert follows(
        project, "adapt", "weigh", "lower-rate", "blocks", "labels",
        weight_clip=4.0, rate_factor=0.5, adapt_epochs=1, blocks="early",
    ) == found  # fmt: skip
    assert project.outputs() == first


def test_forgetting_is_bounded_and_told(project: Project) -> None:
    """Training from the base on incoming rows alone, whose labels were turned round, forgets the reference."""
    champion(project, *SORTED)
    window = Window.read(project.dep("window.json"))
    window.model_copy(update={"start": "base"}).write(project.dep("window.json"))
    frame = table(150)
    turned = frame["label"].map(dict(zip(SORTED, (SORTED[1], SORTED[2], SORTED[0]), strict=True)), na_action="ignore")
    few = (frame["role"] == "incoming") | (frame["split"] != "validation") | (frame.index % 3 == 0)
    project.rows(frame.assign(label=turned.where(frame["role"] == "incoming", frame["label"]))[few])
    found = follows(project, "blocks", replay=0.0, forgetting_margin=0.0)
    assert found.forgetting is not None
    lost = found.forgetting
    assert lost.trained["reference"] < lost.champion["reference"]
    assert lost.kept["reference"] >= lost.champion["reference"]
    assert lost.share > 0
    assert found.phases[-1].kind == "average"
    assert found.kept == len(found.phases) - 1
    assert "forgetting bounded: reference" in found.sentence


def test_the_plan_puts_adaptation_first_and_moves_the_numbers_of_phases_on() -> None:
    at = follow.Followed(recipe("adapt", "lower-rate", "blocks", adapt_epochs=2, rate_factor=0.5, blocks="late"))
    given = [
        ProbeSpec((0.1,), 5), spec(policy=Named("auto", 300)), spec(), AverageSpec((1, 2), (0.5,)), SoupSpec(2, 3),
    ]  # fmt: skip
    found, at = follow.plan(given, at, table())
    assert isinstance(found[0], TuneSpec)
    assert (found[0].kind, found[0].epochs, found[0].rows, found[0].checked) == ("adapt", 2, "incoming", True)
    assert found[0].policy == Named("full")  # auto compares by labels
    assert found[0].learning_rate == 1e-3  # the lower rate is for labels
    assert isinstance(found[2], TuneSpec)
    assert (found[2].hint, found[2].learning_rate) == ("late", 0.5e-3)
    assert found[4:] == [AverageSpec((2, 3), (0.5,)), SoupSpec(3, 3)]
    assert [one.kind for one in at.done] == ["lower-rate", "blocks"]


def test_without_a_recipe_the_plan_is_the_phases() -> None:
    given = [ProbeSpec((0.1,), 5), spec()]
    assert follow.plan(given, follow.Followed(recipe("adapt", followed=False)), table())[0] == given

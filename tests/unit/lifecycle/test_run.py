"""What a run says while it is at work, and what it refuses before training."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from finetide.errors import ConfigError, ProjectError
from finetide.lifecycle import conclude, outputs, run
from finetide.lifecycle.status import read_status
from finetide.pipeline import dvc, journal
from finetide.pipeline.run import StageRun
from support.artifacts import Artifacts
from support.project import edit_params
from support.registry import MODEL


def test_the_last_time_of_a_stage_is_told(root: Path) -> None:
    assert run.last_time(root, f"train@{MODEL}") == ""
    for state, seconds in (("ran", 900.0), ("ran", 41.4), ("cached", 0.5), ("failed", 3.0)):
        journal.append(root, MODEL, stage="train", state=state, seconds=seconds)
    assert run.last_time(root, f"train@{MODEL}") == " (last time 41 s)"
    journal.append(root, MODEL, stage="train", state="ran", seconds=1000.0)
    assert run.last_time(root, f"train@{MODEL}") == " (last time 17 min)"


@pytest.mark.parametrize("key", ["refnd", "baggage claim?"])
def test_a_description_of_no_label_is_refused_before_training(made: Artifacts, key: str) -> None:
    assert conclude.training_needed(made.root, MODEL)[0]
    edit_params(made.root, lambda params: params["evaluate"]["label_descriptions"].update({key: "a phrase"}), MODEL)
    with pytest.raises(ConfigError) as caught:
        conclude.training_needed(made.root, MODEL)
    said = str(caught.value)
    assert said.startswith(f"params.yaml: evaluate.label_descriptions.{key}: the model has no such label\n  fix: ")
    assert said.endswith("labels: baggage, booking_change, cancel, complaint, delivery_status, invoice, login, refund")
    assert ("did you mean 'refund'? " in said) == (key == "refnd")


def test_without_git_run_and_status_say_the_same(root: Path) -> None:
    """The ledger is in the folder that is gone: a new repository would lose it."""
    shutil.rmtree(root / ".git")
    said = []
    for look in (
        lambda: run.run_model(root, MODEL, said.append),
        lambda: run.nothing_to_do(root, MODEL),
        lambda: read_status(root, [MODEL]),
    ):
        with pytest.raises(ProjectError) as caught:
            look()
        said.append(str(caught.value))
    assert set(said) == {
        f"{root}: is not in a git repository\n  fix: bring the .git folder back (a clone of the project has it): "
        "the ledger is in it; `git init` here is for a new project only"
    }


def test_a_description_of_a_label_passes(made: Artifacts) -> None:
    edit_params(made.root, lambda params: params["evaluate"]["label_descriptions"].update(refund="money"), MODEL)
    assert conclude.training_needed(made.root, MODEL) == (True, "no champion yet")


def test_what_a_stage_says_last_is_said_once(made: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of shift and train the last line that they print is the sentence after their ✓."""
    sentence = outputs.sentence(made.root, MODEL, "shift")
    assert sentence
    graph = {f"shift@{MODEL}": [], f"gate@{MODEL}": [f"shift@{MODEL}"]}

    def shown(_root: Path, _graph: object, *, on_stage, on_line, on_done, **_: object) -> list[StageRun]:  # type: ignore[no-untyped-def]
        on_stage(f"shift@{MODEL}")
        for line in ("features of 400 rows", sentence, f"not {sentence}"):
            on_line(line)
        ran = StageRun(f"shift@{MODEL}", "ran", 1.0, 0, "", touched=True)
        on_done(ran)
        on_stage(f"gate@{MODEL}")
        on_line(sentence)  # of another stage it is news
        return [ran]

    said: list[str] = []
    monkeypatch.setattr(run, "run_graph", shown)
    monkeypatch.setattr(run, "training_needed", lambda *_: (False, "harmless"))
    monkeypatch.setattr(run, "conclude", lambda *_: conclude.Conclusion("not-needed", "harmless", 0, new=True))
    run._run_stages(made.root, MODEL, graph, set(graph), said.append, [])
    assert said[:4] == [
        f"  → shift@{MODEL}",
        "      features of 400 rows",
        f"      not {sentence}",
        f"  ✓ shift        1.0 s  ran     {sentence}",
    ]
    assert said[5] == f"      {sentence}"


def test_where_nothing_changed_dvc_is_asked_for_its_graph_and_its_status_once_each(
    made: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    (made.root / ".dvc").mkdir(exist_ok=True)
    asked: list[str] = []

    def answer(command: list[str], _root: Path, _on_line: object) -> dvc.Outcome:
        asked.append(command[3])
        return dvc.Outcome(0, f'"gate@{MODEL}";\n"train@{MODEL}";\n' if command[3] == "dag" else "{}")

    def concluded(_root: Path, _model: str, graph: object, stale: object) -> conclude.Conclusion:
        assert (graph, stale) == ({f"gate@{MODEL}": [], f"train@{MODEL}": []}, set())
        return conclude.Conclusion("promoted", "why", 0, new=False)

    monkeypatch.setattr(dvc, "_run", answer)
    monkeypatch.setattr(run, "prepare", lambda *_: [])
    monkeypatch.setattr(run, "conclude", concluded)
    assert run.run_model(made.root, MODEL, lambda _: None).outcome == "promoted"
    assert asked == ["dag", "status"]

"""Whose figures status shows, and why stages are stale."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from finetide.cli.project import status as command
from finetide.config.graph import stage_names
from finetide.contracts.judge import JudgeVerdict
from finetide.contracts.status import Status
from finetide.lifecycle import outputs, status
from finetide.pipeline import journal
from finetide.registry import history, ledger, service, window
from support.artifacts import Artifacts
from support.project import edit_params
from support.registry import MODEL, make_bundle, promote

BEGAN = 1_700_000_000.4


def graph(root: Path) -> dict[str, list[str]]:
    names = [f"{name}@{MODEL}" for name in stage_names(root)]
    return {stage: names[max(0, place - 1) : place] for place, stage in enumerate(names)}


@pytest.fixture
def changed(root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, ...]]:
    """What DVC would answer; no stage is changed unless a test says so."""
    answer: dict[str, tuple[str, ...]] = {}
    monkeypatch.setattr(status, "is_busy", lambda _: False)
    monkeypatch.setattr(status, "read", graph)
    monkeypatch.setattr(status, "changes", lambda *_: answer)
    return answer


@pytest.fixture
def at_work(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "is_busy", lambda _: True)
    monkeypatch.setattr(status, "run_started", lambda _: BEGAN)


def ran(root: Path, *stages: str, at: float) -> None:
    path = journal.path_of(root, MODEL)
    path.parent.mkdir(parents=True, exist_ok=True)
    time = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    with path.open("a") as stream:
        for stage in stages:
            stream.write(json.dumps({"time": time, "stage": stage, "state": "ran", "seconds": 1.0}) + "\n")


def lines(root: Path) -> tuple[Status, str]:
    found = status.read_status(root, [MODEL])
    return found, "\n".join(status.as_lines(root, found))


def judged(root: Path, challenger: str, word: str = "promote") -> None:
    path = outputs.path_of(root, MODEL, "judge", "judge.json")
    found = JudgeVerdict.read(path)
    found.model_copy(update={"challenger_hash": challenger, "verdict": word}).write(path)


def test_the_figures_of_what_is_in_service(made: Artifacts, changed: dict[str, tuple[str, ...]]) -> None:
    one = promote(made.root, "one")
    judged(made.root, one.bundle_hash or "")
    found, text = lines(made.root)
    figures = found.models[MODEL].figures
    assert figures is not None
    assert (figures.of, figures.version, figures.hash) == ("in-service", "v1", one.bundle_hash)
    assert f"  figures     of v1 ({(one.bundle_hash or '')[:12]}), which is in service\n" in text


def test_after_a_rollback_the_figures_are_not_those_of_what_is_in_service(
    made: Artifacts, changed: dict[str, tuple[str, ...]]
) -> None:
    promote(made.root, "one")
    two = promote(made.root, "two")
    judged(made.root, two.bundle_hash or "")
    service.rollback(made.root, MODEL, reason="complaints")
    found, text = lines(made.root)
    figures = found.models[MODEL].figures
    assert figures is not None
    assert (figures.of, figures.version) == ("withdrawn", "v2")
    said = f"of v2 ({(two.bundle_hash or '')[:12]}), withdrawn by a rollback; in service is v1, whose figures these"
    assert f"  figures     {said} are not\n" in text


def test_the_same_weights_in_another_bundle_count_as_withdrawn(
    made: Artifacts, changed: dict[str, tuple[str, ...]]
) -> None:
    promote(made.root, "one"), promote(made.root, "two")
    service.rollback(made.root, MODEL, reason="complaints")
    _, weights = make_bundle(made.root / "artifacts" / "two", "two")
    model = outputs.path_of(made.root, MODEL, "train", "model")
    (model / "model.safetensors").write_bytes((weights / "model.safetensors").read_bytes())
    judged(made.root, "c" * 64)
    assert history.promotion(ledger.read(made.root, MODEL), "c" * 64) is None
    found, text = lines(made.root)
    assert found.models[MODEL].outcome == "rejected"
    assert "of the challenger cccccccccccc, withdrawn by a rollback; in service is v1" in text


def test_a_rejected_challenger_is_named_as_such(made: Artifacts, changed: dict[str, tuple[str, ...]]) -> None:
    promote(made.root, "one")
    judged(made.root, "d" * 64, "reject")
    said = "of the challenger dddddddddddd, which the judge rejected; in service is v1, whose figures these are not"
    assert f"figures     {said}\n" in lines(made.root)[1]


def test_a_challenger_that_is_not_judged_yet(made: Artifacts, changed: dict[str, tuple[str, ...]]) -> None:
    promote(made.root, "one")
    changed[f"judge@{MODEL}"] = (f"models.{MODEL}.judge (params.yaml)",)
    assert "  figures     of the latest challenger, which is not judged yet\n" in lines(made.root)[1]


def test_a_stale_stage_says_why_and_those_after_it_do_not_repeat_it(
    made: Artifacts, changed: dict[str, tuple[str, ...]]
) -> None:
    changed[f"train@{MODEL}"] = (f"models.{MODEL}.train (params.yaml)", "its code or libraries (finetide.lock)")
    found, text = lines(made.root)
    stages = found.models[MODEL].stages
    assert (stages["gate"].state, stages["train"].state, stages["judge"].state) == ("cached", "stale", "stale")
    assert (stages["train"].why, stages["judge"].why) == (changed[f"train@{MODEL}"], ())
    said = f"train: changed: models.{MODEL}.train (params.yaml), its code or libraries (finetide.lock)"
    assert text.splitlines()[-1] == f"  stale       {said}"


def test_after_not_needed_nothing_is_to_be_trained(made: Artifacts, changed: dict[str, tuple[str, ...]]) -> None:
    promote(made.root, "one")
    about = window.read_window(made.root, MODEL)
    pinned = status.sha256_file(window.window_path(made.root, MODEL))
    service.record(made.root, MODEL, "not-needed", reason="harmless", window=about, hashes={"window": pinned})
    changed[f"train@{MODEL}"] = (f"artifacts/{MODEL}/split/split.parquet",)
    found, text = lines(made.root)
    assert found.models[MODEL].outcome == "not-needed"
    assert found.models[MODEL].stages["train"].state == "stale"
    assert "gate cached, train not needed, evaluate not needed, export not needed, judge not needed\n" in text
    assert (
        "  next        nothing is to be trained: the incoming rows were acknowledged as harmless, and count as\n"
        in text
    )
    assert "stale" not in text


def test_while_a_run_is_at_work_older_results_are_told_apart(made: Artifacts, at_work: None) -> None:
    one = promote(made.root, "one")
    judged(made.root, one.bundle_hash or "")
    names = stage_names(made.root)
    ran(made.root, *names, at=BEGAN - 60)
    ran(made.root, *names[:4], at=BEGAN + 2)
    found, text = lines(made.root)
    model = found.models[MODEL]
    assert model.outcome == "running"
    assert [stage for stage in names if model.stages[stage].earlier] == names[4:]
    assert "  verdicts    validate pass, shift adapt, judge promote (run before)\n" in text
    assert "which is in service, from a run before; the one at work has not come to evaluate yet\n" in text
    assert "ingest ran, validate ran, split ran, shift ran, gate ran (run before), train ran (run before)" in text
    ran(made.root, *names[4:7], at=BEGAN + 9)
    found, text = lines(made.root)
    assert "  figures     of the latest challenger, which is not judged yet\n" in text


def test_a_first_run_at_work_has_stages_it_has_not_reached(root: Path, at_work: None) -> None:
    ran(root, "ingest", at=BEGAN)  # the journal counts whole seconds
    found, text = lines(root)
    assert found.models[MODEL].stages["ingest"].earlier is False
    assert "stages      ingest ran, validate not reached yet, split not reached yet" in text
    assert found.models[MODEL].figures is None


def test_suspect_labels_are_counted_once_training_has_listed_them(
    made: Artifacts, changed: dict[str, tuple[str, ...]]
) -> None:
    found, text = lines(made.root)
    assert found.models[MODEL].suspect_labels == 9
    assert f"  labels      9 of the training rows look mislabelled to a probe: finetide report {MODEL}\n" in text
    outputs.path_of(made.root, MODEL, "train", "label_issues.json").unlink()
    found, text = lines(made.root)
    assert found.models[MODEL].suspect_labels is None
    assert "look mislabelled" not in text


def test_the_schema_gained_only_optional_fields() -> None:
    old = {"state": "ran", "seconds": None}
    assert status.StageStatus.model_validate(old).why == ()
    assert not status.ModelStatus.model_fields["figures"].is_required()
    assert not status.ModelStatus.model_fields["suspect_labels"].is_required()


@pytest.mark.usefixtures("changed", "made")
def test_a_setting_that_stops_the_next_run_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    assert CliRunner().invoke(command, [MODEL]).stderr == ""
    edit_params(root, lambda model: model["shift"].update(max_rows=10), MODEL)
    for more in ([], ["--json"]):
        found = CliRunner().invoke(command, [MODEL, *more])
        assert found.exit_code == 0
        assert found.stderr.startswith(
            f"{MODEL}: the next run will stop at this:\n  params.yaml: models.{MODEL}.shift: "
        )
        assert "max_rows 10 must not be below min_rows 30" in found.stderr

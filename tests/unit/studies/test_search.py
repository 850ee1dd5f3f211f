"""The search: seeded, pruned, goes on after a kill, changes only what it found, and says when it may be chance."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import CliRunner

from finetide.cli.main import cli
from finetide.config import edit
from finetide.config.load import read_yaml
from finetide.contracts.search import Tried
from finetide.engine.specs import TuneSpec
from finetide.errors import ConfigError
from finetide.layers.policies import Named
from finetide.studies import search_page
from finetide.studies.bench import Bench, open_bench
from finetide.studies.search import changes, rate_test, search, sentence
from support.studies import MODEL, PROBE, TUNE, Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def bench(project: Project) -> Bench:
    return open_bench(project.root, MODEL)


class KilledError(Exception):
    pass


def hill(trial: optuna.Trial, spec: TuneSpec) -> tuple[float, float]:
    """Best near a rate of 3e-3; layers do not matter."""
    del trial
    return 0.9 - 0.1 * abs(math.log10(spec.learning_rate / 3e-3)), 0.5


def test_the_first_trial_has_the_settings_as_they_are_and_the_best_one_is_found(project: Project) -> None:
    found = search(bench(project), 25, None, fit=hill)
    first, best = found.trials[found.start], found.trials[found.best]
    assert (found.start, first.learning_rate, first.layers, first.length) == (0, 1e-3, "as it is", 1)
    assert 1e-3 < best.learning_rate < 8e-3
    assert best.value == max(one.value or 0.0 for one in found.trials)
    assert found.metric == "accuracy"
    assert {one.layers for one in found.trials} <= {"as it is", "full"}  # a base of one block has no depths
    assert max(found.importance, key=found.importance.__getitem__) == "learning_rate"
    assert sum(found.importance.values()) == pytest.approx(1.0)


def test_the_seed_decides_and_a_search_that_is_there_runs_nothing(project: Project, tmp_path: Path) -> None:
    found = search(bench(project), 8, None, fit=hill)
    again = search(bench(project), 8, None, fit=lambda *_: pytest.fail("ran again"))
    assert again == found
    (tmp_path / "other").mkdir()
    assert search(bench(Project(tmp_path / "other")), 8, None, fit=hill).trials == found.trials


@pytest.mark.parametrize("at", [0, 1, 6])
def test_killed_in_a_trial_it_goes_on_as_if_it_had_not_been(project: Project, tmp_path: Path, at: int) -> None:
    (tmp_path / "whole").mkdir()
    whole = search(bench(Project(tmp_path / "whole")), 9, None, fit=hill)
    made = 0

    def dying(trial: optuna.Trial, spec: TuneSpec) -> tuple[float, float]:
        nonlocal made
        if made == at:
            raise KilledError
        made += 1
        return hill(trial, spec)

    with pytest.raises(KilledError):
        search(bench(project), 9, None, fit=dying)
    assert search(bench(project), 9, None, fit=hill).trials == whole.trials


def test_a_trial_that_is_behind_is_pruned_with_its_reason(project: Project) -> None:
    def climbing(trial: optuna.Trial, spec: TuneSpec) -> tuple[float, float]:
        final = hill(trial, spec)[0]
        for step in range(1, 5):
            trial.report(final * step / 4, step)
            if trial.should_prune():
                raise optuna.TrialPruned("after 1 epoch at 40.0 %, below the middle of the others")
        return final, 0.5

    found = search(bench(project), 25, None, fit=climbing)
    pruned = [one for one in found.trials if one.state == "pruned"]
    assert pruned
    assert all(one.value is None and "below the middle" in one.said for one in pruned)
    assert found.trials[found.best].state == "done"
    assert any("pruned: after 1 epoch" in note for note in search_page.sheet(found).notes)


def test_a_rate_that_breaks_the_weights_is_a_failed_trial(project: Project) -> None:
    def breaking(trial: optuna.Trial, spec: TuneSpec) -> tuple[float, float]:
        if spec.learning_rate > 2e-3:
            raise ConfigError("the training loss is no finite number any more at step 3")
        return hill(trial, spec)

    found = search(bench(project), 10, None, fit=breaking)
    failed = [one for one in found.trials if one.state == "failed"]
    assert failed
    assert {one.said for one in failed} == {"the training loss is no finite number any more at step 3"}


def test_a_rate_test_of_too_few_steps_is_refused_before_anything_runs(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finetide.studies.search.build", lambda *_: pytest.fail("built"))
    with pytest.raises(ConfigError) as told:
        rate_test(bench(project), 19)
    assert str(told.value) == "--steps: a rate test needs at least 20 steps (found 19)\n  fix: --steps 20, or more"


def test_no_trial_begins_after_the_minutes(project: Project) -> None:
    now = iter(range(0, 10_000, 50))
    found = search(bench(project), 100, 3.0, fit=hill, clock=lambda: float(next(now)))
    assert len(found.trials) == 3  # asked at 50, 100 and 150 seconds; at 200 it is too late


def test_what_is_written_changes_what_was_found_and_nothing_else(project: Project) -> None:
    project.params(train={"phases": [PROBE, {**TUNE, "duration": {"epochs": 3, "steps": None}}]})
    before = (project.root / "params.yaml").read_text()
    opened = bench(project)
    found = search(opened, 25, None, fit=hill)
    wanted = changes(opened, found)
    after, difference = edit.edited(project.root, wanted)
    assert (project.root / "params.yaml").read_text() == before
    edit.write(project.root, after)
    one, other = read_yaml(project.root / "params.yaml"), found.trials[found.best]
    phase = one["models"][MODEL]["train"]["phases"][1]
    assert phase["learning_rate"] == pytest.approx(other.learning_rate, rel=0.01)
    assert phase["duration"] == {"epochs": other.length, "steps": None}
    changed = [line for line in difference.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert 2 <= len(changed) <= 12
    assert any("learning_rate" in line for line in changed)
    assert difference.startswith("--- a/params.yaml\n+++ b/params.yaml\n")


def test_the_sentence_says_what_may_be_chance() -> None:
    def tried(number: int, value: float) -> Tried:
        return Tried(number=number, learning_rate=1e-3, layers="full", length=2, state="done",
                     value=value, loss=0.4, said="")  # fmt: skip

    small = sentence(tried(0, 0.80), tried(3, 0.82), 20, 400, "epochs", "accuracy")
    assert (
        "has an accuracy of 82.0 % on 400 validation rows, the settings as they were 80.0 %: rate 0.001, layers full, "
        "2 epochs" in small
    )
    assert "less than two standard errors (4.0 points): it may be chance" in small
    assert "chance" not in sentence(tried(0, 0.80), tried(3, 0.90), 20, 400, "epochs", "accuracy")
    assert sentence(tried(0, 0.8), tried(0, 0.8), 20, 400, "epochs", "F1") == (
        "Of 20 trials none beats the settings as they are: an F1 of 80.0 % on 400 validation rows."
    )


def test_without_a_tune_phase_there_is_nothing_to_search(project: Project) -> None:
    project.params(train={"phases": [PROBE]})
    with pytest.raises(ConfigError, match="there is no phase of kind tune"):
        search(bench(project), 5, None, fit=hill)


def test_the_command_searches_for_real_and_touches_no_output(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)
    graph, before = project.graph(), (project.root / "params.yaml").read_text()
    shown = CliRunner().invoke(cli, ["tune", MODEL, "--trials", "3", "--dry-run"], catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    assert "trial 1 (as it was)" in shown.output
    assert "written: studies/tickets/tune.json, studies/tickets/tune.svg, studies/tickets/tune.html" in shown.output
    assert "not written (--dry-run)" in shown.output or "nothing to change" in shown.output
    assert (project.root / "params.yaml").read_text() == before
    rated = CliRunner().invoke(cli, ["rate", MODEL, "--steps", "25"], catch_exceptions=False)
    assert rated.exit_code == 0, rated.output
    assert "params.yaml has 0.001 for phase 2" in rated.output
    assert (project.root / "studies" / MODEL / "rate.html").is_file()
    assert project.graph() == graph


def test_depths_are_tried_where_there_are_blocks(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from finetide.studies import search as module

    monkeypatch.setattr(module, "read", lambda _: type("S", (), {"blocks": ((),) * 6})())
    seen: set[Any] = set()

    def looking(trial: optuna.Trial, spec: TuneSpec) -> tuple[float, float]:
        seen.add(spec.policy)
        return hill(trial, spec)

    search(bench(project), 30, None, fit=looking)
    assert {Named("last", 1), Named("last", 2), Named("last", 3), Named("full")} <= seen

"""`layers: auto`: what pulls, who is tried, what is chosen and why; resumed without trying again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from finetide.engine import auto, loop, tune
from finetide.engine.specs import Data, PhaseSpec, Score
from finetide.errors import ConfigError
from finetide.layers.policies import Adapting, Named
from finetide.layers.rules import Rule
from finetide.layers.structure import read
from finetide.task import ModelSettings
from finetide.tasks.question_answering import TASK as QUESTIONS
from support.killed import KilledError
from support.micro import FAMILIES, micro_base
from support.questions import micro_reader, split_table
from unit.engine.test_loop import PROBE, TASK, build, run, settings, spec, weights

AUTO = spec(epochs=2, policy=Named("auto", 120))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("auto") / "b"
    micro_base(folder, layers=4)
    return folder


def test_the_pull_is_the_gradient_by_the_weights(base: Path) -> None:
    built, data = build(base)
    torch.nn.init.normal_(built.module.get_parameter("head.weight"))
    before = weights(built)
    found = auto.pulls(TASK, built, data, settings())
    assert weights(built) == before
    assert all(value.grad is None for value in built.module.parameters())
    rows = range(len(data.train.ids))
    batch = TASK.collate(built, data.train, rows)
    TASK.loss(TASK.outputs(built.module.eval(), batch), batch).mean().backward()
    parameters = dict(built.module.named_parameters())
    expected = []
    for names in read(built.module).blocks:
        steep = sum(float((parameters[name].grad ** 2).sum()) for name in names if parameters[name].grad is not None)
        size = sum(float((parameters[name].detach() ** 2).sum()) for name in names)
        expected.append((steep / size) ** 0.5)
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_head_of_zeros_is_left_as_it_was_and_does_not_hide_the_pull(base: Path) -> None:
    built, data = build(base)
    assert not built.module.get_parameter("head.weight").any()
    assert min(auto.pulls(TASK, built, data, settings())) > 0
    assert not built.module.get_parameter("head.weight").any()


def test_candidates_go_from_shallow_to_deep_and_name_the_hardest_block(base: Path) -> None:
    module = build(base)[0].module
    assert [one.title for one in auto.candidates(module, 1)] == ["last: 1", "last: 2", "block 1 alone", "lora", "full"]
    assert [one.title for one in auto.candidates(module, 3)] == ["last: 1", "last: 2", "lora", "full"]
    for one in auto.candidates(module, 1):
        settled = auto.settle(AUTO, module, one.title)
        assert settled.policy == one.policy
        assert settled.learning_rate == AUTO.learning_rate * one.rate
    assert auto.settle(AUTO, module, "head").policy == Named("head")


def play(
    monkeypatch: pytest.MonkeyPatch, scores: dict[str, float], losses: dict[str, float] | None = None
) -> list[tuple[str, int]]:
    """Short runs that end as told, and what was run. Args: losses: without them the lower the more accurate."""
    ran: list[tuple[str, int]] = []

    def short(*given: Any) -> Score:
        candidate, steps = given[-2:]
        ran.append((candidate.title, steps))
        accuracy = scores[candidate.title]
        return Score(accuracy, 1 - accuracy if losses is None else losses[candidate.title])

    monkeypatch.setattr(auto, "_short", short)
    monkeypatch.setattr(auto, "evaluate", lambda *_: Score(0.8, 1.0))
    monkeypatch.setattr(auto, "pulls", lambda *_: [0.1, 0.4, 0.2, 0.1])
    return ran


def arbitrate(base: Path, budget: int = 120) -> tuple[str, list[str]]:
    built, data = build(base)
    return auto.arbitrate(TASK, built, data, AUTO, settings(), 1, 2, budget)


def test_the_better_half_gets_the_rest_of_the_budget(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = play(monkeypatch, {"last: 1": 0.7, "last: 2": 0.9, "block 1 alone": 0.85, "lora": 0.6, "full": 0.88})
    title, lines = arbitrate(base)
    assert title == "last: 2"
    assert [name for name, steps in ran if steps == 12] == ["last: 1", "last: 2", "block 1 alone", "lora", "full"]
    assert [name for name, steps in ran if steps == 20] == ["last: 2", "full", "block 1 alone"]
    assert sum(steps for _, steps in ran) <= 120
    assert "90 labelled rows, 30 a label; validation 80.0% at the start" in lines[0]
    assert "relative to the hardest: 0.25, 1.00, 0.50, 0.25" in lines[1]
    assert "after 12 steps each: last: 1 70.0% (loss 0.300)" in lines[2]
    assert lines[-1] == "auto: last: 2 is chosen"


def test_loss_decides_before_accuracy(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of some hundred rows an accuracy is known to a few points only."""
    titles = ["last: 1", "last: 2", "block 1 alone", "lora", "full"]
    accuracies = dict(zip(titles, (0.82, 0.84, 0.80, 0.83, 0.83), strict=True))
    ran = play(monkeypatch, accuracies, dict(zip(titles, (0.50, 0.49, 0.60, 0.41, 0.44), strict=True)))
    title, lines = arbitrate(base)
    assert title == "lora"
    assert [name for name, steps in ran if steps == 20] == ["lora", "full", "last: 2"]
    assert lines[-1] == "auto: lora is chosen"


def test_a_low_loss_that_lost_accuracy_is_passed_over(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles = ["last: 1", "last: 2", "block 1 alone", "lora", "full"]
    accuracies = dict(zip(titles, (0.82, 0.84, 0.80, 0.73, 0.83), strict=True))
    play(monkeypatch, accuracies, dict(zip(titles, (0.50, 0.49, 0.60, 0.41, 0.44), strict=True)))
    assert arbitrate(base)[0] == "full"


def test_of_equals_the_shallower_one(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, dict.fromkeys(["last: 1", "last: 2", "block 1 alone", "lora", "full"], 0.8))
    assert arbitrate(base)[0] == "last: 1"


def test_when_all_only_lose_the_head_is_the_answer(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, dict.fromkeys(["last: 1", "last: 2", "block 1 alone", "lora", "full"], 0.7))
    title, lines = arbitrate(base)
    assert title == "head"
    assert lines[-1] == "auto: head; last: 1 and last: 2 lost more than a standard error, 6.0%"


def test_a_rate_at_which_every_short_run_diverges_leaves_the_head(base: Path) -> None:
    """A candidate that diverges has lost; it does not end the run, and its adapters are gone from the module."""
    built, data = build(base)
    before = weights(built)
    wild = replace(AUTO, learning_rate=1e30)
    title, lines = auto.arbitrate(TASK, built, data, wild, settings(), 0, 1, 120)
    assert title == "head"
    assert any("lora diverged" in line for line in lines)
    assert weights(built) == before


def test_a_budget_that_tells_nothing_is_refused(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, {})
    with pytest.raises(ConfigError, match="5 candidates are told apart by 5 steps each, and the better half") as told:
        arbitrate(base, 49)
    assert told.value.fix == "at least 50"
    assert told.value.where == "train.phases[1].layers.auto"


def test_it_runs_for_real_and_leaves_no_trace_beside_its_choice(base: Path, tmp_path: Path) -> None:
    result, built, _ = run(base, tmp_path / "auto", [PROBE, AUTO])
    phase = result.phases[1]
    chosen = next(line for line in phase.decisions if line.endswith("is chosen") or "head;" in line)
    title = chosen.removeprefix("auto: ").removesuffix(" is chosen").partition(";")[0]
    settled = auto.settle(AUTO, build(base)[0].module, title)
    same, plain, _ = run(base, tmp_path / "plain", [PROBE, settled])
    assert weights(built) == weights(plain)
    assert phase.score == same.phases[1].score


def test_a_resumed_one_knows_its_choice(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    phases: list[PhaseSpec] = [PROBE, AUTO]
    monkeypatch.setattr(auto, "arbitrate", lambda *_: ("last: 2", ["auto: last: 2 is chosen"]))
    whole, undisturbed, _ = run(base, tmp_path / "whole", phases)
    step = tune.Tuner._step

    def dies(self: Any, rows: Any, at: Any) -> float:
        if at.step == 5:
            raise KilledError
        return step(self, rows, at)

    monkeypatch.setattr(tune.Tuner, "_step", dies)
    with pytest.raises(KilledError):
        run(base, tmp_path / "killed", phases)
    monkeypatch.setattr(tune.Tuner, "_step", step)
    monkeypatch.setattr(loop.auto, "arbitrate", lambda *_: pytest.fail("tried again"))
    again, resumed, _ = run(base, tmp_path / "killed", phases)
    assert weights(resumed) == weights(undisturbed)
    assert again.phases == whole.phases


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_candidates(family: str, tmp_path: Path) -> None:
    micro_base(tmp_path / "base", layers=2, family=family)
    built, data = build(tmp_path / "base")
    pulled = auto.pulls(TASK, built, data, settings())
    assert len(pulled) == 2
    titles = [one.title for one in auto.candidates(built.module, 0)]
    assert titles == ["last: 1", "block 0 alone", "lora", "full"]
    assert isinstance(auto.candidates(built.module, 0)[2].policy, Adapting)
    assert isinstance(auto.candidates(built.module, 0)[1].policy, tuple)
    assert Rule(blocks="0", lr=1.0) in auto.candidates(built.module, 0)[1].policy  # type: ignore[operator]


def test_questions_are_counted_and_not_their_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of them there are no labels; and a standard error is of as many rows as were scored."""
    micro_reader(tmp_path, layers=4)
    found = split_table(10, without=2)
    sizes = {"stride": 12, "max_question": 16, "max_answer": 6}
    built = QUESTIONS.build(tmp_path, ModelSettings(("start", "end"), 40, "mean", 0.1, (), (), extra=sizes), seed=1)
    train, held = (QUESTIONS.encode(built, found[found["split"] == side]) for side in ("train", "validation"))
    assert len(train.ids) > 36
    assert len(held.ids) > len(held.rows()) == 18
    play(monkeypatch, dict.fromkeys(["last: 1", "last: 2", "block 1 alone", "lora", "full"], 0.7))
    title, lines = auto.arbitrate(QUESTIONS, built, Data(train, held), AUTO, settings(), 0, 1, 120)
    assert lines[0] == "auto: 36 labelled rows; validation 80.0% at the start"
    assert title == "head"
    assert lines[-1] == "auto: head; last: 1 and last: 2 lost more than a standard error, 9.4%"

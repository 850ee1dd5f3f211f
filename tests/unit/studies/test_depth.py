"""finetide layers: policies against labels."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner

from finetide.cli.main import cli
from finetide.config.train import LayerPolicy, TunePhase
from finetide.contracts.metrics import Measure
from finetide.contracts.study import FinishedRun, Study
from finetide.engine.progress import Curve
from finetide.errors import ConfigError
from finetide.evaluation.align import label_indices
from finetide.seeding import derive
from finetide.stages.train import phase_specs
from finetide.studies import fit
from finetide.studies.bench import Bench, open_bench
from finetide.studies.chart import over_labels
from finetide.studies.depth import measure, with_policy
from finetide.studies.fit import Job, finished, folder
from finetide.studies.policies import parse_policies
from finetide.studies.show import as_lines, sheet, write
from support.micro import micro_base
from support.studies import MODEL, PROBE, TUNE, Project, table

# By policy: accuracy about so high on test rows, on validation, gap, values that learn.
PLAYED: dict[str | None, tuple[float, float, float, int]] = {
    None: (0.6, 0.6, 0.0, 0), "head": (0.6, 0.7, 0.1, 10), "last:1": (0.9, 0.65, 0.2, 90), "full": (0.3, 0.9, 0.5, 900),
}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Of two blocks: one is no stack, and no policy counts it."""
    monkeypatch.chdir(tmp_path)
    made = Project(tmp_path)
    made.params(base={"sha256": micro_base(tmp_path / "base", layers=2)})
    return made


def played(at: Bench, job: Job) -> tuple[FinishedRun, bool]:
    accuracy, validation, gap, learns = PLAYED[job.policy]
    chance = np.random.default_rng(derive(job.seed, str(job.policy)))
    truth = label_indices(list(at.test["label"]), at.labels)
    wrong = chance.random(len(truth)) >= accuracy
    told = np.where(wrong, (truth + 1) % len(at.labels), truth)
    tuned = job.policy is not None
    run = FinishedRun(
        method=job.method, seed=job.seed, rows=len(job.rows), predicted=tuple(at.labels[one] for one in told),
        validation=validation, steps=1, seconds=1.0, joules=None, energy="not measured: no GPU",
        gap=gap if tuned else None, trainable=learns if tuned else None,
    )  # fmt: skip
    return run, False


def study(project: Project, policies: str = "full,head,last:1", shares: tuple[float, ...] = (0.5, 1.0)) -> Study:
    return measure(open_bench(project.root, MODEL), parse_policies(policies), shares, 2, played)


def test_only_the_layers_of_the_last_tune_phase_are_others(project: Project) -> None:
    project.params(train={"phases": [TUNE, PROBE, TUNE]})
    params = open_bench(project.root, MODEL).params
    found = with_policy(params, "full")
    assert phase_specs(found)[:2] == phase_specs(params)[:2]
    assert found.phases[2] == params.phases[2].model_copy(update={"layers": "full"})
    assert found.model_copy(update={"phases": params.phases}) == params


@pytest.mark.parametrize(
    ("own", "policy", "rate"),
    [("full", "last:1", 1e-3), ("full", "lora", 1e-2), ("lora", "dora", 1e-3), ("lora", "full", 1e-4)],
)
def test_adapters_learn_at_ten_times_the_rate(project: Project, own: str, policy: str, rate: float) -> None:
    params = with_policy(open_bench(project.root, MODEL).params, parse_policies(own)[own])
    params = params.model_copy(
        update={"phases": [params.phases[0], params.phases[1].model_copy(update={"learning_rate": 1e-3})]}
    )
    tuned = with_policy(params, parse_policies(policy)[policy]).phases[1]
    assert isinstance(tuned, TunePhase)
    assert tuned.learning_rate == pytest.approx(rate)


def test_every_policy_meets_every_share_and_the_probe(project: Project) -> None:
    seen: list[tuple[str | None, int, int, LayerPolicy]] = []

    def finish(at: Bench, job: Job) -> tuple[FinishedRun, bool]:
        (tuned,) = (phase for phase in at.params.phases if isinstance(phase, TunePhase))
        seen.append((job.policy, len(job.rows), job.seed, tuned.layers))
        return played(at, job)

    policies = parse_policies("head,last:1")
    found = measure(open_bench(project.root, MODEL), policies, (0.5, 1.0), 2, finish)
    shown = [(one.method, one.policy, one.rows, len(one.runs)) for one in found.results]
    assert shown == [
        ("tuned", "head", 54, 2), ("tuned", "last:1", 54, 2), ("probe", None, 54, 2),
        ("tuned", "head", 108, 2), ("tuned", "last:1", 108, 2), ("probe", None, 108, 2),
    ]  # fmt: skip
    assert len(seen) == 12
    for name, _, _, layers in seen:
        assert layers == policies[name] if name else isinstance(layers, list)
    assert found.made["tuned"].endswith("adapters learn at 10 times the rate of the others")


def test_each_is_held_against_the_best_on_validation_that_tunes_less(project: Project) -> None:
    """Not against ``last:1``, which has more of the test rows right."""
    found = study(project)
    held = {one.policy: one.shallower and one.shallower.policy for one in found.results[:4]}
    assert held == {"full": "head", "head": None, "last:1": "head", None: None}
    full, head = found.results[0], found.results[1]
    assert full.shallower is not None
    less = full.roles["all"]["accuracy"].value - head.roles["all"]["accuracy"].value
    assert full.shallower.difference.value == pytest.approx(less)
    assert full.shallower.difference.high is not None
    assert full.shallower.difference.high < 0
    assert "overfits with 54 labels: full (" in found.sentence
    assert "with all 108 labels: full (" in found.sentence


def test_differences_are_those_from_the_probe_with_the_same_labels(project: Project) -> None:
    found = study(project)
    for one in found.results:
        probe = next(other for other in found.results if other.method == "probe" and other.share == one.share)
        assert (one.against == {}) is (one is probe)
        for role, difference in one.against.items():
            expected = one.roles[role]["accuracy"].value - probe.roles[role]["accuracy"].value
            assert difference.value == pytest.approx(expected)


def test_the_table_the_notes_and_the_files(project: Project) -> None:
    found = study(project)
    shown = sheet(found)
    assert shown.head == (
        "policy", "labels", "learn", "reference", "interval", "against probe", "incoming", "interval", "against probe",
        "gap", "seconds",
    )  # fmt: skip
    assert [row[:3] for row in shown.rows[:4]] == [
        ("full", "54", "900"), ("head", "54", "10"), ("last:1", "54", "90"), ("probe", "54", "–"),
    ]  # fmt: skip
    assert [row[-2:] for row in shown.rows[:4]] == [("50.0", "1.0"), ("10.0", "1.0"), ("20.0", "1.0"), ("–", "1.0")]
    assert any("4 times in all; by chance alone 5 in 100" in note for note in shown.notes)
    assert any(note.startswith("full, 54 labels: 2 seeds, ") for note in shown.notes)
    written = write(found, project.root / "out")
    assert [path.name for path in written] == ["layers.json", "layers.svg", "layers.html"]
    assert Study.read(written[0]) == found
    page = written[2].read_text()
    assert "://" not in page
    assert "<script" not in page
    assert found.sentence in as_lines(found)


def test_lines_over_labels_keep_their_colours_and_bars_stand_for_one_share(project: Project) -> None:
    accuracy, gap = sheet(study(project)).charts
    for chart, count in ((accuracy, 4), (gap, 3)):
        drawn = ElementTree.fromstring(chart)
        assert [one.get("class") for one in drawn.iter("path")] == [f"line c{place}" for place in range(count)]
        assert len(list(drawn.iter("circle"))) == 2 * count
        assert {"full", "head", "last:1", "54", "108"} <= {one.text for one in drawn.iter("text")}
    incoming, reference = sheet(study(project, shares=(0.5,))).charts
    for chart in (incoming, reference):
        shown = [one.text for one in ElementTree.fromstring(chart).iter("text")]
        assert {"full", "head", "last:1", "probe"} <= set(shown)
        strong = [one.text for one in ElementTree.fromstring(chart).iter("text") if one.get("class") == "t strong"]
        assert strong[0] == "last:1"  # the best


def test_many_lines_have_a_legend_of_several_rows_and_each_a_look_of_its_own() -> None:
    value = Measure(value=0.5, low=0.4, high=0.6, rows=9)
    drawn = ElementTree.fromstring(
        over_labels(
            "Accuracy", "labels", {f"layerwise_decay:0.{place}": [(10, value), (100, value)] for place in range(10)}
        )
    )
    looks = [one.get("class") for one in drawn.iter("path")]
    assert len(set(looks)) == 10
    assert looks[8] == "line c0 again"
    named = [one for one in drawn.iter("text") if str(one.text).startswith("layerwise")]
    assert len({(one.get("x"), one.get("y")) for one in named}) == 10
    highest = min(float(str(one.get("cy"))) for one in drawn.iter("circle"))
    assert max(float(str(one.get("y"))) for one in named) < highest


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("last:99", "--policies.last: the model has 2 blocks (found 99)\n  fix: at most 2; or full"),
        ("lora:99", "--policies.lora.rank: "),
        (
            "auto:39",
            "--policies: 4 candidates are told apart by 5 steps each, and the better half by as many again "
            "(found 'auto:39')\n  fix: at least 40",
        ),
    ],
)
def test_a_policy_that_does_not_fit_is_refused_before_anything_is_trained(
    project: Project, policy: str, said: str
) -> None:
    def never(_: Bench, __: Job) -> tuple[FinishedRun, bool]:
        raise AssertionError("trained")

    with pytest.raises(ConfigError) as caught:
        measure(open_bench(project.root, MODEL), parse_policies(f"head,{policy}"), (1.0,), 1, never)
    assert said in str(caught.value)


def test_without_a_tune_phase(project: Project) -> None:
    project.params(train={"phases": [PROBE]})
    with pytest.raises(ConfigError, match="there is no phase of kind tune, whose layers could be varied") as caught:
        study(project)
    assert caught.value.where == f"params.yaml: models.{MODEL}.train.phases"


def test_gap_and_values_are_the_last_tune_phases(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever comes after it: here a soup."""
    last = {**TUNE, "layers": "head", "duration": {"epochs": 2, "steps": None}}
    project.params(train={"phases": [PROBE, TUNE, last, {"kind": "soup", "of": 3, "size": 2}]})
    curves: list[Curve] = []

    class Kept(Curve):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            curves.append(self)

    monkeypatch.setattr(fit, "Curve", Kept)
    at = open_bench(project.root, MODEL)
    run, _ = finished(at, Job("tuned", None, at.train, 17))
    (curve,) = curves
    assert curve.rows[-1].phase == 3
    of_phase = [row for row in curve.rows if row.phase == 2]
    assert (run.gap, len(of_phase)) == (of_phase[-1].gap, 3)
    assert run.trainable == len(at.labels) * (32 + 1)
    probe, _ = finished(at, Job("probe", None, at.train, 17))
    assert (probe.gap, probe.trainable) == (None, None)


def test_the_verb_trains_and_goes_on_where_it_was(project: Project) -> None:
    before = project.graph()
    arguments = ["layers", MODEL, "--policies", "head,lora:2,full", "--shares", "0.5"]
    said = CliRunner().invoke(cli, arguments)
    assert said.exit_code == 0, said.output
    assert said.stdout.splitlines()[-1] == (
        f"written: studies/{MODEL}/layers.json, studies/{MODEL}/layers.svg, studies/{MODEL}/layers.html"
    )
    assert "With 54 labels " in said.stdout
    assert project.graph() == before
    found = Study.read(project.root / "studies" / MODEL / "layers.json")
    head, lora, full, probe = found.results
    learned = [one.runs[0].trainable or 0 for one in (head, lora, full)]
    assert learned == sorted(set(learned))
    assert learned[0] == found.labels * (32 + 1)
    assert (head.shallower, probe.runs[0].trainable) == (None, None)
    assert lora.shallower is None  # it reaches every block, and is neither less deep nor deeper
    assert full.shallower is not None
    assert full.shallower.policy == "head"
    kept = {path: path.stat().st_mtime_ns for path in (folder(project.root, MODEL) / "runs").glob("*.json")}
    assert len(kept) == 4
    assert CliRunner().invoke(cli, arguments).stdout == said.stdout
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_the_models_own_policy_is_the_run_that_curve_makes(project: Project) -> None:
    project.params(train={"phases": [PROBE, {**TUNE, "layers": "head"}]})
    at = open_bench(project.root, MODEL)
    finished(at, Job("tuned", None, at.train, at.seed))
    kept: list[bool] = []

    def finish(bench: Bench, job: Job) -> tuple[FinishedRun, bool]:
        run, before = finished(bench, job)
        kept.append(before)
        return run, before

    measure(at, parse_policies("head"), (1.0,), 1, finish)
    assert kept == [False, True]  # the probe is new


def test_a_run_kept_by_an_older_finetide_is_made_again(project: Project) -> None:
    at = open_bench(project.root, MODEL)
    job = Job("probe", None, at.train, 17)
    finished(at, job)
    (path,) = (folder(project.root, MODEL) / "runs").iterdir()
    kept = json.loads(path.read_text())
    del kept["gap"]
    path.write_text(json.dumps(kept))
    assert not finished(at, job)[1]


def test_one_role_alone(project: Project) -> None:
    project.rows(table(both=False))
    found = study(project)
    assert sheet(found).head == (
        "policy",
        "labels",
        "learn",
        "reference",
        "interval",
        "against probe",
        "gap",
        "seconds",
    )


def test_what_is_wrong_is_told_through_the_command_line(project: Project) -> None:
    assert "did you mean 'tickets'?" in str(CliRunner().invoke(cli, ["layers", "tikets"]).exception)
    for option, value, said in (
        ("--policies", "ful", "--policies: unknown layer policy (found 'ful')"),
        ("--shares", "5", "a share of the training labels is above 0 and at most 1"),
        ("--shares", "0.001", "--shares: leaves no row: there are 108 labelled"),
    ):
        assert said in str(CliRunner().invoke(cli, ["layers", MODEL, option, value]).exception)
    assert not (folder(project.root, MODEL) / "runs").exists()

"""Whole studies on a micro model: through the command line, resumed, beside the graph."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from finetide import tasks
from finetide.cli.main import cli
from finetide.contracts.study import FinishedRun, Study
from finetide.engine.inference import predict
from finetide.errors import BusyError, DataError, IntegrityError, ProjectError
from finetide.evaluation.align import label_indices
from finetide.seeding import derive
from finetide.stages import train
from finetide.studies import compare, curve, seeds
from finetide.studies.bench import Bench, open_bench
from finetide.studies.chart import efficiency, standalone
from finetide.studies.fit import Job, finished, folder
from finetide.studies.show import as_lines, write
from finetide.studies.work import run_all
from finetide.task import ModelSettings
from support.messages import LABELS
from support.studies import CHAMPION, MODEL, PROBE, TUNE, Project, table


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path)


def bench(project: Project, **options: bool) -> Bench:
    return open_bench(project.root, MODEL, **options)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), catch_exceptions=True)


def ticking() -> partial[tuple[FinishedRun, bool]]:
    """Runs whose clock stands still but for one second a look."""
    ticks = itertools.count()
    return partial(finished, clock=lambda: float(next(ticks) % 2))


def test_the_three_verbs_end_to_end_and_nothing_of_the_graph_is_touched(project: Project) -> None:
    project.promote()
    before = project.graph()
    said = call("curve", MODEL, "--shares", "0.1,0.5")
    assert said.exit_code == 0, said.output
    assert said.stdout.splitlines()[-2].startswith("Fine-tuning ")
    assert said.stdout.splitlines()[-1] == (
        f"written: studies/{MODEL}/curve.json, studies/{MODEL}/curve.svg, studies/{MODEL}/curve.html"
    )
    said = call("compare", MODEL)
    assert said.exit_code == 0, said.output
    assert "warm start" in said.stdout
    assert "not measured: no GPU" in said.stdout or "NVML" in said.stdout
    said = call("seeds", MODEL, "--seeds", "2")
    assert said.exit_code == 0, said.output
    assert "Over 2 seeds" in said.stdout
    assert project.graph() == before

    study = Study.read(project.root / "studies" / MODEL / "curve.json")
    assert [(one.method, one.rows) for one in study.results] == [
        ("zero-shot", 0),
        ("tuned", 12), ("probe", 12), ("scratch", 12),
        ("tuned", 54), ("probe", 54), ("scratch", 54),
        ("tuned", 108), ("probe", 108), ("scratch", 108),
    ]  # fmt: skip
    kept = list((folder(project.root, MODEL) / "runs").glob("*.json"))
    # Ten of the curve; warm start; the second seed. What studies share is made once.
    assert len(kept) == 12


def test_pages_load_nothing_and_charts_are_svg(project: Project) -> None:
    at, out = bench(project), project.root / "out"
    for study in (curve.measure(at, (0.1,), 2, played), compare.measure(at, 2, played), seeds.measure(at, 2, played)):
        write(study, out)
        page = (out / f"{study.kind}.html").read_text()
        assert "://" not in page
        assert "<script" not in page
        assert ElementTree.parse(out / f"{study.kind}.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"
        assert Study.read(out / f"{study.kind}.json") == study
        assert study.sentence in "\n".join(as_lines(study))


@pytest.mark.slow
def test_a_study_that_was_cut_off_goes_on_and_gives_the_same_file(project: Project, tmp_path: Path) -> None:
    whole = curve.measure(bench(project), (0.1,), 1, ticking())
    for path in (folder(project.root, MODEL) / "runs").iterdir():
        path.unlink()
    made: list[Job] = []

    def cut(at: Bench, job: Job) -> tuple[FinishedRun, bool]:
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(job)
        return ticking()(at, job)

    with pytest.raises(KeyboardInterrupt):
        curve.measure(bench(project), (0.1,), 1, cut)
    again: list[bool] = []

    def count(at: Bench, job: Job) -> tuple[FinishedRun, bool]:
        run, before = ticking()(at, job)
        again.append(before)
        return run, before

    assert curve.measure(bench(project), (0.1,), 1, count) == whole
    assert again == [True] * 3 + [False] * 4


def test_a_torn_run_is_made_again(project: Project) -> None:
    job = Job("zero-shot", None, bench(project).train.head(0), 17)
    run, _ = ticking()(bench(project), job)
    (path,) = (folder(project.root, MODEL) / "runs").iterdir()
    path.write_text('{"torn')
    assert ticking()(bench(project), job) == (run, False)


def test_other_rows_settings_or_seeds_are_other_runs(project: Project) -> None:
    at = bench(project)
    assert not finished(at, Job("tuned", None, at.train, 17))[1]
    assert finished(at, Job("tuned", 0.5, at.train, 17))[1]
    assert not finished(at, Job("tuned", None, at.train, 18))[1]
    assert not finished(at, Job("tuned", None, at.train.head(20), 17))[1]
    project.params(train={"batch_rows": 54})
    assert not finished(bench(project), Job("tuned", None, at.train, 17))[1]


def test_a_probe_on_the_same_rows_is_made_once_whatever_the_seed(project: Project) -> None:
    at = bench(project)
    assert not finished(at, Job("probe", None, at.train, 17))[1]
    assert finished(at, Job("probe", None, at.train, 18))[1]


def test_fine_tuned_is_what_the_graph_trains(project: Project) -> None:
    from finetide.contracts.gate import GateRecord

    GateRecord().write(project.dep("gate.json"))
    at = bench(project)
    run, _ = finished(at, Job("tuned", None, at.train, at.seed))
    train.run(at.stage)
    task = tasks.load("text-classification")
    settings = ModelSettings(LABELS_SORTED, 32, "mean", 0.0)
    built = task.build(at.stage.out("model"), settings, seed=1)
    logits = predict(task, built, task.encode(built, at.test.assign(label=None)), batch_tokens=512)
    assert tuple(LABELS_SORTED[place] for place in np.asarray(logits).argmax(1)) == run.predicted


LABELS_SORTED = tuple(sorted(LABELS))


def played(at: Bench, job: Job) -> tuple[FinishedRun, bool]:
    """A run that guesses, half of the time; for tests of what is made of runs."""
    chance = np.random.default_rng(derive(job.seed, job.method))
    truth = label_indices(list(at.test["label"]), at.labels)
    told = np.where(chance.random(len(truth)) < 0.5, truth, chance.integers(0, len(at.labels), len(truth)))
    run = FinishedRun(
        method=job.method, seed=job.seed, rows=len(job.rows), predicted=tuple(at.labels[one] for one in told),
        validation=0.9, steps=1, seconds=1.0, joules=None, energy="not measured: no GPU", gap=0.1, trainable=100,
    )  # fmt: skip
    return run, False


def test_without_a_champion_the_warm_start_is_left_out(project: Project) -> None:
    study = compare.measure(bench(project, with_champion=True), 1, played)
    assert study.left_out == {"champion": "the window pins no champion: this is the model's first training"}
    assert [one.method for one in study.results] == ["tuned", "scratch", "probe", "zero-shot"]
    assert study.results[0].against == {}
    assert set(study.results[1].against) == {"reference", "incoming", "all"}


def test_differences_are_those_of_the_accuracies(project: Project) -> None:
    study = compare.measure(bench(project, with_champion=True), 1, played)
    tuned, scratch = study.results[:2]
    for role, difference in scratch.against.items():
        expected = scratch.roles[role]["accuracy"].value - tuned.roles[role]["accuracy"].value
        assert difference.value == pytest.approx(expected)


def test_a_collapsed_seed_is_named_in_the_study(project: Project) -> None:
    """Seed 18 is made to say one label only."""

    def finish(at: Bench, job: Job) -> tuple[FinishedRun, bool]:
        truth = tuple(at.test["label"])
        told = truth if job.seed != 18 else (at.labels[0],) * len(truth)
        return played(at, job)[0].model_copy(update={"predicted": told}), False

    study = seeds.measure(bench(project), 3, finish)
    assert "seed 18 collapsed: 33.3 % is not told from 33.3 % (most frequent label)" in study.sentence
    assert study.sentence.endswith("without it the average is 100.0 %.")
    assert [run.collapsed is not None for run in study.results[0].runs] == [False, True, False]


def test_without_a_split(project: Project) -> None:
    project.dep("split.parquet").unlink()
    with pytest.raises(ProjectError, match=r"split\.parquet: is missing") as caught:
        bench(project)
    assert caught.value.fix == f"run what comes before: finetide run {MODEL}"


@pytest.mark.parametrize(
    ("side", "fix"),
    [
        ("test", f"label some, or raise split.test_percent in params.yaml, then finetide run {MODEL}"),
        ("validation", f"label some, or raise split.validation_percent in params.yaml, then finetide run {MODEL}"),
        ("train", f"label some, then finetide run {MODEL}"),
    ],
)
def test_without_labelled_rows_of_a_side(project: Project, side: str, fix: str) -> None:
    rows = table()
    project.rows(rows.assign(label=rows["label"].where(rows["split"] != side)))
    name = "training" if side == "train" else side
    with pytest.raises(DataError, match=f"there are no labelled {name} rows, and a study needs some") as caught:
        bench(project)
    assert caught.value.where == f"artifacts/{MODEL}/split/split.parquet"
    assert caught.value.fix == fix


def test_a_champion_whose_weights_are_not_here_or_altered(project: Project) -> None:
    project.promote()
    weights = project.root / "serving" / MODEL / CHAMPION.hash / "weights" / "model.safetensors"
    found = weights.read_bytes()
    weights.write_bytes(found[:-1] + bytes([found[-1] ^ 1]))
    with pytest.raises(IntegrityError, match="are not those that were promoted"):
        bench(project, with_champion=True)
    weights.parent.rename(weights.parent.with_name("gone"))
    with pytest.raises(ProjectError, match="the weights of v1 are not here"):
        bench(project, with_champion=True)
    bench(project)  # the other studies do not look for them


def test_unknown_models_and_shares_are_told_through_the_command_line(project: Project) -> None:
    for verb in ("curve", "compare", "seeds"):
        assert "models there: tickets; did you mean 'tickets'?" in str(call(verb, "tikets").exception)
    assert "--shares: leaves no row: there are 108 labelled" in str(call("curve", MODEL, "--shares", "0.001").exception)
    assert not (folder(project.root, MODEL) / "runs").exists()


def test_two_at_once(project: Project) -> None:
    at = bench(project)

    def another(_: Bench, __: Job) -> tuple[FinishedRun, bool]:
        with pytest.raises(BusyError, match="another study of this model is at work"):
            run_all(at, [Job("probe", None, at.train, 17)], "seeds")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_all(at, [Job("probe", None, at.train, 17)], "curve", another)


def test_one_role_alone(project: Project) -> None:
    project.rows(table(both=False))
    study = compare.measure(bench(project), 1, played)
    assert set(study.test_rows) == {"reference"}
    assert study.sentence.startswith("On reference test rows")


def test_replayed_rows_follow_the_recipe(project: Project) -> None:
    from finetide.contracts.shift import Recipe

    Recipe(verdict="adapt", replay=0.0, reason="").write(project.dep("recipe.json"))
    assert set(bench(project).train["role"]) == {"incoming"}
    project.dep("recipe.json").unlink()
    assert set(bench(project).train["role"]) == {"incoming", "reference"}  # params.yaml: train.replay: 1.0


def test_the_curve_is_drawn_with_a_point_a_result_and_a_line_for_zero_shot(project: Project) -> None:
    study = curve.measure(bench(project), (0.1, 0.5), 1, played)
    drawn = ElementTree.fromstring(standalone(efficiency("Accuracy", study.results, "all", bench(project).terms)))
    svg = "{http://www.w3.org/2000/svg}"
    assert len(list(drawn.iter(f"{svg}circle"))) == 9
    shown = [one.text for one in drawn.iter(f"{svg}text")]
    assert {"12", "54", "108", "fine-tuned", "probe", "from scratch", "zero-shot"} <= set(shown)


def test_an_adapt_phase_reads_rows_without_labels_and_they_decide_the_run(project: Project) -> None:
    """The probe and training from scratch have no such phase: their runs stay the same."""
    adapt = {**TUNE, "kind": "adapt", "objective": "masked-language", "rows": "all", "layers": "full"}
    project.params(train={"phases": [adapt, PROBE]})
    rows = table()
    unlabelled = rows.head(6).assign(label=None, split="train", text="parcel")
    unlabelled["row_id"] = [f"late.csv:{place}" for place in range(6)]
    at = bench(project)
    run, _ = finished(at, Job("tuned", None, at.train, 17))
    assert run.steps == 7  # of 108 rows in batches of 16
    assert not finished(at, Job("probe", None, at.train, 17))[1]
    project.rows(pd.concat([rows, unlabelled], ignore_index=True))
    more = bench(project)
    assert finished(more, Job("probe", None, more.train, 17))[1]
    again, before = finished(more, Job("tuned", None, more.train, 17))
    assert (again.steps, before) == (8, False)


def test_a_deeper_head_is_fine_tuned_and_the_probe_stays_linear(project: Project) -> None:
    project.params(train={"phases": [TUNE], "head": {"hidden": [8]}})
    at = bench(project)
    for method in ("tuned", "scratch", "probe"):
        run, _ = finished(at, Job(method, None, at.train, 17))
        assert len(run.predicted) == len(at.test)

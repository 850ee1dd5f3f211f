import hashlib
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

from finetide.config.evaluate import EvaluateParams
from finetide.contracts.gate import Approval
from finetide.errors import IntegrityError, ProjectError
from finetide.evaluation.score import score
from finetide.report import build, write
from finetide.report.content import of_labels, phase_starts
from finetide.report.gather import gather
from support.artifacts import LABELS, Artifacts, digest

STAGES = ("ingest", "validate", "split", "shift", "gate", "train", "evaluate", "export", "judge")


class Page(HTMLParser):
    """What a browser would see: tags, the addresses they name, and the text outside of them."""

    VOID = frozenset(("meta", "br", "img"))

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "action", "data") and value]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return Artifacts(tmp_path_factory.mktemp("finished")).all()


@pytest.fixture
def run(finished, tmp_path):
    """A finished run of one's own to spoil."""
    shutil.copytree(finished.root, tmp_path, dirs_exist_ok=True)
    copy = Artifacts.__new__(Artifacts)
    copy.__dict__.update(finished.__dict__, root=tmp_path, chance=np.random.default_rng(7))
    return copy


def read(artifacts: Artifacts) -> Page:
    return Page(build(artifacts.root, "tickets"))


def remove(artifacts: Artifacts, stage: str, name: str) -> None:
    path = artifacts.out(stage, name)
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_a_finished_run_shows_every_section(finished):
    page = read(finished)
    assert page.open == []
    for words in ("promoted as v2", "Rows by label, role and split", "Recipe for the training", "kept", "macro-F1"):
        assert words in page.text
    for words in ("Confused most", "temperature of 1.310", "ONNX against torch", "label:refund", "Files of the bundle"):
        assert words in page.text
    assert "Not reached" not in page.text
    for words in ("Training rows: 9 of 502 labels look wrong", "shop.csv:48", "delivery_status 93.0 %"):
        assert words in page.text
    assert "Validation rows:" not in page.text
    # Three curves, a chart a role, confusion, reliability.
    assert page.tags.count("svg") == 7
    assert page.tags.count("img") == 1


def test_the_page_loads_nothing(finished):
    html = build(finished.root, "tickets")
    page = Page(html)
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert "http://" not in html
    assert "https://" not in html
    assert not re.search(r"@import|url\(", html)
    assert not {"script", "link", "iframe", "object", "base", "form"} & set(page.tags)
    assert "default-src 'none'" in html


def test_texts_of_the_data_are_escaped_wherever_they_stand(finished):
    html = build(finished.root, "tickets")
    page = Page(html)
    assert "<script" not in html
    assert page.handlers == []
    assert page.text.count("<script>alert('ticket')</script> & my parcel") >= 2
    assert "script" not in page.tags
    assert "b" not in page.tags


def test_labels_and_reasons_are_escaped_too(run):
    test = run._test().head(3).assign(label=["<img src=x onerror=alert(1)>", '"><svg onload=alert(2)>', "ok"])
    labels = tuple(test["label"])
    params = EvaluateParams(bootstrap=10, confidence=0.9, calibration_bins=5, label_descriptions={})
    guesses = {"<i>mine</i>": np.zeros(3, dtype=np.int64)}
    metrics, evaluation = score(
        test, np.eye(3)[::-1], temperature=1.0, labels=labels, guesses=guesses, params=params, seed=1
    )
    metrics.write(run.out("evaluate", "metrics.json"))
    evaluation.write(run.out("evaluate", "evaluation.json"))
    page = read(run)
    assert page.handlers == []
    assert page.tags.count("img") == 1
    assert "<i>mine</i>" in page.text
    assert "<img src=x onerror=alert(1)>" in page.text


def test_the_page_is_written_beside_the_outputs_and_equal_twice(finished):
    first = write(finished.root, "tickets")
    assert first == finished.root / ".finetide" / "reports" / "tickets.html"
    data = first.read_bytes()
    assert write(finished.root, "tickets").read_bytes() == data


def test_a_project_in_which_nothing_ran_has_a_page(tmp_path):
    page = read(Artifacts(tmp_path))
    assert "not run yet" in page.text
    sections = page.text.split("Lineage", 1)[1]
    for what in ("no window", "not been split", "data checks", "shift has not", "nothing has been trained"):
        assert what in sections
    for what in (
        "not been scored",
        "no label",
        "calibrated",
        "nothing has been exported",
        "no challenger",
        "no bundle",
    ):
        assert what in sections


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_that_stopped_anywhere_has_a_page(run, stage):
    for name in run.files[stage]:
        remove(run, stage, name)
    page = read(run)
    assert page.open == []
    assert "Not reached" in page.text
    assert "promoted" not in page.text


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda run: run.quality("fail"), "The data checks failed: 1 critical finding: near duplicates."),
        (lambda run: run.split("fail"), "The split leaks: 4 texts stand on two sides."),
        (lambda run: run.shift("halt"), "Incoming rows can be told from reference rows"),
    ],
)
def test_a_halted_run_says_what_halted_it_and_hides_what_an_earlier_run_left(run, spoil, sentence):
    spoil(run)
    remove(run, "gate", "gate.json")
    page = read(run)
    assert "halted" in page.text
    assert sentence in page.text
    assert "Not reached: nothing has been trained on this data" in page.text
    assert "ONNX against torch" not in page.text


def test_an_approval_is_shown(run):
    folder = run.root / "approvals" / "tickets"
    folder.mkdir(parents=True)
    for name, time in (("b", "2025-03-02T10:00:00Z"), ("a", "2025-03-03T10:00:00Z")):
        Approval(
            model="tickets", verdict_hash=digest(name), decision="approved", who="ops", why=f"seen {name}", time=time
        ).write(folder / f"{name}.json")
    page = read(run)
    assert page.text.index("seen b") < page.text.index("seen a")


def test_a_rejected_challenger_is_not_called_promoted(run):
    run.judge(better=-0.3)
    page = read(run)
    assert "rejected" in page.text
    assert "ignificantly worse than the champion" in page.text


def test_a_challenger_that_is_not_in_service_is_ready(run):
    run.alias("v1", digest("v1"))
    assert "ready to promote" in read(run).text


def test_without_incoming_rows_there_is_one_role(tmp_path):
    page = read(Artifacts(tmp_path, incoming=False).all())
    assert "accuracy, reference" in page.text
    assert "accuracy, incoming" not in page.text
    assert "both together" not in page.text


def test_without_labelled_test_rows_nothing_is_scored(run):
    params = EvaluateParams(bootstrap=10, confidence=0.9, calibration_bins=5, label_descriptions={})
    nothing = np.zeros((0, 8))
    metrics, evaluation = score(
        run._test().head(0), nothing, temperature=1.0, labels=LABELS, guesses={}, params=params, seed=1
    )
    metrics.write(run.out("evaluate", "metrics.json"))
    evaluation.write(run.out("evaluate", "evaluation.json"))
    page = read(run)
    assert "There is no labelled test row, so there is nothing to score." in page.text
    assert "Not reached: no label has been scored" in page.text


def test_a_phase_is_marked_where_it_begins_in_the_curve(run):
    """The probe of the sample says 0 steps and a real one says its solver's; only the curve knows optimizer steps."""
    text = "step,phase,validation_loss,validation_accuracy\n0,0,0.9,0.7\n10,1,0.8,0.75\n20,1,0.7,0.8\n40,2,0.6,0.82\n"
    run.out("train", "curve.csv").write_text(text)
    starts = phase_starts(gather(run.root, "tickets"))
    assert starts == {"phase 3, ": 20.0}
    run.out("train", "curve.csv").write_text(text.replace("40,2", "40,1"))
    assert phase_starts(gather(run.root, "tickets")) == {"phase 2, tune": 0.0}


def lock(run: Artifacts) -> None:
    """What DVC would have noted of train: its inputs as they are now."""

    def entry(path) -> dict[str, str]:
        md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        return {"path": path.relative_to(run.root).as_posix(), "hash": "md5", "md5": md5}

    deps = [entry(run.out("split", "split.parquet")), entry(run.out("gate", "gate.json"))]
    outs = [entry(run.out("train", "training.json"))]
    model = {"path": run.out("train", "model").relative_to(run.root).as_posix(), "md5": "0.dir"}
    document = {"schema": "2.0", "stages": {"train@tickets": {"deps": deps, "outs": [model, *outs]}}}
    (run.root / "dvc.lock").write_text(json.dumps(document))


def test_results_on_the_present_inputs_are_this_runs(run):
    lock(run)
    assert "promoted as v2" in read(run).text


def test_results_of_the_run_before_are_called_so(run):
    lock(run)
    run.table = run.table.head(700)
    run.split()
    page = read(run)
    assert "not retrained" in page.text
    assert "from train on, this page shows the run before" in page.text
    assert "promoted" not in page.text
    assert "From the run before" in page.text


def test_outputs_that_the_lock_does_not_know_are_taken_as_they_are(run):
    lock(run)
    run.table = run.table.head(700)
    run.split()
    training = run.out("train", "training.json")
    training.write_bytes(training.read_bytes().replace(b"bf16", b"fp32"))
    assert "promoted as v2" in read(run).text


def test_a_torn_file_is_refused_by_name(run):
    run.out("judge", "judge.json").write_text('{"verdict": "maybe"}')
    with pytest.raises(IntegrityError, match=r"judge\.json: .*\n  fix: restore the file or run its stage again"):
        build(run.root, "tickets")


def test_outside_a_project_there_is_no_report(tmp_path):
    with pytest.raises(ProjectError, match=r"dvc\.yaml: no such file"):
        build(tmp_path, "tickets")


def test_more_labels_than_are_shown_fold_away(finished, monkeypatch):
    monkeypatch.setattr("finetide.report.page.SHOWN", 3)
    page = Page(build(finished.root, "tickets"))
    assert re.search(r"the \d+ with fewer rows", page.text)
    assert all(label in page.text for label in LABELS)


def test_what_an_adapt_phase_measures_is_in_no_curve_of_labels():
    curve = {"step": [0.0, 4.0, 8.0], "phase": [0.0, 0.0, 1.0], "validation_accuracy": [0.1, 0.2, 0.8]}
    found = of_labels(curve, [0])
    assert found["validation_accuracy"] == [None, None, 0.8]
    assert found["step"] == curve["step"]
    assert of_labels(curve, [])["validation_accuracy"] == curve["validation_accuracy"]

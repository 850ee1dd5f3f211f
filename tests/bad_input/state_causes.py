"""What the project knows of itself: window, ledger, alias, locks, verdicts, approvals, suite, pointers."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bad_input.cause import Cause, Place
from support.project import MODEL, environment

RUN, STATUS = ("run", MODEL), ("status", MODEL)
PREDICT = ("predict", MODEL, "--input", "{folder}/shop.csv", "--output", "{folder}/out.csv")
WINDOW, ALIAS = f"data/{MODEL}/window.json", f"serving/{MODEL}/champion.json"
SUITE = f"data/{MODEL}/suite.json"
MADE_BY = {"quality.json": "validate", "shift.json": "shift", "judge.json": "judge", "metrics.json": "evaluate"}
TAG = f"finetide/{MODEL}/00000"
Arrange = Callable[[Place], None]


def torn(path: str) -> Arrange:
    """Cut in the middle, behind a colon: what the parser says must not hang on how long a figure happens to be."""

    def arrange(place: Place) -> None:
        file = place.root / path
        half = file.read_bytes()[: file.stat().st_size // 2]
        file.write_bytes(half[: half.rindex(b":") + 1])

    return arrange


def text(path: str, content: str) -> Arrange:
    return lambda place: _write(place.root / path, content)


def replaced(path: str, old: str, new: str) -> Arrange:
    def arrange(place: Place) -> None:
        found = (place.root / path).read_text()
        assert old in found
        _write(place.root / path, found.replace(old, new, 1))

    return arrange


def edited(path: str, change: Callable[[Any], object]) -> Arrange:
    def arrange(place: Place) -> None:
        document = json.loads((place.root / path).read_text())
        change(document)
        _write(place.root / path, json.dumps(document, sort_keys=True, indent=2) + "\n")

    return arrange


def window(change: Callable[[Any], object]) -> Arrange:
    return edited(WINDOW, change)


def artifact(name: str) -> str:
    return f"artifacts/{MODEL}/{MADE_BY[name]}/{name}"


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def git(place: Place, *arguments: str, stdin: str = "") -> str:
    env = {**os.environ, **environment()}
    done = subprocess.run(
        ["git", *arguments], cwd=place.root, env=env, input=stdin, capture_output=True, text=True, check=True
    )
    return done.stdout


def two_entries(then: Arrange) -> Arrange:
    """The promotion of v1, then an approval, then ``then``."""

    def arrange(place: Place) -> None:
        from finetide.registry import service

        service.record(place.root, MODEL, "approved", reason="as agreed", window=None, who="tester")
        then(place)

    return arrange


def _without(number: int) -> Arrange:
    return lambda place: git(place, "update-ref", "-d", f"refs/tags/{TAG}{number}") and None


def _altered(place: Place) -> None:
    """The first entry says another reason; the tag is made anew, as somebody would who knows git."""
    content = git(place, "cat-file", "tag", f"{TAG}1")
    head, _, message = content.partition("\n\n")
    document = json.loads(message)
    document["reason"] = "because I say so"
    made = git(place, "mktag", stdin=f"{head}\n\n{json.dumps(document, sort_keys=True, indent=2)}\n").strip()
    git(place, "update-ref", f"refs/tags/{TAG}1", made)


def _inserted(place: Place) -> None:
    """A copy of the first entry under the next number."""
    content = git(place, "cat-file", "tag", f"{TAG}1")
    made = git(place, "mktag", stdin=content.replace(f"tag {TAG}1", f"tag {TAG}2")).strip()
    git(place, "update-ref", f"refs/tags/{TAG}2", made)


def _plain_tag(place: Place) -> None:
    git(place, "tag", f"{TAG}2", "HEAD")


def _annotated_tag(place: Place) -> None:
    git(place, "tag", "-a", "-m", "release", f"{TAG}2", "HEAD")


def _missing_dep(place: Place) -> None:
    path = place.root / "dvc.yaml"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if "suite.json" not in line))


def _missing_stage(place: Place) -> None:
    from ruamel.yaml import YAML

    path = place.root / "dvc.yaml"
    document = YAML().load(path.read_text())
    del document["stages"]["judge"]
    with path.open("w") as stream:
        YAML().dump(document, stream)


def _approval(**values: Any) -> Arrange:
    good = {
        "schema_version": 1, "model": MODEL, "verdict_hash": "a" * 64, "decision": "approved",
        "who": "tester", "why": "as agreed", "time": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    return text(f"approvals/{MODEL}/{'a' * 16}-approved.json", json.dumps({**good, **values}))


WINDOWS = [
    Cause("window", "window.json torn", RUN, torn(WINDOW), 6,
          ("{root}/data/mail/window.json", "is not valid JSON", "git checkout data/mail/window.json"),
          start="trained"),
    Cause("window", "window.json missing", RUN, lambda place: (place.root / WINDOW).unlink(), 2,
          ("{root}/data/mail/window.json", "no such file"), start="trained"),
    Cause("window", "another hash for a file", RUN, window(lambda d: d["files"][0].update(sha256="0" * 64)), 6,
          ("{root}/data/mail/raw/shop.csv", "window.json names sha256 0000", "git checkout"), start="trained"),
    Cause("window", "a path with ..", RUN, window(lambda d: d["files"][0].update(path="../../../../shop.csv")), 6,
          ("{root}/data/mail/window.json", "files.0.path", "must stay inside data/MODEL/raw",
           "'../../../../shop.csv'"), start="trained"),
    Cause("window", "an absolute path", RUN, window(lambda d: d["files"][0].update(path="/etc/passwd")), 6,
          ("{root}/data/mail/window.json", "files.0.path", "must stay inside", "'/etc/passwd'"), start="trained"),
    Cause("window", "a champion that nobody promoted", RUN,
          window(lambda d: d.update(champion={"version": "v9", "hash": "f" * 64})), 6,
          ("data/mail/window.json", "pins champion v9, of which the ledger knows nothing", "git fetch --tags"),
          start="trained"),
    Cause("window", "a role that is none", RUN, window(lambda d: d["files"][1].update(role="holdout")), 6,
          ("{root}/data/mail/window.json", "files.1.role", "'reference', 'incoming' or 'excluded'",
           "(found 'holdout')", "git checkout data/mail/window.json"), start="trained"),
    Cause("window", "that of another model", RUN, window(lambda d: d.update(model="letters")), 6,
          ("{root}/data/mail/window.json", "is the window of another model", "(found 'letters')"), start="trained"),
]  # fmt: skip
LEDGER = [
    Cause("ledger", "its only tag deleted", RUN, _without(1), 6,
          ("serving/mail/champion.json", "names entry 1 of a ledger that has 0", "git fetch --tags"), start="trained"),
    Cause("ledger", "a tag in the middle deleted", RUN, two_entries(_without(1)), 6,
          (f"tag {TAG}1", "is missing from the ledger", "git fetch --tags --force"), start="trained"),
    Cause("ledger", "an entry altered", ("history", MODEL), two_entries(_altered), 6,
          (f"tag {TAG}2", "does not follow the entry before it"), start="trained"),
    Cause("ledger", "an entry inserted", ("history", MODEL), _inserted, 6,
          (f"tag {TAG}2", "holds the entry of another tag"), start="trained"),
    Cause("ledger", "a plain tag among its tags", RUN, _plain_tag, 6,
          (f"tag {TAG}2", "is not an annotated tag", "(found 'commit')"), start="trained"),
    Cause("ledger", "somebody's own tag among its tags", STATUS, _annotated_tag, 6,
          (f"tag {TAG}2", "holds no ledger entry"), start="trained"),
]  # fmt: skip
ALIASES = [
    Cause("alias", "torn, met by predict", PREDICT, torn(ALIAS), 6,
          ("{root}/serving/mail/champion.json", "is not valid JSON", "finetide run writes it anew"),
          start="trained"),
    Cause("alias", "torn, met by status", STATUS, torn(ALIAS), 6,
          ("{root}/serving/mail/champion.json", "is not valid JSON", "finetide run mail writes it anew"),
          start="trained"),
    Cause("alias", "a bundle that is not there", PREDICT,
          edited(ALIAS, lambda d: d.update(bundle=f"serving/mail/{'f' * 64}/bundle")), 2,
          ("{root}/serving/mail/champion.json", "names a bundle that is not there", "(found 'serving/mail/fff",
           "finetide run brings it back"), start="trained"),
    Cause("alias", "a bundle outside of the project", PREDICT,
          edited(ALIAS, lambda d: d.update(bundle="../bundle")), 6,
          ("{root}/serving/mail/champion.json", "leads out of the project", "(found '../bundle')"), start="trained"),
    Cause("alias", "ahead of the ledger", RUN, edited(ALIAS, lambda d: d.update(entry=7)), 6,
          ("{root}/serving/mail/champion.json", "names entry 7 of a ledger that has 1", "git fetch --tags"),
          start="trained"),
    Cause("alias", "ahead of the ledger, met by a question", ("status",), edited(ALIAS, lambda d: d.update(entry=7)), 6,
          ("{root}/serving/mail/champion.json", "names entry 7 of a ledger that has 1", "git fetch --tags"),
          start="trained"),
]  # fmt: skip
GRAPH = [
    Cause("finetide.lock", "torn, met by a stage alone", ("stage", "judge", MODEL), torn("finetide.lock"), 2,
          ("finetide.lock", "is not what the installed code gives", "finetide check"), start="trained"),
    Cause("finetide.lock", "a key edited, met by a stage alone", ("stage", "ingest", MODEL),
          replaced("finetide.lock", "code: ", "code: 0"), 2,
          ("finetide.lock: stages.mail.ingest", "is not what the installed code gives", "finetide check"),
          start="trained"),
    Cause("dvc.yaml", "dvc.yaml torn", RUN, replaced("dvc.yaml", "stages:", "stages: ["), 2,
          ("dvc.yaml", "line ", "is not valid YAML"), start="trained"),
    Cause("dvc.yaml", "a stage missing", RUN, _missing_stage, 2,
          ("dvc.yaml", "has no stage 'judge'", "git checkout dvc.yaml", "stages there: ingest, "), start="trained"),
    Cause("dvc.yaml", "a dependency missing", ("stage", "validate", MODEL), _missing_dep, 2,
          ("dvc.yaml", "stages.validate.deps", "must have a file named 'suite.json'"), start="trained"),
    Cause("pointer of DVC", "shop.csv.dvc torn", RUN, text(f"data/{MODEL}/raw/shop.csv.dvc", "outs:\n- md5: 0a"), 2,
          ("{root}/data/mail/raw/shop.csv.dvc", "is no pointer of DVC, or a torn one",
           "git -C {root}/data/mail/raw checkout shop.csv.dvc"),
          start="trained"),
    Cause("pointer of DVC", "no YAML", RUN, text(f"data/{MODEL}/raw/shop.csv.dvc", "outs: ["), 2,
          ("{root}/data/mail/raw/shop.csv.dvc", "is not valid YAML",
           "git -C {root}/data/mail/raw checkout shop.csv.dvc"), start="trained"),
]  # fmt: skip
VERDICTS = [
    Cause("verdict", "quality.json torn, met by status", STATUS, torn(artifact("quality.json")), 6,
          ("{root}/artifacts/mail/validate/quality.json", "is not valid JSON"), start="trained"),
    Cause("verdict", "shift.json with a word that no verdict is", STATUS,
          edited(artifact("shift.json"), lambda d: d.update(verdict="fine")), 6,
          ("{root}/artifacts/mail/shift/shift.json", "verdict: Input should be", "'harmless'"), start="trained"),
    Cause("verdict", "quality.json torn, met by approve", ("approve", MODEL, "--why", "as agreed"),
          torn(artifact("quality.json")), 6,
          ("{root}/artifacts/mail/validate/quality.json", "is not valid JSON"), start="trained"),
    Cause("verdict", "judge.json torn, met by promote", ("promote", MODEL), torn(artifact("judge.json")), 6,
          ("{root}/artifacts/mail/judge/judge.json", "is not valid JSON"), start="trained"),
    Cause("verdict", "judge.json edited", ("promote", MODEL),
          edited(artifact("judge.json"), lambda d: d.update(verdict="reject")), 2,
          ("there is no judged challenger that is up to date", "finetide run mail"), start="trained"),
    Cause("verdict", "metrics.json torn, met by the report", ("report", MODEL), torn(artifact("metrics.json")), 6,
          ("{root}/artifacts/mail/evaluate/metrics.json", "is not valid JSON"), start="trained"),
]  # fmt: skip
STAGES = ("artifacts", "dvc.lock")
APPROVALS = [
    Cause("approval", "an approval torn", RUN, text(f"approvals/{MODEL}/{'a' * 16}-approved.json", '{"model": "ma'), 6,
          ("approvals/mail/aaaaaaaaaaaaaaaa-approved.json", "is not valid JSON"), start="trained", harmless=STAGES),
    Cause("approval", "a decision that is none", RUN, _approval(decision="maybe"), 6,
          ("approvals/mail/aaaaaaaaaaaaaaaa-approved.json", "decision: Input should be 'approved' or 'rejected'"),
          start="trained", harmless=STAGES),
    Cause("approval", "under the name of another verdict", RUN, _approval(verdict_hash="b" * 64), 6,
          ("approvals/mail/aaaaaaaaaaaaaaaa-approved.json", "holds a decision of mail about verdict bbbbbbbbbbbbbbbb"),
          start="trained", harmless=STAGES),
    Cause("approval", "of another model", RUN, _approval(model="letters"), 6,
          ("approvals/mail/aaaaaaaaaaaaaaaa-approved.json", "holds a decision of letters"),
          start="trained", harmless=STAGES),
]  # fmt: skip
SUITES = [
    Cause("suite", "suite.json torn", RUN, torn(SUITE), 2,
          ("{root}/data/mail/suite.json", "is not valid JSON", "git checkout data/mail/suite.json"),
          start="trained", harmless=STAGES),
    Cause("suite", "an expectation that nobody knows", RUN,
          edited(SUITE, lambda d: d["expectations"][0].update(type="expect_table_row_cuont_to_be_between")), 2,
          ("{root}/data/mail/suite.json: expectations[0]", "knows no such expectation", "expect_table_row_cuont",
           "did you mean 'expect_table_row_count_to_be_between'?"), start="trained", harmless=STAGES),
    Cause("suite", "an expectation without severity", RUN,
          edited(SUITE, lambda d: d["expectations"][2].pop("severity")), 2,
          ("{root}/data/mail/suite.json: expectations[2]", "needs a severity: critical, warning or info"),
          start="trained", harmless=STAGES),
    Cause("suite", "an expectation with a setting that it refuses", RUN,
          edited(SUITE, lambda d: d["expectations"][0].update(kwargs={"min_valeu": 1})), 2,
          ("{root}/data/mail/suite.json: expectations[0]", "min_valeu"), start="trained", harmless=STAGES),
]  # fmt: skip
CAUSES = [*WINDOWS, *LEDGER, *ALIASES, *GRAPH, *VERDICTS, *APPROVALS, *SUITES]

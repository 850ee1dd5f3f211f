"""The stage's own part: what is compared with what, the champion's share in it, and equal bytes for equal input."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from finetide import runtime
from finetide.config.stage import Stage
from finetide.contracts.shift import ShiftVerdict
from finetide.contracts.window import ChampionPin, Window
from finetide.errors import ProjectError
from finetide.stages import shift
from support.messages import LABELS
from support.studies import MODEL, Project, table

NAMES = ("shift.json", "recipe.json", "shift.png", "shift.html")
PIN = ChampionPin(version="v1", hash="c" * 64)


class Scripted:
    """A predictor that answers by a hash of the text."""

    inputs = SimpleNamespace(values=lambda rows: list(rows["text"]))
    labels = tuple(sorted(LABELS))
    info = SimpleNamespace(temperature=1.0)
    hash = PIN.hash

    def __init__(self, _: Path) -> None:
        pass

    def logits(self, texts: list[str]) -> np.ndarray[Any, Any]:
        digest = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") for text in texts]
        return np.stack([np.random.default_rng(seed).normal(size=len(self.labels)) for seed in digest])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr(runtime, "load", Scripted, raising=False)
    made = Project(tmp_path)
    made.params(shift={"permutations": 119, "max_rows": 60, "min_rows": 20})
    return made


def run(project: Project) -> tuple[ShiftVerdict, dict[str, bytes]]:
    stage = Stage.open(project.root, "shift", MODEL)
    shift.run(stage)
    return ShiftVerdict.read(stage.out("shift.json")), {name: stage.out(name).read_bytes() for name in NAMES}


def in_service(project: Project) -> None:
    (project.root / "serving" / MODEL / PIN.hash / "bundle").mkdir(parents=True)
    Window(model=MODEL, start="base", champion=PIN, files=()).write(project.dep("window.json"))


def test_two_runs_write_the_same_bytes(project: Project) -> None:
    verdict, first = run(project)
    assert (verdict.compared_reference, verdict.compared_incoming) == (60, 60)
    assert verdict.alpha == 0.5 / 52
    assert "champion's outputs" not in {one.name for one in verdict.statistics}
    assert {"domain classifier", "embeddings", "unseen inputs", "words", "label frequencies"} <= {
        one.name for one in verdict.statistics
    }
    assert verdict.moved[0].file == "airline.csv"
    # Figures of words are those of all rows, whatever is sampled.
    sides = table()["role"].value_counts()
    by_name = {one.name: one for one in verdict.statistics}
    assert (by_name["words"].incoming_rows, by_name["words"].reference_rows) == (sides["incoming"], sides["reference"])
    assert (by_name["domain classifier"].incoming_rows, by_name["domain classifier"].reference_rows) == (60, 60)
    assert b"features of a sample only (shift.max_rows): a domain AUC of" in first["shift.html"]
    assert run(project)[1] == first


def test_with_room_for_all_rows_nothing_is_sampled(project: Project) -> None:
    project.params(shift={"permutations": 119, "max_rows": 10_000, "min_rows": 20})
    verdict, found = run(project)
    assert (verdict.compared_incoming, verdict.compared_reference) == (verdict.incoming_rows, verdict.reference_rows)
    assert b"features of a sample only" not in found["shift.html"]


def test_the_champion_is_compared_on_rows_that_it_was_not_trained_on(project: Project) -> None:
    in_service(project)
    verdict, first = run(project)
    rows = table()
    held = int(((rows["role"] == "reference") & (rows["split"] != "train")).sum())
    by_name = {one.name: one for one in verdict.statistics}
    for name in ("champion's outputs", "champion's accuracy"):
        assert (by_name[name].incoming_rows, by_name[name].reference_rows) == (60, min(60, held))
    assert run(project)[1] == first


def test_a_champion_that_is_not_there_is_said(project: Project) -> None:
    Window(model=MODEL, start="base", champion=PIN, files=()).write(project.dep("window.json"))
    with pytest.raises(ProjectError, match=r"the champion's bundle \(v1\) is missing"):
        run(project)


def test_without_incoming_rows_nothing_is_loaded(project: Project) -> None:
    project.rows(table(both=False))
    Window(model=MODEL, start="base", champion=PIN, files=()).write(project.dep("window.json"))
    verdict, found = run(project)
    assert (verdict.verdict, verdict.statistics) == ("none", ())
    assert b"Nothing has arrived" in found["shift.html"]


def test_held_out_reference_rows_come_first_where_there_is_a_champion() -> None:
    rows = pd.DataFrame(
        {
            "row_id": [f"a:{i}" for i in range(40)],
            "role": ["reference"] * 30 + ["incoming"] * 10,
            "split": (["train", "train", "test"] * 14)[:40],
        }
    )
    chosen = rows.iloc[shift.sample_rows(rows, 10, 3, held_first=True)]
    assert set(chosen.loc[chosen["role"] == "reference", "split"]) == {"test"}
    assert (chosen["role"] == "incoming").sum() == 10
    plain = rows.iloc[shift.sample_rows(rows, 10, 3, held_first=False)]
    assert set(plain.loc[plain["role"] == "reference", "split"]) == {"train", "test"}

"""What stands above the form of a run that waits: the reasons first, in lines that a narrow form does not cut."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import pytest

from finetide.lifecycle import outputs
from finetide.pipeline import journal
from support.artifacts import Artifacts
from support.registry import MODEL, make_project

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def made(tmp_path: Path) -> Artifacts:
    root = make_project(tmp_path / "project")
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(PROJECT / name, root / name)
    found = Artifacts(root, MODEL)
    for part in (found.ingest, found.quality, found.split):
        part()
    journal.append(root, MODEL, stage="train", state="ran", seconds=41.0)
    journal.append(root, MODEL, stage="ingest", state="ran", seconds=3.0)
    return found


def test_a_shut_gate_gives_its_own_reasons_the_plot_and_what_a_yes_costs(made: Artifacts) -> None:
    from finetide_flows.artifacts import question

    made.shift("halt")
    plot = outputs.path_of(made.root, MODEL, "shift", "shift.png")
    shown = question(made.root, MODEL, "a long error of a stage")
    head, reasons, answers, picture, verdicts, last = shown.split("\n\n")
    assert head == f"**{MODEL}: halted**, nothing was trained."
    assert reasons.startswith("- shift: Incoming rows can be told from reference rows")
    assert "error of a stage" not in shown
    assert answers == (
        "**approve** lets exactly these verdicts pass: the model is trained, and judged as always; last time that cost "
        "41 s (train 41 s). **reject** keeps these rows out."
    )
    encoded = picture.partition("data:image/png;base64,")[2].removesuffix(")")
    assert base64.b64decode(encoded) == plot.read_bytes()
    assert [line.partition(":")[0] for line in verdicts.splitlines()] == ["- validate", "- split", "- shift"]
    assert "\n- shift: **halt**, Incoming rows" in verdicts
    assert "leakage: pass" in verdicts.splitlines()[1]  # whole, where no verdict stands before a colon
    assert last == f'The same from a terminal: `finetide approve {MODEL} --why "…"`, or `finetide reject`.'
    assert "|" not in shown


def test_without_verdicts_the_runs_own_reason_is_given(made: Artifacts) -> None:
    from finetide_flows.artifacts import question

    shown = question(made.root, MODEL, "gate@tickets:\n  no shift verdict")
    assert "\n\ngate@tickets: no shift verdict\n\n" in shown
    assert "data:image" not in shown

from __future__ import annotations

from pathlib import Path

import pytest

from finetide.engine.progress import Curve, Progress
from finetide.engine.specs import CurveRow

FIRST = CurveRow(0, 0.0, 0, None, 0.5, 0.75, 0.0)
SECOND = CurveRow(10, 0.5, 1, 0.123456789123, 0.4, 0.8, 2e-4)


def test_the_curve_is_on_disk_after_every_row(tmp_path: Path) -> None:
    curve = Curve(tmp_path / "curve.csv")
    curve.add(FIRST)
    assert len(curve.path.read_text().splitlines()) == 2
    curve.add(SECOND)
    header, first, second = curve.path.read_text().splitlines()
    assert header == "step,epoch,phase,train_loss,validation_loss,validation_accuracy,learning_rate"
    assert first == "0,0,0,,0.5,0.75,0"
    assert second == "10,0.5,1,0.12345679,0.4,0.8,0.0002"


def test_a_resumed_curve_forgets_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    curve = Curve(tmp_path / "curve.csv")
    curve.add(FIRST)
    curve.add(SECOND)
    again = Curve(tmp_path / "curve.csv")
    again.restore([FIRST])
    assert len(curve.path.read_text().splitlines()) == 2


def test_without_a_terminal_each_tenth_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(40, "phase 2 tune") as progress:
        for _ in range(40):
            progress.step(0.25)
            progress.say("validation 80.0%")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[-1] == "phase 2 tune: step 40/40, loss 0.250 validation 80.0%"

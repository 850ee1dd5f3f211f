from __future__ import annotations

from pathlib import Path

import pytest

from finetide.engine.progress import Curve, Progress
from finetide.engine.specs import CurveRow

FIRST = CurveRow(0, 0.0, 0, None, 0.5, 0.75, 0.0, 0.5, 0.75, 0.0, 0.1, None)
SECOND = CurveRow(10, 0.5, 1, 0.123456789123, 0.4, 0.8, 2e-4, 0.3, 0.9, 0.1, 0.05, 0.2)


def test_the_curve_is_on_disk_after_every_row(tmp_path: Path) -> None:
    curve = Curve(tmp_path / "curve.csv")
    curve.add(FIRST)
    assert len(curve.path.read_text().splitlines()) == 2
    curve.add(SECOND)
    header, first, second = curve.path.read_text().splitlines()
    assert header == (
        "step,epoch,phase,train_loss,validation_loss,validation_accuracy,learning_rate,"
        "sample_loss,sample_accuracy,gap,validation_ece,repeated_loss"
    )
    assert first == "0,0,0,,0.5,0.75,0,0.5,0.75,0,0.1,"
    assert second == "10,0.5,1,0.12345679,0.4,0.8,0.0002,0.3,0.9,0.1,0.05,0.2"


def test_a_resumed_curve_forgets_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    curve = Curve(tmp_path / "curve.csv")
    curve.add(FIRST)
    curve.add(SECOND)
    again = Curve(tmp_path / "curve.csv")
    again.restore([FIRST])
    assert len(curve.path.read_text().splitlines()) == 2


def test_without_a_terminal_each_tenth_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(40, "phase 2 of 2 tune", per_epoch=16) as progress:
        for _ in range(40):
            progress.step(0.25)
            progress.say("validation 80.0%")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[3] == "phase 2 of 2 tune: step 16/40, epoch 1.0 of 2.5, loss 0.250, validation 80.0%, 00:00 left"
    assert lines[-1] == "phase 2 of 2 tune: step 40/40, epoch 2.5 of 2.5, loss 0.250, validation 80.0%, 00:00 left"


def test_the_remaining_time_is_that_of_the_steps_since_a_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("finetide.engine.progress.time.monotonic", lambda: clock[0])
    progress = Progress(40, "phase 1 of 2 tune", 20, per_epoch=10)
    for _ in range(4):
        clock[0] += 30.0
        progress.step(0.5)
    assert (progress.epoch(), progress.remaining()) == ("epoch 2.4 of 4", "08:00")  # 16 steps of 30 seconds
    progress.bar.close()

"""Out of memory: smaller micro-batches, the same steps, one line; and an end when nothing fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from finetide.engine import tune
from finetide.engine.checkpoint import Checkpoints
from finetide.engine.inference import predict
from finetide.engine.loop import train
from finetide.engine.progress import Curve
from finetide.engine.specs import Data
from finetide.errors import MachineError
from support.killed import KilledError
from support.micro import micro_base
from unit.engine.test_loop import TASK, build, run, settings, spec, weights


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memory") / "b"
    micro_base(folder)
    return folder


class Small:
    """The task on a machine that holds so many padded tokens at once."""

    def __init__(self, tokens: int, *, training_only: bool = True) -> None:
        self.tokens, self.training_only = tokens, training_only

    def __getattr__(self, name: str) -> Any:
        return getattr(TASK, name)

    def outputs(self, module: Any, batch: Any) -> torch.Tensor:
        if batch["input_ids"].numel() > self.tokens and (module.training or not self.training_only):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return TASK.outputs(module, batch)


def small_run(base: Path, folder: Path, tokens: int) -> tuple[Any, Any]:
    built, data = build(base, dropout=0.0)
    for module in built.module.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    checkpoints = Checkpoints(folder / "ck" / "key")
    task: Any = Small(tokens)
    given = Data(data.train, data.validation)
    return train(
        task, built, given, [spec(epochs=1)], settings(batch_tokens=512), Curve(folder / "c.csv"), checkpoints
    ), built


def test_training_backs_off_with_the_same_steps_and_says_so(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, plain = small_run(base, tmp_path / "whole", 10_000)
    less, built = small_run(base, tmp_path / "less", 70)
    assert "out of memory at step 1: micro-batches of 256 tokens from here on" in capsys.readouterr().err
    assert any("micro-batches of 64 tokens from here on, not 128; the steps are the same" in line
               for line in less.phases[0].decisions)  # fmt: skip
    assert less.phases[0].steps == whole.phases[0].steps
    for name, value in plain.module.state_dict().items():
        assert torch.allclose(value, built.module.state_dict()[name], atol=2e-5), name


def test_a_resumed_run_keeps_to_the_smaller_ones(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, plain = small_run(base, tmp_path / "whole", 70)
    step = tune.Tuner._step

    def dies(self: Any, rows: Any, at: Any) -> float:
        if at.step == 4:
            raise KilledError
        return step(self, rows, at)

    monkeypatch.setattr(tune.Tuner, "_step", dies)
    with pytest.raises(KilledError):
        small_run(base, tmp_path / "killed", 70)
    monkeypatch.setattr(tune.Tuner, "_step", step)
    again, built = small_run(base, tmp_path / "killed", 70)
    assert weights(built) == weights(plain)
    assert again.phases == whole.phases


def test_when_not_even_a_row_fits_the_end_is_clear(base: Path, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="out of memory with one row at a time") as told:
        small_run(base, tmp_path, 3)
    assert "freeze more layers, or choose a smaller base" in str(told.value)
    assert told.value.exit_code == 7


def test_scoring_backs_off_to_the_same_numbers(base: Path) -> None:
    built, data = build(base)
    torch.nn.init.normal_(built.module.get_parameter("head.weight"))
    plain = predict(TASK, built, data.validation, batch_tokens=512)
    task: Any = Small(60, training_only=False)
    assert np.allclose(predict(task, built, data.validation, batch_tokens=512), plain, atol=1e-6)
    task = Small(3, training_only=False)
    with pytest.raises(MachineError, match="out of memory with one row"):
        predict(task, built, data.validation, batch_tokens=512)


def test_without_it_nothing_is_said(base: Path, tmp_path: Path) -> None:
    result, _, _ = run(base, tmp_path, [spec(epochs=1)])
    assert not any("memory" in line for line in result.phases[0].decisions)

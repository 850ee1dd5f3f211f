from __future__ import annotations

from pathlib import Path

import pytest
import torch

from finetide.engine import precision
from finetide.engine.precision import choose
from finetide.errors import ConfigError

CPU = torch.device("cpu")


def cpu_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str) -> None:
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: fpu {flags} sse\n")
    monkeypatch.setattr(precision, "CPU_INFO", tmp_path / "cpuinfo")


def test_a_cpu_that_computes_in_bf16_uses_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cpu_with(monkeypatch, tmp_path, "avx512_bf16")
    found = choose("auto", CPU)
    assert (found.name, found.reason) == ("bf16", "CPU has avx512_bf16")
    assert choose("fp32", CPU).name == "fp32"
    with found.autocast(CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_a_cpu_without_it_computes_in_fp32_and_refuses_bf16(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cpu_with(monkeypatch, tmp_path, "avx2 avx512f")
    found = choose("auto", CPU)
    assert (found.name, found.reason) == ("fp32", "CPU has neither avx512_bf16 nor amx_bf16")
    with found.autocast(CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    with pytest.raises(ConfigError, match=r"train.precision: bf16 is not computed by this machine \(found 'CPU has n"):
        choose("bf16", CPU)


def test_an_unknown_machine_gets_fp32(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(precision, "CPU_INFO", tmp_path / "none")
    assert choose("auto", CPU).reason == "CPU is unknown here"

"""In which number format to compute, and why. What a machine does slowly or not at all is not chosen."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from finetide.errors import ConfigError

CPU_INFO = Path("/proc/cpuinfo")
_CPU_FLAGS = ("avx512_bf16", "amx_bf16")


@dataclass(frozen=True)
class Precision:
    """``name`` is fp32 or bf16; ``reason`` is for a person."""

    name: str
    reason: str

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        if self.name == "fp32":
            return nullcontext()
        return torch.autocast(device.type, dtype=torch.bfloat16)


def choose(wanted: str, device: torch.device) -> Precision:
    """Args: wanted: auto, fp32 or bf16. Raises: ConfigError when bf16 is asked for and the machine has none."""
    able, why = _bf16(device)
    if wanted == "auto":
        return Precision("bf16" if able else "fp32", why)
    if wanted == "bf16" and not able:
        raise ConfigError("bf16 is not computed by this machine", where="train.precision", found=why, fix="use auto")
    return Precision(wanted, "as params.yaml says")


def choose_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _bf16(device: torch.device) -> tuple[bool, str]:
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
        return able, f"GPU {'has' if able else 'lacks'} bf16"
    try:
        flags = CPU_INFO.read_text(encoding="utf-8").split()
    except OSError:
        return False, "CPU is unknown here"
    have = [flag for flag in _CPU_FLAGS if flag in flags]
    return bool(have), f"CPU has {have[0]}" if have else f"CPU has neither {' nor '.join(_CPU_FLAGS)}"

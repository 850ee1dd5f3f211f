"""Energy that a GPU took, by NVIDIA's own counter (NVML), where there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

NOT = "not measured"


@dataclass
class Reading:
    """``joules`` is None where nothing was measured; ``said`` then tells why."""

    joules: float | None = None
    said: str = ""


@contextmanager
def measured(device: str) -> Iterator[Reading]:
    """Energy between entry and exit. Args: device: of torch, ``cuda`` or ``cpu``."""
    reading = Reading()
    counter = _counter(device, reading)
    before = counter() if counter else 0
    yield reading
    if counter:
        reading.joules = (counter() - before) / 1000
        reading.said = "by NVML, of the whole GPU, training and scoring: what others computed on it meanwhile is in it"


def _counter(device: str, reading: Reading) -> Any:
    """A function that tells millijoules since the driver was loaded; None where there is none."""
    if device != "cuda":
        reading.said = f"{NOT}: no GPU"
        return None
    try:
        nvml = import_module("pynvml")
    except ImportError:
        reading.said = f"{NOT}: pip install nvidia-ml-py"
        return None
    try:
        nvml.nvmlInit()
        handle = _handle(nvml, os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip())
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except nvml.NVMLError as error:
        reading.said = f"{NOT}: {error}"
        return None
    return lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle)


def _handle(nvml: Any, visible: str) -> Any:
    """Of the first GPU that this process sees."""
    if visible and not visible.isdigit():
        return nvml.nvmlDeviceGetHandleByUUID(visible)
    return nvml.nvmlDeviceGetHandleByIndex(int(visible or 0))

"""Energy is measured or said not to be; NVML itself is played by a module of its shape."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from finetide.studies.energy import measured


class Nvml(ModuleType):
    class NVMLError(Exception):
        pass

    def __init__(self, *, refuses: bool = False) -> None:
        super().__init__("pynvml")
        self.refuses, self.asked, self.counter = refuses, [], iter((0, 1_000, 6_500))

    def nvmlInit(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        self.asked.append(index)
        return index

    def nvmlDeviceGetHandleByUUID(self, name: str) -> str:  # noqa: N802
        self.asked.append(name)
        return name

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object) -> int:  # noqa: N802
        if self.refuses:
            raise self.NVMLError("Not Supported")
        return next(self.counter)


def test_joules_are_the_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    with measured("cuda") as reading:
        pass
    assert reading.joules == 5.5
    assert reading.said.startswith("by NVML, of the whole GPU")
    assert nvml.asked == [3]


def test_a_gpu_named_by_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-8f2e")
    with measured("cuda"):
        pass
    assert nvml.asked == ["GPU-8f2e"]


def test_a_gpu_without_a_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(refuses=True))
    with measured("cuda") as reading:
        pass
    assert (reading.joules, reading.said) == (None, "not measured: Not Supported")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with measured("cuda") as reading:
        pass
    assert (reading.joules, reading.said) == (None, "not measured: pip install nvidia-ml-py")


def test_without_a_gpu() -> None:
    with measured("cpu") as reading:
        pass
    assert (reading.joules, reading.said) == (None, "not measured: no GPU")

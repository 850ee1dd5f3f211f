"""For all tests: no traffic leaves this machine, in this process or in any that it starts.

`forks` is here, because it costs half a minute to start and several folders of tests share it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from support.forked import Forks

GUARD = Path(__file__).parent / "support" / "guard"
LOG = Path(tempfile.gettempdir()) / f"finetide-network-{os.getpid()}.log"


def pytest_configure() -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: the workers share the cores
    os.environ["FT_NETWORK_LOG"] = str(LOG)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{GUARD}{os.pathsep}{before}" if before else str(GUARD)
    # By its path: the interpreter may have a module of this name of its own.
    spec = spec_from_file_location("finetide_guard", GUARD / "sitecustomize.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)


@pytest.fixture(autouse=True)
def stays_on_this_machine() -> Iterator[None]:
    """Fails the test after which a note of the guard is found."""
    yield
    if LOG.exists():
        noted = LOG.read_text(encoding="utf-8")
        LOG.unlink()
        if "finetide-guard-test" not in noted:
            pytest.fail(f"traffic left this machine:\n{noted}")


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    with Forks("faults.points") as made:
        yield made

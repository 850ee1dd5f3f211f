from __future__ import annotations

import pytest

from finetide.pipeline.run import worth_saying

FREED = (
    "WARNING: Process '/usr/lib/dvc/__main__.py repro -s train@dig' with (Pid 12200), in RWLock-file "
    "'.dvc/tmp/rwlock' had been killed. Auto removed it from the lock file."
)


@pytest.mark.parametrize("line", [FREED, f"  {FREED}", "", "  ", "Updating lock file 'dvc.lock'", "Running stage 'a':"])
def test_housekeeping_of_dvc_is_not_said(line: str) -> None:
    assert not worth_saying(line)


@pytest.mark.parametrize(
    "line",
    [
        "phase 1 of 2: 3 epochs",
        "WARNING: the cache is not writable",
        "stage train was killed (signal 9), by hand or because memory ran out",
        "the test process had been killed. Auto removed it",
    ],
)
def test_what_a_stage_says_and_other_warnings_are(line: str) -> None:
    assert worth_saying(line)

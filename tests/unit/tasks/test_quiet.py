from __future__ import annotations

import logging as standard

import pytest
from transformers.utils import logging

from finetide.tasks.quiet import quiet


def test_only_errors_are_heard_and_all_is_as_before_afterwards(caplog: pytest.LogCaptureFixture) -> None:
    library = logging.get_logger("transformers")
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    library.addHandler(caplog.handler)
    try:
        logging.set_verbosity(standard.WARNING)
        with pytest.raises(ValueError, match="torn"):
            _load(library)
        assert logging.get_verbosity() == standard.WARNING
        assert logging.is_progress_bar_enabled() == bars
        assert [record.getMessage() for record in caplog.records] == ["the file is torn"]
    finally:
        library.removeHandler(caplog.handler)
        logging.set_verbosity(level)


def _load(library: standard.Logger) -> None:
    with quiet():
        assert not logging.is_progress_bar_enabled()
        library.warning("heads are left over")
        library.error("the file is torn")
        raise ValueError("torn")

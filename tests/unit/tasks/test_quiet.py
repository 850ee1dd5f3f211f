from __future__ import annotations

import logging as standard
from logging.handlers import BufferingHandler

import pytest
from transformers.utils import logging

from finetide.tasks.quiet import quiet


def test_only_errors_are_heard_and_all_is_as_before_afterwards() -> None:
    library, heard = logging.get_logger("transformers"), BufferingHandler(10)
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    library.addHandler(heard)
    try:
        logging.set_verbosity(standard.WARNING)
        with pytest.raises(ValueError, match="torn"):
            _load(library)
        assert logging.get_verbosity() == standard.WARNING
        assert logging.is_progress_bar_enabled() == bars
        assert [record.getMessage() for record in heard.buffer] == ["the file is torn"]
    finally:
        library.removeHandler(heard)
        logging.set_verbosity(level)


def _load(library: standard.Logger) -> None:
    with quiet():
        assert not logging.is_progress_bar_enabled()
        library.warning("heads are left over")
        library.error("the file is torn")
        raise ValueError("torn")

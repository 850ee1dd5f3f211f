from __future__ import annotations

import re

import pytest

from finetide.errors import InputError
from finetide.registry.clock import not_before, parse, utc_now


def test_now_is_utc_with_seconds() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", utc_now())


def test_times_without_zone_are_utc_and_others_are_converted() -> None:
    assert parse("2026-11-20") == parse("2026-11-20T00:00:00Z") == parse("2026-11-20T02:00:00+02:00")


def test_a_clock_that_was_set_back_does_not_disorder() -> None:
    assert not_before("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z") == "2026-01-02T00:00:00+00:00"
    assert not_before("2026-01-03T00:00:00Z", "2026-01-02T00:00:00Z") == "2026-01-03T00:00:00+00:00"
    assert not_before("2026-01-03", None) == "2026-01-03T00:00:00+00:00"


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(InputError, match=r"is not a time \(found 'yesterday'\)\n  fix: write it like 2026-11-20 or"):
        parse("yesterday")

from __future__ import annotations

import pytest

from finetide.contracts.ledger import Event, LedgerEntry
from finetide.contracts.window import ChampionPin, Window, WindowFile
from finetide.errors import InputError
from finetide.registry import history

A, B, C = "a" * 64, "b" * 64, "c" * 64


def window(*files: str, pin: str | None = None) -> Window:
    """Files as ``name:role``."""
    listed = [file.split(":") for file in files]
    return Window(
        model="tickets",
        start="base",
        champion=ChampionPin(version="v1", hash=pin) if pin else None,
        files=tuple(WindowFile(path=name, sha256=name, role=role) for name, role in listed),  # type: ignore[arg-type]
    )


def ledger(*events: tuple[Event, str | None, str | None, Window | None]) -> list[LedgerEntry]:
    """Event, version, bundle hash, window; one a day from the first of January."""
    return [
        LedgerEntry(
            sequence=number,
            model="tickets",
            event=event,
            time=f"2026-01-{number:02d}T12:00:00+00:00",
            who="x",
            reason="y",
            version=version,
            bundle_hash=digest,
            window=about,
            hashes={},
            previous=None,
        )
        for number, (event, version, digest, about) in enumerate(events, start=1)
    ]


TWO = ledger(("promoted", "v1", A, None), ("promoted", "v2", B, None))
BACK = ledger(
    ("promoted", "v1", A, None),
    ("promoted", "v2", B, None),
    ("rolled-back", "v1", A, None),
    ("withdrawn", "v2", B, None),
)


def version(entry: LedgerEntry | None) -> str | None:
    return entry.version if entry else None


def test_nothing_is_in_service_before_the_first_promotion() -> None:
    entries = ledger(("rejected", None, A, None))
    assert history.champion([]) is history.champion(entries) is history.previous_champion(entries) is None


def test_champion_follows_promotions_and_rollbacks() -> None:
    assert version(history.champion(TWO)) == "v2"
    assert history.champion(BACK) == BACK[0]
    assert history.withdrawn(TWO) == set()
    assert history.withdrawn(BACK) == {B}


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-01-01T11:59:59Z", None),
        ("2026-01-01T12:00:00Z", "v1"),
        ("2026-01-02", "v1"),
        ("2026-01-02T14:00:00+02:00", "v2"),
        ("2026-01-04", "v1"),
        ("2027-01-01", "v1"),
    ],
)
def test_what_was_in_service_at_a_time(time: str, expected: str | None) -> None:
    assert version(history.champion(history.until(BACK, time))) == expected


def test_until_wants_a_time() -> None:
    with pytest.raises(InputError, match="is not a time"):
        history.until(TWO, "noon")


def test_a_rollback_goes_to_the_newest_earlier_promotion_that_is_not_withdrawn() -> None:
    assert version(history.previous_champion(TWO)) == "v1"
    assert history.previous_champion(BACK) is None
    third = ledger(*((e.event, e.version, e.bundle_hash, None) for e in BACK), ("promoted", "v3", C, None))
    assert version(history.previous_champion(third)) == "v1"


def test_version_numbers() -> None:
    assert [history.version_number(text) for text in ("v1", "v12", "1", "v0", "v1.0", None)] == [1, 12, 0, 0, 0, 0]


def test_judged_is_the_newest_decision_about_exactly_this_window() -> None:
    mine, other = window("a:reference", "b:incoming"), window("a:reference", "b:excluded")
    entries = ledger(("rejected", None, A, mine), ("halted", None, None, mine), ("rejected", None, B, other))
    assert history.already_judged(entries, history.window_hash(mine)) == entries[0]
    assert history.already_judged(entries[1:2], history.window_hash(mine)) is None
    again = ledger(*((e.event, None, e.bundle_hash, e.window) for e in entries), ("not-needed", None, None, mine))
    assert history.already_judged(again, history.window_hash(mine)) == again[3]


def test_a_champion_knows_what_it_was_trained_on_and_what_was_harmless_beside_it() -> None:
    entries = ledger(
        ("promoted", "v1", A, window("a:reference", "b:incoming", "bad:excluded")),
        ("not-needed", None, None, window("a:reference", "b:reference", "c:incoming", pin=A)),
        ("promoted", "v2", B, window("a:reference", "b:reference", "c:reference", "d:incoming", pin=A)),
        ("not-needed", None, None, window("d:reference", "e:incoming", pin=B)),
        ("rejected", None, C, window("d:reference", "f:incoming", pin=A)),
    )
    assert history.known_files(entries, entries[0]) == {(name, name) for name in "abc"}
    assert history.known_files(entries, entries[2]) == {(name, name) for name in "abcde"}

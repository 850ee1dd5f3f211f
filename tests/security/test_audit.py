from __future__ import annotations

from security.audit import judge

FOUND = {"id": "PYSEC-2026-1", "fix_versions": ["2.0"], "aliases": [], "description": ""}


def test_a_vulnerability_is_named_with_its_fix() -> None:
    pins = [
        {"name": "a", "version": "1.0", "vulns": [FOUND]},
        {"name": "b", "version": "1.0", "vulns": []},
        {"name": "c", "skip_reason": "not found"},
    ]
    assert judge({"dependencies": pins}) == (["a 1.0: PYSEC-2026-1, fixed in 2.0"], 2, 3)


def test_nothing_known_is_said() -> None:
    assert judge({"dependencies": [{"name": "c", "skip_reason": "not found"}]}) == ([], 0, 1)

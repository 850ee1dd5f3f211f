"""GTO's own code reads what we write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from finetide.registry import ledger, service
from support.registry import MODEL, git, make_project, promote


def gto(root: Path, *arguments: str) -> str:
    script = "import sys; from gto.cli import app; app(sys.argv[1:])"
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def shown(root: Path, name: str = MODEL) -> dict[str, Any]:
    import json

    state: dict[str, Any] = json.loads(gto(root, "show", "--json"))
    return state[name]


def champion(root: Path, name: str = MODEL) -> str:
    return gto(root, "show", f"{name}#champion", "--version").strip()


def test_gto_follows_promotion_and_rollback(root: Path) -> None:
    promote(root, "one")
    promote(root, "two")
    assert champion(root) == "v2.0.0"
    assert shown(root)["version"] == "v2.0.0"
    service.rollback(root, MODEL, reason="complaints")
    assert champion(root) == "v1.0.0"
    assert shown(root)["version"] == "v1.0.0"
    history = gto(root, "history", "--json")
    for event in ("registration", "assignment", "deregistration"):
        assert event in history


def test_a_version_is_registered_on_its_own_run_commit(root: Path) -> None:
    first, second = promote(root, "one"), promote(root, "two")
    assert git(root, "rev-parse", "tickets@v1.0.0^{commit}") == ledger.run_commit(root, MODEL, first.sequence)
    assert git(root, "rev-parse", "tickets@v2.0.0^{commit}") == ledger.run_commit(root, MODEL, second.sequence)
    service.rollback(root, MODEL, reason="r")
    assert git(root, "rev-parse", "tickets#champion#4^{commit}") == git(root, "rev-parse", "tickets@v1.0.0^{commit}")
    assert git(root, "rev-parse", "tickets@v2.0.0!#3^{commit}") == git(root, "rev-parse", "tickets@v2.0.0^{commit}")


def test_tags_tell_which_entry_they_belong_to(root: Path) -> None:
    promote(root, "one")
    message = git(root, "for-each-ref", "--format=%(contents)", "refs/tags/tickets@v1.0.0")
    assert message.splitlines() == ["finetide/tickets/000001", "", "one is better"]


def test_a_version_number_that_gto_took_is_skipped(root: Path) -> None:
    git(root, "-c", "user.name=a", "-c", "user.email=a@b", "tag", "-a", "-m", "by hand", "tickets@v1.0.0")
    assert promote(root, "one").version == "v2"
    assert champion(root) == "v2.0.0"


def test_promotions_within_one_second_stay_in_order(root: Path) -> None:
    for number in range(1, 12):
        draft = ledger.Draft("promoted", "better", bundle_hash=f"{number:064d}")
        ledger.append(root, MODEL, lambda _, draft=draft: [draft], now=lambda: "2026-01-01")
        assert champion_tag(root) == f"tickets#champion#{number}"
    assert champion(root) == "v11.0.0"


def champion_tag(root: Path) -> str:
    listed = git(root, "for-each-ref", "--sort=creatordate", "--format=%(refname:strip=2)", "refs/tags/tickets#*")
    return listed.splitlines()[-1]


def test_two_projects_of_one_repository_are_two_artifacts(tmp_path: Path) -> None:
    top = make_project(tmp_path)
    inner = make_project(tmp_path / "examples" / "shop", repository=tmp_path)
    promote(top, "one")
    promote(inner, "one")
    promote(inner, "two")
    assert champion(top) == "v1.0.0"
    assert champion(top, "examples/shop:tickets") == "v2.0.0"

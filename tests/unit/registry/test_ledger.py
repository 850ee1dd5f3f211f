from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from finetide.contracts.ledger import LedgerEntry
from finetide.errors import InputError, IntegrityError, ToolError
from finetide.registry import ledger
from finetide.registry.ledger import Draft
from support.registry import MODEL, append_many, forge, git, make_project, state


def add(root: Path, reason: str = "r", *, event: str = "rejected", at: str = "2026-01-01") -> LedgerEntry:
    draft = Draft(event, reason)  # type: ignore[arg-type]
    return ledger.append(root, MODEL, lambda _: [draft], who="someone", now=lambda: at)[0]


def tag_object(root: Path, sequence: int) -> str:
    return git(root, "rev-parse", f"refs/tags/finetide/{MODEL}/{sequence:06d}")


def test_an_empty_ledger_has_no_entries(root: Path) -> None:
    assert ledger.read(root, MODEL) == []


def test_entries_are_chained_by_the_hash_of_the_tag_before(root: Path) -> None:
    first, second = add(root, "one"), add(root, "two")
    assert ledger.read(root, MODEL) == [first, second]
    assert (first.sequence, first.previous, first.who) == (1, None, "someone")
    assert (second.sequence, second.previous) == (2, tag_object(root, 1))


def test_the_message_is_canonical_json_that_any_tool_can_read(root: Path) -> None:
    entry = add(root, 'ünï "quoted"\nline')
    message = git(root, "for-each-ref", "--format=%(contents)", f"refs/tags/finetide/{MODEL}")
    assert json.loads(message) == entry.model_dump(mode="json")


def test_a_draft_that_carries_undecodable_text_is_written_all_the_same(root: Path) -> None:
    assert add(root, "a\udcffb\0").reason == "a?b"
    assert ledger.read(root, MODEL)[0].reason == "a?b"


def test_no_drafts_write_nothing(root: Path) -> None:
    assert ledger.append(root, MODEL, lambda _: []) == []
    assert git(root, "tag") == ""


def test_several_drafts_are_written_together(root: Path) -> None:
    drafts = [Draft("rejected", "a"), Draft("halted", "b")]
    assert ledger.append(root, MODEL, lambda _: drafts) == ledger.read(root, MODEL)
    assert [entry.event for entry in ledger.read(root, MODEL)] == ["rejected", "halted"]


def test_time_never_runs_backwards(root: Path) -> None:
    add(root, at="2026-01-02")
    assert add(root, at="2026-01-01").time == "2026-01-02T00:00:00+00:00"


def test_the_users_checkout_stays_as_it_was(root: Path) -> None:
    (root / "staged.txt").write_text("staged")
    git(root, "add", "staged.txt")
    (root / "params.yaml").write_text("changed\n")
    before = state(root)
    add(root)
    assert state(root) == before
    assert git(root, "show", f"{ledger.run_commit(root, MODEL, 1)}:params.yaml") == "changed"
    assert git(root, "rev-parse", f"{ledger.run_commit(root, MODEL, 1)}^") == git(root, "rev-parse", "HEAD")


def test_works_with_a_detached_head(root: Path) -> None:
    git(root, "checkout", "-q", "--detach")
    before = state(root)
    add(root)
    assert state(root) == before
    assert len(ledger.read(root, MODEL)) == 1


def test_works_before_the_first_commit(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project", commit=False)
    before = state(root)
    add(root)
    assert state(root) == before
    assert git(root, "show", f"{ledger.run_commit(root, MODEL, 1)}:dvc.lock") == "dvc.lock: 1"
    assert git(root, "rev-list", "--count", ledger.run_commit(root, MODEL, 1)) == "1"


def test_a_subfolder_project_has_a_ledger_of_its_own(tmp_path: Path) -> None:
    top = make_project(tmp_path)
    inner = make_project(tmp_path / "examples" / "shop", repository=tmp_path)
    add(top, "top")
    before = state(inner)
    add(inner, "inner")
    assert state(inner) == before
    assert [entry.reason for entry in ledger.read(top, MODEL)] == ["top"]
    assert [entry.reason for entry in ledger.read(inner, MODEL)] == ["inner"]
    assert git(top, "tag").splitlines() == ["finetide/examples/shop=tickets/000001", "finetide/tickets/000001"]
    assert git(top, "show", f"{ledger.run_commit(inner, MODEL, 1)}:examples/shop/dvc.lock") == "dvc.lock: 1"


def test_worktrees_share_the_ledger(root: Path, tmp_path: Path) -> None:
    git(root, "worktree", "add", "-q", str(tmp_path / "other"))
    add(root, "here")
    before = state(tmp_path / "other")
    add(tmp_path / "other", "there")
    assert state(tmp_path / "other") == before
    assert [entry.reason for entry in ledger.read(root, MODEL)] == ["here", "there"]


def test_a_clone_has_the_ledger(root: Path, tmp_path: Path) -> None:
    entry = add(root)
    git(tmp_path, "clone", "-q", str(root), "clone")
    assert ledger.read(tmp_path / "clone", MODEL) == [entry]
    assert ledger.run_commit(tmp_path / "clone", MODEL, 1) == ledger.run_commit(root, MODEL, 1)


def test_an_unknown_entry_has_no_run_commit(root: Path) -> None:
    with pytest.raises(InputError, match=r"the ledger of tickets has no entry 3\n  fix: list them: finetide history"):
        ledger.run_commit(root, MODEL, 3)


def test_the_writer_that_is_slower_decides_again_on_the_new_state(root: Path) -> None:
    seen: list[int] = []

    def build(entries: list[LedgerEntry]) -> list[Draft]:
        seen.append(len(entries))
        if len(seen) == 1:
            add(root, "quicker")
        return [Draft("rejected", "slower")]

    assert ledger.append(root, MODEL, build)[0].sequence == 2
    assert seen == [0, 1]
    assert [entry.reason for entry in ledger.read(root, MODEL)] == ["quicker", "slower"]


def test_what_a_killed_writer_left_behind_is_swept_away(root: Path) -> None:
    add(root)
    left = root / ".git" / "refs" / "tags" / "finetide" / MODEL / "000002.lock"
    left.touch()
    assert add(root).sequence == 2
    assert not left.exists()


def test_a_lock_of_git_that_stays_is_reported_in_the_end(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(root)
    lock = root / ".git" / "refs" / "tags" / "finetide" / MODEL / "000002.lock"
    lock.mkdir()  # a folder: nothing that a writer of ours leaves
    monkeypatch.setattr(ledger, "PATIENCE_SECONDS", 0.3)
    with pytest.raises(ToolError, match=r"`git update-ref --stdin` failed: .*000002\.lock': File exists"):
        add(root)


def test_a_refusal_of_git_is_no_race(root: Path) -> None:
    hook = root / ".git" / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntest $1 != prepared\n")
    hook.chmod(0o755)
    with pytest.raises(ToolError, match=r"`git update-ref --stdin` failed: fatal: .*ref updates aborted by hook"):
        add(root)


def test_writers_at_the_same_time_do_not_fork_the_chain(root: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=append_many, args=(root, f"writer {index}", 10)) for index in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0, 0]
    entries = ledger.read(root, MODEL)
    assert [entry.sequence for entry in entries] == list(range(1, 41))
    assert {entry.reason for entry in entries} == {f"writer {w} {n}" for w in range(4) for n in range(10)}


def test_a_gap_is_found(root: Path) -> None:
    for _ in range(3):
        add(root)
    git(root, "tag", "-d", f"finetide/{MODEL}/000002")
    with pytest.raises(
        IntegrityError,
        match=r"tag finetide/tickets/000002: is missing from the ledger\n  fix: fetch the ledger from a good clone",
    ):
        ledger.read(root, MODEL)


def test_an_altered_entry_is_found_by_the_one_after_it(root: Path) -> None:
    add(root, "worse on refunds")
    add(root)
    forge(root, 1, "worse on refunds", "nothing to see here")
    with pytest.raises(IntegrityError, match="tag finetide/tickets/000002: does not follow the entry before it"):
        ledger.read(root, MODEL)


def test_a_wrong_previous_is_found(root: Path) -> None:
    for _ in range(2):
        add(root)
    forge(root, 2, tag_object(root, 1), "0" * 40)
    with pytest.raises(IntegrityError, match="tag finetide/tickets/000002: does not follow the entry before it"):
        ledger.read(root, MODEL)


def test_a_message_that_is_no_entry_is_found(root: Path) -> None:
    add(root)
    forge(root, 1, '"event": "rejected"', '"event": "applauded"')
    with pytest.raises(IntegrityError, match="tag finetide/tickets/000001: holds no ledger entry"):
        ledger.read(root, MODEL)


def test_a_message_in_other_bytes_is_found(root: Path) -> None:
    add(root)
    forge(root, 1, '"event": "rejected"', '"event":  "rejected"')
    with pytest.raises(IntegrityError, match="000001: was not written by finetide: its JSON is not canonical"):
        ledger.read(root, MODEL)


def test_an_entry_under_another_name_is_found(root: Path) -> None:
    add(root)
    git(root, "update-ref", f"refs/tags/finetide/{MODEL}/000002", tag_object(root, 1))
    with pytest.raises(IntegrityError, match=r"tag finetide/tickets/000002: holds the entry of another tag \(found"):
        ledger.read(root, MODEL)


def test_a_lightweight_tag_is_no_entry(root: Path) -> None:
    git(root, "tag", f"finetide/{MODEL}/000001")
    with pytest.raises(
        IntegrityError, match=r"tag finetide/tickets/000001: is not an annotated tag \(found 'commit'\)"
    ):
        ledger.read(root, MODEL)


def test_a_damaged_object_is_found(root: Path) -> None:
    add(root)
    add(root)
    sha = tag_object(root, 1)
    loose = root / ".git" / "objects" / sha[:2] / sha[2:]
    loose.chmod(0o644)
    loose.write_bytes(b"rubbish")
    with pytest.raises(IntegrityError, match="tag finetide/tickets/000001: cannot be read: its object is missing or d"):
        ledger.read(root, MODEL)


def test_foreign_tags_beside_the_ledger_are_left_alone(root: Path) -> None:
    git(root, "tag", f"finetide/{MODEL}/note")
    add(root)
    assert len(ledger.read(root, MODEL)) == 1


def test_a_sha256_repository_works_too(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    git(tmp_path / "project", "init", "-q", "--object-format=sha256")
    root = make_project(tmp_path / "project")
    add(root)
    (root / "dvc.lock").unlink()
    add(root)
    assert [len(entry.previous or "") for entry in ledger.read(root, MODEL)] == [0, 64]

from __future__ import annotations

from pathlib import Path

import pytest

from finetide.contracts.ledger import LedgerEntry
from finetide.errors import GateError, InputError, IntegrityError
from finetide.registry import alias, history, ledger, service, store, window
from support.registry import MODEL, drop, forge, git, make_bundle, promote, roles, state, verdict


def events(root: Path) -> list[tuple[str, str | None]]:
    return [(entry.event, entry.version) for entry in ledger.read(root, MODEL)]


def in_service(root: Path) -> str | None:
    read = alias.read_alias(root, MODEL)
    return read.version if read else None


def try_promote(
    root: Path,
    content: str,
    champion: str | None,
    *,
    trained: str | None = None,
    judged: bool = True,
    force: str | None = None,
) -> LedgerEntry:
    bundle, weights = make_bundle(root / "artifacts" / content, content, trained=trained)
    return service.promote(
        root,
        MODEL,
        verdict(store.bundle_hash(bundle), champion, promote=judged),
        bundle=bundle,
        weights=weights,
        window=window.read_window(root, MODEL),
        reason="r",
        hashes={},
        force_reason=force,
    )


def test_a_promotion_fills_store_ledger_and_alias_and_nothing_else(root: Path) -> None:
    before = state(root)
    entry = promote(root, "one")
    assert state(root) == before
    assert (entry.event, entry.version, entry.reason) == ("promoted", "v1", "one is better")
    assert entry.window == window.read_window(root, MODEL)
    weights = store.weights_hash(root / "artifacts" / "one" / "weights")
    assert entry.hashes == {"dvc.lock": "ab" * 32, "weights": weights}
    assert store.is_complete(root, MODEL, entry.bundle_hash or "")
    assert in_service(root) == "v1"


def test_promoting_what_is_in_service_changes_nothing(root: Path) -> None:
    first = promote(root, "one")
    assert promote(root, "one") == first
    assert events(root) == [("promoted", "v1")]


def test_a_bundle_that_comes_back_has_its_version_again(root: Path) -> None:
    one, _ = promote(root, "one"), promote(root, "two")
    again = promote(root, "one")
    assert (again.sequence, again.version, again.bundle_hash) == (3, "v1", one.bundle_hash)
    assert in_service(root) == "v1"
    assert promote(root, "three").version == "v3"


def test_what_the_judge_rejected_is_not_promoted(root: Path) -> None:
    with pytest.raises(GateError, match="the judge rejected it: worse on refunds"):
        try_promote(root, "one", None, judged=False)
    assert events(root) == []
    assert not store.model_folder(root, MODEL).exists()


def test_a_person_may_force_it_and_the_ledger_says_why(root: Path) -> None:
    entry = try_promote(root, "one", None, judged=False, force="the old one is broken")
    assert entry.reason == "r; forced: the old one is broken"
    with pytest.raises(InputError, match="a reason is needed"):
        try_promote(root, "two", None, judged=False, force=" ")


def test_what_was_judged_against_another_champion_is_not_promoted(root: Path) -> None:
    one = promote(root, "one")
    with pytest.raises(
        GateError, match=f"it was judged against no champion, but {(one.bundle_hash or '')[:12]}… is in service\n  fi"
    ):
        try_promote(root, "two", None)
    with pytest.raises(GateError, match="it was judged against ffff"):
        try_promote(root, "two", "f" * 64)


def test_another_bundle_than_the_judged_one_is_not_promoted(root: Path) -> None:
    bundle, weights = make_bundle(root / "artifacts", "one")
    with pytest.raises(IntegrityError, match=f"bundle: is not the bundle that was judged, {'e' * 64}"):
        service.promote(
            root,
            MODEL,
            verdict("e" * 64, None),
            bundle=bundle,
            weights=weights,
            window=window.read_window(root, MODEL),
            reason="r",
            hashes={},
        )


def test_a_withdrawn_bundle_never_comes_back_not_even_by_force(root: Path) -> None:
    one, _ = promote(root, "one"), promote(root, "two")
    service.rollback(root, MODEL, reason="complaints")
    for force in (None, "please"):
        with pytest.raises(GateError, match="this bundle was withdrawn by a rollback and is never promoted again"):
            try_promote(root, "two", one.bundle_hash, force=force)
    assert in_service(root) == "v1"


def test_withdrawn_weights_never_come_back_in_another_bundle(root: Path) -> None:
    one, two = promote(root, "one"), promote(root, "two")
    service.rollback(root, MODEL, reason="complaints")
    before = events(root)
    said = (
        "these training weights were withdrawn by a rollback and are never promoted again, in whatever bundle "
        rf"\(found '?{two.hashes['weights']}'?\)\n  fix: train another: add data, or change params.yaml"
    )
    for force in (None, "please"):
        with pytest.raises(GateError, match=said):
            try_promote(root, "two, another card", one.bundle_hash, trained="two", force=force)
    assert (events(root), in_service(root)) == (before, "v1")
    assert not (root / "serving" / MODEL / store.bundle_hash(root / "artifacts/two, another card/bundle")).exists()
    assert try_promote(root, "three", one.bundle_hash).version == "v3"


def test_a_rollback_does_not_go_to_a_version_with_withdrawn_weights(root: Path) -> None:
    promote(root, "one"), promote(root, "two"), promote(root, "two, another card", trained="two")
    service.rollback(root, MODEL, "v1", reason="complaints")
    with pytest.raises(GateError, match="v2 was withdrawn and cannot come back"):
        service.rollback(root, MODEL, "v2", reason="r")
    promote(root, "four")
    assert service.rollback(root, MODEL, reason="r").version == "v1"


def test_a_rollback_between_bundles_of_the_same_weights_leaves_the_weights_free(root: Path) -> None:
    one, _ = promote(root, "one"), promote(root, "one, torn card", trained="one")
    service.rollback(root, MODEL, reason="the card is wrong")
    assert history.withdrawn_weights(ledger.read(root, MODEL)) == set()
    assert try_promote(root, "one, mended card", one.bundle_hash, trained="one").version == "v3"


def test_a_promotion_needs_a_reason(root: Path) -> None:
    said = r"a reason is needed: the ledger says why \(found ' '\)\n  fix: say it in a few words after --why"
    with pytest.raises(InputError, match=said):
        service.record(root, MODEL, "halted", reason=" ", window=None)


def test_events_that_move_nothing_are_recorded(root: Path) -> None:
    about = window.read_window(root, MODEL)
    entry = service.record(
        root, MODEL, "rejected", reason="worse", window=about, bundle_hash="a" * 64, hashes={"judge": "b"}, who="x"
    )
    assert ledger.read(root, MODEL) == [entry]
    assert (entry.window, entry.bundle_hash, entry.hashes, entry.who) == (about, "a" * 64, {"judge": "b"}, "x")
    assert history.champion(ledger.read(root, MODEL)) is None


def test_an_acknowledgement_is_about_a_window(root: Path) -> None:
    with pytest.raises(InputError, match="not-needed needs the window whose incoming files it acknowledges"):
        service.record(root, MODEL, "not-needed", reason="harmless", window=None)


def test_a_rollback_moves_the_alias_and_withdraws_what_it_left(root: Path) -> None:
    one, two = promote(root, "one"), promote(root, "two")
    entry = service.rollback(root, MODEL, reason="complaints", who="x")
    assert (entry.version, entry.bundle_hash, entry.window) == ("v1", one.bundle_hash, one.window)
    assert events(root)[2:] == [("withdrawn", "v2"), ("rolled-back", "v1")]
    assert history.withdrawn(ledger.read(root, MODEL)) == {two.bundle_hash}
    read = alias.read_alias(root, MODEL)
    assert read is not None
    assert (read.version, read.entry, read.hash) == ("v1", 4, one.bundle_hash)


def test_a_rollback_goes_to_a_named_version(root: Path) -> None:
    for content in ("one", "two", "three"):
        promote(root, content)
    service.rollback(root, MODEL, "v1", reason="r")
    assert in_service(root) == "v1"
    service.rollback(root, MODEL, "v2", reason="r")
    assert in_service(root) == "v2"
    with pytest.raises(GateError, match="v3 was withdrawn and cannot come back\n  fix: choose another"):
        service.rollback(root, MODEL, "v3", reason="r")


def test_a_rollback_that_cannot_be_is_refused(root: Path) -> None:
    with pytest.raises(InputError, match="tickets: nothing is in service, so there is nothing to roll back"):
        service.rollback(root, MODEL, reason="r")
    promote(root, "one")
    with pytest.raises(InputError, match="there is no champion before v1 to go back to"):
        service.rollback(root, MODEL, reason="r")
    promote(root, "two")
    with pytest.raises(InputError, match=r"tickets: has no such version \(found 'v9'\)\n  fix: versions: v1, v2"):
        service.rollback(root, MODEL, "v9", reason="r")
    with pytest.raises(InputError, match="v2 is in service already"):
        service.rollback(root, MODEL, "v2", reason="r")


def test_a_rollback_to_damaged_bytes_moves_nothing(root: Path) -> None:
    one, _ = promote(root, "one"), promote(root, "two")
    (store.bundle_path(root, MODEL, one.bundle_hash or "") / "model.onnx").write_text("flipped")
    with pytest.raises(IntegrityError, match=r"model\.onnx: is not what the manifest promises"):
        service.rollback(root, MODEL, reason="r")
    assert len(events(root)) == 2
    assert in_service(root) == "v2"


def test_a_crash_between_ledger_and_alias_is_healed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    promote(root, "one")

    def crash(root: Path, written: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(service, "write_alias", crash)
        with pytest.raises(KeyboardInterrupt):
            promote(root, "two")
    assert in_service(root) == "v1"
    healed = service.reconcile(root, MODEL)
    assert healed is not None
    assert healed.version == in_service(root) == "v2"
    assert events(root) == [("promoted", "v1"), ("promoted", "v2")]


def test_a_crash_before_the_ledger_leaves_only_bytes_in_the_store(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "append", crash)
        with pytest.raises(KeyboardInterrupt):
            promote(root, "one")
    assert (events(root), in_service(root)) == ([], None)
    assert promote(root, "one").version == "v1"


def test_reconcile_without_promotion_has_nothing_to_do(root: Path) -> None:
    assert service.reconcile(root, MODEL) is None


def test_reconcile_does_not_rewrite_what_is_right(root: Path) -> None:
    promote(root, "one")
    before = alias.alias_path(root, MODEL).stat().st_ino
    service.reconcile(root, MODEL)
    assert alias.alias_path(root, MODEL).stat().st_ino == before


def test_reconcile_finds_a_ledger_that_was_cut_short(root: Path) -> None:
    promote(root, "one")
    promote(root, "two")
    git(root, "tag", "-d", "finetide/tickets/000002")
    with pytest.raises(IntegrityError, match=r"names entry 2 of a ledger that has 1\n  fix: tags are missing here"):
        service.reconcile(root, MODEL)
    assert in_service(root) == "v2"


def test_an_entry_that_was_altered_contradicts_the_alias_that_it_wrote(root: Path) -> None:
    promote(root, "one")
    promote(root, "two")
    forge(root, 2, '"promoted"', '"rejected"')
    said = r"entry 2 put v2 \(\w{12}…\) into service, and that entry of the ledger says rejected v2"
    with pytest.raises(IntegrityError, match=said):
        service.reconcile(root, MODEL)
    assert in_service(root) == "v2"
    alias.alias_path(root, MODEL).unlink()  # as the error says, if the ledger is right
    service.reconcile(root, MODEL)
    assert in_service(root) == "v1"


def test_an_alias_that_names_no_bundle_is_healed(root: Path) -> None:
    entry = promote(root, "one")
    path = alias.alias_path(root, MODEL)
    path.write_text(path.read_text().replace(str(entry.bundle_hash), "0" * 64))
    assert service.reconcile(root, MODEL) == alias.alias_of(entry)


def test_the_only_reference_file_cannot_be_excluded(root: Path) -> None:
    names = [file.path for file in window.read_window(root, MODEL).paths("reference")]
    for name in names[:-1]:
        service.exclude(root, MODEL, name, reason="poisoned")
    with pytest.raises(InputError, match=r"is the only reference file(.|\n)*fix: begin a project with `finetide init`"):
        service.exclude(root, MODEL, names[-1], reason="poisoned")


def test_reconcile_in_a_fresh_clone_says_that_the_store_is_empty(root: Path, tmp_path: Path) -> None:
    entry = promote(root, "one")
    git(tmp_path, "clone", "-q", str(root), "clone")
    with pytest.raises(IntegrityError, match="is not in the store of this checkout"):
        service.reconcile(tmp_path / "clone", MODEL)
    bundle, weights = make_bundle(tmp_path / "restored", "one")
    store.keep(tmp_path / "clone", MODEL, bundle, weights)
    assert service.reconcile(tmp_path / "clone", MODEL) == alias.alias_of(entry)


def test_an_excluded_file_leaves_the_window(root: Path) -> None:
    entry = service.exclude(root, MODEL, "may.csv", reason="poisoned")
    now = window.read_window(root, MODEL)
    assert roles(now) == {"base.csv": "reference", "may.csv": "excluded"}
    assert (entry.event, entry.window) == ("excluded", now)
    assert entry.hashes == {"may.csv": now.files[1].sha256}


def test_a_file_is_found_by_its_path_too(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    service.exclude(root, MODEL, f"data/{MODEL}/raw/may.csv", reason="poisoned")
    assert roles(window.read_window(root, MODEL))["may.csv"] == "excluded"


def test_a_file_can_be_kept_out_before_it_ever_was_in(root: Path) -> None:
    drop(root, "june.csv", "june")
    drop(root, "july.csv", "july")
    service.exclude(root, MODEL, "june.csv", reason="poisoned")
    assert list(roles(window.read_window(root, MODEL))) == ["base.csv", "may.csv", "june.csv"]
    assert window.advance(root, MODEL, None, "base")[1] == ["july.csv: new, incoming"]


def test_an_exclusion_that_crashed_before_the_window_is_completed_by_advance(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(root: Path, model: str) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(service, "window_path", crash)
        with pytest.raises(KeyboardInterrupt):
            service.exclude(root, MODEL, "may.csv", reason="poisoned")
    assert roles(window.read_window(root, MODEL))["may.csv"] == "incoming"
    expected = ["may.csv: incoming → excluded (excluded before: poisoned)"]
    assert window.advance(root, MODEL, None, "base")[1] == expected


def test_an_exclusion_that_cannot_be_is_refused(root: Path) -> None:
    with pytest.raises(InputError, match=r"raw/june\.csv: no such file\n  fix: known: base\.csv, may\.csv"):
        service.exclude(root, MODEL, "june.csv", reason="r")
    service.exclude(root, MODEL, "may.csv", reason="poisoned")
    with pytest.raises(InputError, match=r"may\.csv: is excluded already: poisoned"):
        service.exclude(root, MODEL, "may.csv", reason="r")

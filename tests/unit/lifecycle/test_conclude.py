"""What a rollback left is not promoted by the next run, in whatever bundle it comes."""

from __future__ import annotations

import pytest

from finetide.contracts.judge import JudgeVerdict
from finetide.errors import GateError
from finetide.lifecycle import conclude, outputs
from finetide.registry import ledger, service, store
from support.artifacts import Artifacts
from support.registry import MODEL, make_bundle, promote


def test_withdrawn_weights_are_refused_in_another_bundle(made: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    root = made.root
    one, _ = promote(root, "one"), promote(root, "two")
    service.rollback(root, MODEL, reason="complaints")
    bundle, weights = make_bundle(root / "artifacts" / "again", "two, another card", trained="two")
    places = {"bundle": bundle, "model": weights}
    for stage, name in (("export", "bundle"), ("train", "model")):
        target = outputs.path_of(root, MODEL, stage, name)
        for old in sorted(target.rglob("*"), reverse=True):
            old.rmdir() if old.is_dir() else old.unlink()
        target.rmdir()
        places[name].rename(target)
    path = outputs.path_of(root, MODEL, "judge", "judge.json")
    found = store.bundle_hash(outputs.path_of(root, MODEL, "export", "bundle"))
    said = {"challenger_hash": found, "champion_hash": one.bundle_hash, "verdict": "promote"}
    JudgeVerdict.read(path).model_copy(update=said).write(path)
    entries = ledger.read(root, MODEL)

    monkeypatch.setattr(conclude, "dirty", lambda *_: set())
    monkeypatch.setattr(conclude, "read", lambda _: {})
    monkeypatch.setattr(conclude, "training_needed", lambda *_: (True, "yes"))
    ended = conclude.conclude(root, MODEL)
    assert (ended.outcome, ended.exit_code, ended.new) == ("rejected", 0, False)
    assert ended.reason == "its training weights were withdrawn by a rollback and stay out, in whatever bundle"
    for force in (False, True):
        with pytest.raises(GateError, match="these training weights were withdrawn by a rollback"):
            conclude.promote_challenger(root, MODEL, force=force, why="please")
    assert ledger.read(root, MODEL) == entries

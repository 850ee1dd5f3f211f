"""What a rollback left is not promoted by the next run, in whatever bundle it comes."""

from __future__ import annotations

import pytest

from finetide.contracts.judge import JudgeVerdict
from finetide.contracts.window import ChampionPin
from finetide.errors import GateError
from finetide.lifecycle import conclude, outputs, run
from finetide.pipeline.run import StageRun
from finetide.registry import ledger, service, store
from finetide.registry.window import read_window, window_path
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


@pytest.mark.parametrize("shift_is_there", [True, False], ids=["of the rows before", "missing"])
def test_a_stage_killed_before_the_policy_is_told_as_what_it_is(
    made: Artifacts, monkeypatch: pytest.MonkeyPatch, shift_is_there: bool
) -> None:
    """Not as the verdict that is missing after it; nor is the verdict on other rows acted upon."""
    root = made.root
    promote(root, "one")
    made.shift("none")
    window = read_window(root, MODEL)
    window.model_copy(update={"champion": ChampionPin(version="v1", hash="0" * 64)}).write(window_path(root, MODEL))
    if not shift_is_there:
        outputs.path_of(root, MODEL, "shift", "shift.json").unlink()
    graph = {f"validate@{MODEL}": [], f"shift@{MODEL}": [f"validate@{MODEL}"], f"gate@{MODEL}": [f"shift@{MODEL}"]}
    monkeypatch.setattr(conclude, "dirty", lambda *_: set(graph))
    monkeypatch.setattr(conclude, "read", lambda _: graph)
    before = ledger.read(root, MODEL)
    assert conclude.conclude(root, MODEL).outcome == "stale"
    killed = StageRun(f"validate@{MODEL}", "failed", 1.0, 8, "`dvc repro -s validate@mail` was killed (signal 9)")
    monkeypatch.setattr(run, "run_graph", lambda *_, **__: [killed])
    ended = run._run_stages(root, MODEL, graph, set(graph), lambda _: None, [])
    assert (ended.outcome, ended.reason, ended.exit_code) == ("failed", killed.error, 8)
    assert ledger.read(root, MODEL) == before


def test_only_what_stands_before_the_gate_holds_the_policy_up() -> None:
    graph = {"validate@m": [], "gate@m": ["validate@m"], "train@m": ["gate@m"]}
    assert conclude._before_gate(graph, "m", set(graph)) == {"validate@m"}
    assert conclude._before_gate(graph, "m", {"gate@m", "train@m"}) == set()
    assert conclude._before_gate({}, "m", set()) == set()

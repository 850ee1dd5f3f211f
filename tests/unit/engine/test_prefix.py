"""The frozen prefix runs once: the same numbers, no forward pass of a frozen block later, and refused where unsound."""

from __future__ import annotations

import errno
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from finetide.engine import prefix, tune
from finetide.engine.checkpoint import Checkpoints
from finetide.engine.loop import train
from finetide.engine.precision import Precision
from finetide.engine.progress import Curve
from finetide.layers.freeze import frozen
from finetide.layers.policies import Named, resolve
from finetide.layers.structure import read
from support.killed import KilledError
from support.micro import FAMILIES, micro_base
from unit.engine.test_loop import TASK, build, run, spec, weights

LAST = Named("last", 1)
FP32 = Precision("fp32", "here")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prefix") / "b"
    micro_base(folder, layers=3)
    return folder


def prepare(base: Path, folder: Path, *, gib: float = 1.0) -> tuple[Any, Any, prefix.Prefix | str]:
    built, data = build(base)
    plan = resolve(LAST, built.module, where="here")
    cut = prefix.find(built.module, plan.frozen)
    assert cut is not None
    with frozen(built.module, plan.frozen) as held:
        found = prefix.prepare(
            TASK, built, cut, {"train": data.train}, held.proof, folder,
            batch_tokens=96, precision=FP32, device=torch.device("cpu"), budget_gib=gib,
        )  # fmt: skip
    return built, data, found


@pytest.mark.parametrize("family", FAMILIES)
def test_outputs_are_those_of_the_whole_model(family: str, tmp_path: Path) -> None:
    micro_base(tmp_path / "base", layers=2, family=family)
    built, data, found = prepare(tmp_path / "base", tmp_path / "kept")
    assert isinstance(found, prefix.Prefix), found
    built.module.eval()
    nn.init.normal_(built.module.get_parameter("head.weight"))
    index = [3, 77, 12, 40]
    batch = TASK.collate(built, data.train, index)
    with torch.no_grad():
        whole = TASK.outputs(built.module, batch)
        with found.around("train")(index):
            kept = TASK.outputs(built.module, batch)
        after = TASK.outputs(built.module, batch)
    assert torch.allclose(whole, kept, atol=1e-5)
    assert torch.equal(whole, after)


def test_frozen_blocks_run_in_the_first_pass_only(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[int] = Counter()
    rows = 0
    prepared = prefix.prepare

    def counting(task: Any, built: Any, cut: Any, *args: Any, **kwargs: Any) -> Any:
        for place, path in enumerate(read(built.module).paths):
            built.module.get_submodule(path).register_forward_hook(
                lambda _m, _i, _o, place=place: calls.update([place])
            )
        found = prepared(task, built, cut, *args, **kwargs)
        nonlocal rows
        rows = calls[0]
        return found

    monkeypatch.setattr(tune.prefix, "prepare", counting)
    kept = {"prefix_cache": tmp_path / "kept", "prefix_cache_gib": 1.0}
    result, _, _ = run(base, tmp_path, [spec(epochs=3, policy=LAST)], **kept)
    # A hook is called for the stand-in too, so that what runs is counted where it cannot be skipped: in its submodules.
    assert rows > 0
    assert calls[2] > rows
    assert any("2 frozen of 3 blocks ran once" in line for line in result.phases[0].decisions)


def test_no_part_of_a_frozen_block_runs_in_later_epochs(base: Path, tmp_path: Path) -> None:
    built, data, found = prepare(base, tmp_path / "kept")
    assert isinstance(found, prefix.Prefix)
    ran: list[str] = []
    for name, part in built.module.named_modules():
        if isinstance(part, nn.Linear):
            part.register_forward_hook(lambda _m, _i, _o, name=name: ran.append(name))
    for _epoch in range(2):
        for index in ([0, 1, 2], [3, 4]):
            with found.around("train")(index):
                TASK.outputs(built.module, TASK.collate(built, data.train, index))
    assert ran
    assert not [name for name in ran if "layer.0." in name or "layer.1." in name]


def test_with_and_without_it_the_losses_are_the_same(base: Path, tmp_path: Path) -> None:
    phases: list[Any] = [spec(epochs=3, policy=LAST)]
    kept = {"prefix_cache": tmp_path / "kept", "prefix_cache_gib": 1.0}
    _, _, curve = run(base, tmp_path / "with", phases, **kept)
    _, _, plain = run(base, tmp_path / "without", phases)
    assert [row.step for row in curve.rows] == [row.step for row in plain.rows]
    for one, other in zip(curve.rows, plain.rows, strict=True):
        assert one.validation_loss == pytest.approx(other.validation_loss, abs=2e-5)


def test_killed_and_resumed_it_ends_byte_equal(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    phases: list[Any] = [spec(epochs=3, policy=LAST)]
    kept = {"prefix_cache": tmp_path / "kept", "prefix_cache_gib": 1.0}
    _, whole, _ = run(base, tmp_path / "whole", phases, **kept)
    step = tune.Tuner._step

    def dies(self: Any, rows: Any, at: Any) -> float:
        if at.step == 8:
            raise KilledError
        return step(self, rows, at)

    monkeypatch.setattr(tune.Tuner, "_step", dies)
    with pytest.raises(KilledError):
        run(base, tmp_path / "killed", phases, **kept)
    monkeypatch.setattr(tune.Tuner, "_step", step)
    built, data = build(base)
    from unit.engine.test_loop import settings

    cleared = {**kept, "prefix_cache": tmp_path / "anew"}  # as on another machine: the activations are made again
    curve = Curve(tmp_path / "killed" / "curve.csv")
    train(TASK, built, data, phases, settings(**cleared), curve, Checkpoints(tmp_path / "killed" / "ck" / "key"))
    assert weights(built) == weights(whole)


def test_a_second_time_nothing_runs(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(base, tmp_path / "kept")
    monkeypatch.setattr(prefix, "_fill", lambda *_: pytest.fail("filled again"))
    _, _, found = prepare(base, tmp_path / "kept")
    assert isinstance(found, prefix.Prefix)


@pytest.mark.parametrize("file", ["train.bin", "meta.json"])
@pytest.mark.parametrize("how", ["cut", "flipped", "gone"])
def test_what_was_damaged_is_made_again(
    file: str, how: str, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(base, tmp_path / "kept")
    path = next((tmp_path / "kept").rglob(file))
    written = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(written[:-1] if how == "cut" else written[:-9] + bytes([written[-9] ^ 1]) + written[-8:])
    capsys.readouterr()
    _, _, found = prepare(base, tmp_path / "kept")
    assert isinstance(found, prefix.Prefix)
    assert path.read_bytes() == written
    told = capsys.readouterr().err
    assert told == f"{path.parent} is not used: {file} is not what was written; the prefix runs again\n"


def test_a_folder_that_cannot_be_made_costs_time_and_nothing_else(base: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file")
    _, _, found = prepare(base, tmp_path / "kept")
    assert found == f"no frozen prefix is kept: {tmp_path / 'kept'}: File exists"
    full = {"prefix_cache": tmp_path / "kept", "prefix_cache_gib": 1.0}
    result, built, _ = run(base, tmp_path / "a", [spec(policy=LAST)], **full)
    assert f"no frozen prefix is kept: {tmp_path / 'kept'}: File exists" in result.phases[0].decisions
    _, plain, _ = run(base, tmp_path / "b", [spec(policy=LAST)])
    assert weights(built) == weights(plain)


def test_a_full_disk_is_met_before_anything_is_written(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A map of a file without its place on the disk would end the process by a signal."""

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(prefix.os, "posix_fallocate", full, raising=False)
    _, _, found = prepare(base, tmp_path / "kept")
    assert found == f"no frozen prefix is kept: {tmp_path / 'kept'}: No space left on device"
    assert not list((tmp_path / "kept").iterdir())
    monkeypatch.delattr(prefix.os, "posix_fallocate")
    _, _, found = prepare(base, tmp_path / "kept")
    assert isinstance(found, prefix.Prefix)


def test_a_small_disk_gets_bf16_and_a_smaller_one_nothing(base: Path, tmp_path: Path) -> None:
    built, data, found = prepare(base, tmp_path / "kept")
    assert isinstance(found, prefix.Prefix)
    need = sum(path.stat().st_size for path in (tmp_path / "kept").rglob("*.bin")) / prefix.GIB
    assert need == pytest.approx(int(data.train.lengths.sum()) * 32 * 4 / prefix.GIB)
    _, _, half = prepare(base, tmp_path / "half", gib=need * 0.6)
    assert isinstance(half, prefix.Prefix)
    assert half.kept["train"].values.dtype == torch.bfloat16
    assert "rounded to bf16 for the disk" in half.decision
    index = [1, 2, 3]
    batch = TASK.collate(built, data.train, index)
    with half.around("train")(index):
        assert TASK.outputs(built.module, batch).dtype == torch.float32
    _, _, none = prepare(base, tmp_path / "none", gib=need * 0.4)
    assert isinstance(none, str)
    assert "train.prefix_cache_gib is" in none
    assert not list((tmp_path / "none").rglob("*.bin"))


def test_dropout_outside_of_the_blocks_is_noticed(base: Path, tmp_path: Path) -> None:
    built, data = build(base)
    plan = resolve(LAST, built.module, where="here")
    cut = prefix.find(built.module, plan.frozen)
    assert cut is not None
    drop = nn.Dropout(0.5)  # as GPT-2 has one between its embeddings and its blocks
    cut.skipped[0].register_forward_pre_hook(lambda _m, given: (drop(given[0]), *given[1:]))
    with frozen(built.module, plan.frozen) as held:
        found = prefix.prepare(
            TASK, built, cut, {"train": data.train}, held.proof, tmp_path,
            batch_tokens=96, precision=FP32, device=torch.device("cpu"), budget_gib=1.0,
        )  # fmt: skip
    assert isinstance(found, str)
    assert "something below its end is random while training" in found


def test_there_is_no_prefix_where_the_bottom_learns(base: Path) -> None:
    built, _ = build(base)
    for policy in (Named("full"), Named("bitfit"), Named("layerwise_decay", 0.5)):
        assert prefix.find(built.module, resolve(policy, built.module, where="here").frozen) is None
    head = prefix.find(built.module, resolve(Named("head"), built.module, where="here").frozen)
    assert head is not None
    assert len(head.skipped) == 3

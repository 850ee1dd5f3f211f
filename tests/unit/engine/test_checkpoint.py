from __future__ import annotations

from pathlib import Path

import pytest
import torch

from finetide.engine import checkpoint
from finetide.engine.checkpoint import Checkpoints
from finetide.files import SEAL


def test_a_torn_checkpoint_is_passed_over(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path / "a")
    store.save(1, {"x": torch.ones(2)}, {"n": 1})
    torn = tmp_path / "a" / f"{2:09d}"
    torn.mkdir()
    (torn / "tensors.safetensors").write_bytes(b"half")
    found = store.load()
    assert found is not None
    assert found[1] == {"n": 1}
    store.save(3, {"x": torch.zeros(2)}, {"n": 3})
    assert [path.name for path in sorted((tmp_path / "a").iterdir())] == [f"{3:09d}"]
    assert (tmp_path / "a" / f"{3:09d}" / SEAL).is_file()


@pytest.mark.parametrize("file", ["tensors.safetensors", "state.json", SEAL])
@pytest.mark.parametrize("how", ["cut", "flipped", "gone"])
def test_a_damaged_checkpoint_is_not_used_and_said_so(
    file: str, how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Checkpoints(tmp_path / "a")
    store.save(1, {"x": torch.ones(64)}, {"n": 1})
    path = tmp_path / "a" / f"{1:09d}" / file
    written = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        half = len(written) // 2
        flipped = written[:half] + bytes([written[half] ^ 1]) + written[half + 1 :]
        path.write_bytes(written[:half] if how == "cut" else flipped)
    assert store.load() is None
    told = capsys.readouterr().err
    if (file, how) == (SEAL, "gone"):  # as a kill leaves it: nothing to worry about
        assert told == ""
    else:
        assert told == f"the checkpoint {path.parent} is not used: {file} is not what was written\n"
    store.save(2, {"x": torch.zeros(2)}, {"n": 2})
    assert store.load() is not None


def test_checkpoints_of_other_trainings_are_cleared_but_one(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        Checkpoints(tmp_path / name).save(1, {"x": torch.ones(1)}, {})
    assert len(list(tmp_path.iterdir())) == 2
    assert (tmp_path / "c").is_dir()


def test_cleared_checkpoints_leave_the_rest_of_the_folder(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path / "a")
    store.save(1, {"x": torch.ones(1)}, {})
    (tmp_path / "a" / "finished").mkdir()
    store.clear()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["finished"]
    assert store.load() is None


def test_only_what_differs_from_the_start_is_kept() -> None:
    start = {"a": torch.zeros(2), "b": torch.ones(2)}
    kept = checkpoint.delta({"a": torch.zeros(2), "b": torch.full((2,), 3.0)}, start)
    assert list(kept) == ["b"]
    packed = checkpoint.pack("best", kept)
    assert {**start, **checkpoint.unpack("best", packed)}["b"].tolist() == [3.0, 3.0]


def test_the_optimizer_goes_on_as_if_never_stopped() -> None:
    def step(weight: torch.nn.Parameter, optimizer: torch.optim.Optimizer) -> None:
        weight.grad = weight.detach() + 1
        optimizer.step()

    def fresh() -> tuple[torch.nn.Parameter, torch.optim.Optimizer]:
        weight = torch.nn.Parameter(torch.arange(4.0))
        return weight, torch.optim.AdamW([weight], lr=0.1, fused=True)

    weight, optimizer = fresh()
    for _ in range(3):
        step(weight, optimizer)
    saved, value = checkpoint.optimizer_tensors(optimizer, ["w"]), weight.detach().clone()
    assert set(saved) == {"w|step", "w|exp_avg", "w|exp_avg_sq"}
    saved = {name: tensor.clone() for name, tensor in saved.items()}
    other, resumed = fresh()
    other.data.copy_(value)
    checkpoint.set_optimizer(resumed, ["w"], saved)
    for _ in range(3):
        step(weight, optimizer)
        step(other, resumed)
    assert torch.equal(weight, other)


def test_dropout_goes_on_as_if_never_stopped() -> None:
    state = checkpoint.random_state()
    first = torch.rand(3)
    checkpoint.set_random_state(state)
    assert torch.equal(torch.rand(3), first)

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from finetide import tasks
from finetide.engine import inference
from finetide.engine.inference import embed, predict
from finetide.task import Built, Examples, ModelSettings
from support.messages import LABELS, rows
from support.micro import HIDDEN, micro_base

TASK = tasks.load("text-classification")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Built, Examples]:
    folder = tmp_path_factory.mktemp("base")
    micro_base(folder)
    built = TASK.build(folder, ModelSettings(tuple(sorted(LABELS)), 32, "mean", 0.5), seed=1)
    torch.nn.init.normal_(built.module.get_parameter("head.weight"))
    table = rows(40, "shop", 1)
    texts = [" ".join([row["body"]] * (1 + index % 3)) for index, row in enumerate(table)]
    frame = pd.DataFrame({"row_id": [f"x:{index}" for index in range(40)], "text": texts, "label": None})
    return built, TASK.encode(built, frame)


def count(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one at each forward pass."""
    calls: list[int] = []
    original = TASK.features
    monkeypatch.setattr(TASK, "features", lambda *given: (calls.append(1), original(*given))[1])
    return calls


def test_results_come_back_in_the_order_of_the_rows(model: tuple[Built, Examples]) -> None:
    built, examples = model
    whole = predict(TASK, built, examples, batch_tokens=10_000)
    assert (whole.shape, whole.dtype) == ((40, 3), np.float32)
    assert predict(TASK, built, examples, batch_tokens=40) == pytest.approx(whole, abs=1e-4)
    for place in (0, 7, 39):
        batch = TASK.collate(built, examples, [place])
        assert TASK.outputs(built.module, batch)[0].tolist() == pytest.approx(whole[place].tolist(), abs=1e-4)


def test_dropout_is_off_and_the_mode_comes_back(model: tuple[Built, Examples]) -> None:
    built, examples = model
    built.module.train()
    once, again = (predict(TASK, built, examples, batch_tokens=64) for _ in range(2))
    assert built.module.training
    built.module.eval()
    assert once.tobytes() == again.tobytes()


def test_embeddings_are_computed_once_a_key(
    model: tuple[Built, Examples], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built, examples = model
    calls = count(monkeypatch)
    first = embed(TASK, built, examples, batch_tokens=64, cache=tmp_path)
    assert first.shape == (40, HIDDEN)
    done = len(calls)
    torch.nn.init.normal_(built.module.get_parameter("head.weight"))  # lies above the features
    assert embed(TASK, built, examples, batch_tokens=64, cache=tmp_path).tobytes() == first.tobytes()
    assert len(calls) == done
    assert embed(TASK, built, examples, batch_tokens=64, cache=None).tobytes() == first.tobytes()
    assert len(calls) == 2 * done


def test_other_weights_inputs_pooling_or_batches_have_other_keys(model: tuple[Built, Examples], tmp_path: Path) -> None:
    built, examples = model

    def keys(of: Built, rows: Examples, tokens: int) -> int:
        embed(TASK, of, rows, batch_tokens=tokens, cache=tmp_path)
        return len(list(tmp_path.glob("*.npy")))

    assert keys(built, examples, 64) == 1
    assert keys(built, examples, 65) == 2
    assert keys(replace(built, settings=replace(built.settings, pooling="cls")), examples, 64) == 3
    swapped = replace(examples, inputs=[examples.inputs[1], examples.inputs[0], *examples.inputs[2:]])
    assert keys(built, swapped, 64) == 4
    weight = next(iter(built.module.parameters()))
    with torch.no_grad():
        weight[5, 5] += 1
    assert keys(built, examples, 64) == 5


@pytest.mark.parametrize("how", ["cut", "flipped", "empty"])
def test_a_damaged_result_is_computed_again(
    how: str, model: tuple[Built, Examples], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built, examples = model
    first = embed(TASK, built, examples, batch_tokens=64, cache=tmp_path)
    path = next(tmp_path.glob("*.npy"))
    written = path.read_bytes()
    changed = written[:200] + bytes([written[200] ^ 1]) + written[201:]
    path.write_bytes({"cut": written[:-5], "flipped": changed, "empty": b""}[how])
    assert embed(TASK, built, examples, batch_tokens=64, cache=tmp_path).tobytes() == first.tobytes()
    assert path.read_bytes() == written
    assert f"{path} is not used: it is not as it was written; features are computed again" in capsys.readouterr().err


def test_what_cannot_be_kept_is_computed_each_time(
    model: tuple[Built, Examples], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built, examples = model
    (tmp_path / "cache").write_text("a file")
    first = embed(TASK, built, examples, batch_tokens=64, cache=tmp_path / "cache")
    assert first.tobytes() == embed(TASK, built, examples, batch_tokens=64, cache=None).tobytes()
    assert f"features are not kept in {tmp_path / 'cache'}: File exists" in capsys.readouterr().err


def test_the_least_used_results_leave_the_cache(
    model: tuple[Built, Examples], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built, examples = model
    monkeypatch.setattr(inference, "CACHED", 2)
    for age, tokens in enumerate((64, 65)):
        embed(TASK, built, examples, batch_tokens=tokens, cache=tmp_path)
        newest = max(tmp_path.glob("*.npy"), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (1000 + age, 1000 + age))
    embed(TASK, built, examples, batch_tokens=64, cache=tmp_path)  # used again, so 65 is now the oldest
    embed(TASK, built, examples, batch_tokens=66, cache=tmp_path)
    assert len(list(tmp_path.glob("*.npy"))) == 2
    calls = count(monkeypatch)
    embed(TASK, built, examples, batch_tokens=64, cache=tmp_path)
    assert not calls


def test_no_rows_give_no_results(model: tuple[Built, Examples]) -> None:
    built, _ = model
    none = TASK.encode(built, pd.DataFrame({"row_id": [], "text": [], "label": []}))
    assert len(predict(TASK, built, none, batch_tokens=64)) == 0

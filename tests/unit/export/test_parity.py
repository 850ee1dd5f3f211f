"""The export gate is fail-closed: every weight matters to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from finetide.errors import DataError, GateError
from finetide.export import onnx_file, parity, quantise
from finetide.runtime.graph import open_session, run_tokens
from finetide.stages.export import prove
from finetide.task import Built
from support.bundles import MAX_LENGTH, PARAMS, TASK, export, micro_model, table


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Built, Path]:
    folder = tmp_path_factory.mktemp("export")
    built = micro_model(folder / "base")
    return built, export(built, folder / "model.onnx")


def test_the_file_says_what_the_model_says_at_every_shape(made: tuple[Built, Path]) -> None:
    built, path = made
    found = prove(TASK, built, path, table(60), PARAMS, seed=1)
    assert found.passed
    assert found.max_abs_error < 1e-4
    assert found.agreement == 1.0
    assert found.accuracy_torch == found.accuracy_onnx
    assert {(check.batch, check.length) for check in found.shapes} >= {(1, 1), (1, MAX_LENGTH), (5, MAX_LENGTH)}


def perturbed(model: onnx.ModelProto, place: int) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    tensor = copy.graph.initializer[place]
    values = numpy_helper.to_array(tensor)
    moved: Any = values * 1.5 + 0.05 if values.dtype.kind == "f" else values
    tensor.CopyFrom(numpy_helper.from_array(moved.astype(values.dtype), tensor.name))
    return copy


def test_no_perturbed_weight_escapes_the_gate(made: tuple[Built, Path], tmp_path: Path) -> None:
    """Each floating-point tensor of the file in turn; those that no text can reach are listed, and there is none."""
    built, path = made
    model = onnx.load(path)
    floats = [
        place
        for place, tensor in enumerate(model.graph.initializer)
        if tensor.data_type == onnx.TensorProto.FLOAT and numpy_helper.to_array(tensor).size > 1
    ]
    assert len(floats) > 15  # equal tensors, such as zero biases, are stored once
    escaped = []
    for place in floats:
        target = tmp_path / "perturbed.onnx"
        onnx.save(perturbed(model, place), target)
        try:
            prove(TASK, built, target, table(12), PARAMS, seed=1)
        except GateError:
            continue
        escaped.append(model.graph.initializer[place].name)
    assert escaped == []


def test_the_message_names_figure_and_limit(made: tuple[Built, Path], tmp_path: Path) -> None:
    built, path = made
    model = onnx.load(path)
    place = next(place for place, tensor in enumerate(model.graph.initializer) if tensor.name == "head.weight")
    onnx.save(perturbed(model, place), tmp_path / "m.onnx")
    says = r"does not say what the model says: logits differ by up to .* \(limit 1e-04\)"
    with pytest.raises(GateError, match=says) as caught:
        prove(TASK, built, tmp_path / "m.onnx", table(12), PARAMS, seed=1)
    assert caught.value.exit_code == 3


def test_not_a_number_is_over_every_limit() -> None:
    rows = parity.Rows(np.zeros((2, 3)), np.full((2, 3), np.nan), [0, 0], [0, 0])
    with pytest.raises(GateError, match="logits differ by up to nan"):
        parity.enforce(rows, [], max_abs_error=1.0, min_agreement=0.0, where=Path("model.onnx"))


def test_too_few_same_labels_fail() -> None:
    left = np.array([[1.0, 1.00001], [1.0, 0.0]])
    rows = parity.Rows(left, left[:, ::-1].copy(), [1, 0], [0, 1])
    with pytest.raises(GateError, match=r"only 0\.00% of the test rows get the same label"):
        parity.enforce(rows, [], max_abs_error=10.0, min_agreement=0.999, where=Path("model.onnx"))


def test_another_interface_fails(made: tuple[Built, Path]) -> None:
    session, spec = open_session(made[1]), TASK.export(made[0])
    with pytest.raises(GateError, match="the exported file takes"):
        parity.check_interface(session, replace(spec, inputs=("input_ids",)), 3)
    with pytest.raises(GateError, match="the exported file takes"):
        parity.check_interface(session, replace(spec, types=("tensor(float)", "tensor(int64)")), 3)
    with pytest.raises(GateError, match="the exported file gives"):
        parity.check_interface(session, spec, 4)


def test_no_test_rows_is_an_error(made: tuple[Built, Path]) -> None:
    with pytest.raises(DataError, match="there are no test rows to compare torch and ONNX on"):
        prove(TASK, made[0], made[1], table(3).head(0), PARAMS, seed=1)


def test_equal_weights_give_equal_bytes_from_any_folder(made: tuple[Built, Path], tmp_path: Path) -> None:
    again = export(micro_model(tmp_path / "elsewhere"), tmp_path / "again.onnx")
    assert again.read_bytes() == made[1].read_bytes()
    text = again.read_bytes()
    assert b"/home" not in text
    assert b"site-packages" not in text
    assert b"class_hierarchy" not in text


def test_int8_is_smaller_runs_and_is_judged(made: tuple[Built, Path], tmp_path: Path) -> None:
    built, path = made
    quantise.quantise(path, tmp_path / "int8.onnx")
    examples = TASK.encode(built, table(30))
    logits = run_tokens(open_session(tmp_path / "int8.onnx"), examples.inputs, pad_token_id=0, labels=3)
    exact = run_tokens(open_session(path), examples.inputs, pad_token_id=0, labels=3)
    assert np.corrcoef(logits.ravel(), exact.ravel())[0, 1] > 0.9
    assert not np.array_equal(logits, exact)
    assert b"DynamicQuantizeLinear" in (tmp_path / "int8.onnx").read_bytes()


@pytest.mark.parametrize(
    ("rows", "int8", "kept", "reason"),
    [
        (100, 0.90, True, "right on 90.5% → 90.0% of 100 validation rows, within the allowed drop of 1.0%"),
        (100, 0.85, False, "right on 90.5% → 85.0% of 100 validation rows, beyond the allowed drop of 1.0%"),
        (0, 0.0, False, "no labelled validation rows"),
    ],
)
def test_int8_is_kept_only_within_its_drop(rows: int, int8: float, kept: bool, reason: str) -> None:
    found = quantise.judge_int8(
        rows=rows, agreement=0.99, accuracy_fp32=0.905, accuracy_int8=int8, sizes=(4, 1), max_drop=0.01
    )
    assert found.kept is kept
    assert reason in found.reason


def test_int8_that_saves_nothing_is_left_out() -> None:
    """As of a network of convolutions, none of which is quantised."""
    given = {"rows": 100, "agreement": 1.0, "accuracy_fp32": 1.0, "accuracy_int8": 1.0, "max_drop": 0.01}
    found = quantise.judge_int8(sizes=(1_249_426, 1_249_170), **given)  # type: ignore[arg-type]
    assert not found.kept
    assert found.reason.startswith("it would save 0% of the file: matrix products alone are quantised")
    assert quantise.judge_int8(sizes=(1000, 890), **given).kept  # type: ignore[arg-type]
    assert not quantise.judge_int8(sizes=(1000, 1200), **given).kept  # type: ignore[arg-type]


def test_a_label_that_training_never_saw_counts_as_unlabelled(made: tuple[Built, Path]) -> None:
    known = made[0].settings.labels[0]
    rows = table(3).assign(label=[known, None, "new"])
    assert TASK.scorable(made[0], rows)["label"].isna().tolist() == [False, True, True]


def test_initializers_are_listed(made: tuple[Built, Path]) -> None:
    assert "head.weight" in onnx_file.initializer_names(made[1])

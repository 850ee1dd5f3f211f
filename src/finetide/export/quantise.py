"""int8 weights, kept only where they cost next to nothing."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process

from finetide.contracts.bundle import Int8Parity
from finetide.export.onnx_file import save

# Share of the file's bytes that int8 has to save.
WORTH = 0.1


def quantise(source: Path, target: Path) -> None:
    """Dynamic quantisation of the matrix products' weights. The graph is preprocessed first: straight on a dynamo
    export the quantiser fails on inferred shapes."""
    noisy = logging.getLogger()
    level = noisy.level
    noisy.setLevel(logging.ERROR)  # it recommends the preprocessing that was just done
    try:
        with tempfile.TemporaryDirectory() as scratch:
            prepared, made = Path(scratch, "prepared.onnx"), Path(scratch, "int8.onnx")
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            quantize_dynamic(
                str(prepared), str(made), weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"]
            )
            save(onnx.load(made), target)
    finally:
        noisy.setLevel(level)


def judge_int8(
    *, rows: int, agreement: float, accuracy_fp32: float, accuracy_int8: float, sizes: tuple[int, int], max_drop: float
) -> Int8Parity:
    """Kept exactly if it is smaller by a tenth at least, as networks of convolutions are not, and accuracy on the
    validation rows fell by no more than ``max_drop``. Args: sizes: bytes of both."""
    drop = accuracy_fp32 - accuracy_int8
    saved = 1.0 - sizes[1] / sizes[0]
    kept = rows > 0 and saved >= WORTH and drop <= max_drop
    if saved < WORTH:
        reason = f"it would save {max(0.0, saved):.0%} of the file: matrix products alone are quantised, and it has few"
    elif rows == 0:
        reason = "no labelled validation rows to judge it on"
    else:
        word = "within" if kept else "beyond"
        reason = (
            f"right on {accuracy_fp32:.1%} → {accuracy_int8:.1%} of {rows:,} validation rows, {word} the allowed drop "
            f"of {max_drop:.1%}"
        )
    return Int8Parity(
        kept=kept,
        rows=rows,
        agreement=agreement,
        accuracy_fp32=accuracy_fp32,
        accuracy_int8=accuracy_int8,
        bytes_fp32=sizes[0],
        bytes_int8=sizes[1],
        reason=reason,
    )

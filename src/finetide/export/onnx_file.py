"""A torch module as one ONNX file whose bytes depend on its weights and nothing else."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch

from finetide.task import ExportSpec


def export(spec: ExportSpec, target: Path, *, opset: int) -> None:
    """Write ``target``: dynamic where ``spec`` says so, weights inside the file, nothing of this machine in it."""
    axes = {name: torch.export.Dim(name, min=low, max=high) for name, (low, high) in spec.sizes.items()}
    shapes = {name: {axis: axes[word] for axis, word in spec.dynamic[name].items()} for name in spec.inputs}
    noisy = logging.getLogger("torch.onnx")
    level = noisy.level
    noisy.setLevel(logging.ERROR)  # it warns that torchvision, which we do not use, is not there
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                spec.module.cpu().eval(),
                spec.sample,
                dynamo=True,
                opset_version=opset,
                input_names=list(spec.inputs),
                output_names=[spec.output],
                dynamic_shapes=shapes,
                external_data=False,
                optimize=True,
                verbose=False,
            )
    finally:
        noisy.setLevel(level)
    assert program is not None
    save(program.model_proto, target)


def save(model: onnx.ModelProto, target: Path) -> None:
    """Strip everything that tells of this machine and this run, then write; equal weights give equal bytes."""
    model.doc_string = ""
    del model.metadata_props[:]
    graphs = [model.graph]
    for graph in graphs:
        graph.doc_string = ""
        graph.name = "finetide"
        del graph.metadata_props[:]
        del graph.value_info[:]  # inferred shapes: onnxruntime infers its own, and the quantiser stumbles over these
        for node in graph.node:
            node.doc_string = ""
            del node.metadata_props[:]
        for value in [*graph.input, *graph.output, *graph.initializer]:
            value.doc_string = ""
            del value.metadata_props[:]
    onnx.checker.check_model(model)
    target.write_bytes(model.SerializeToString(deterministic=True))


def initializer_names(path: Path) -> Sequence[str]:
    return [tensor.name for tensor in onnx.load(path).graph.initializer]

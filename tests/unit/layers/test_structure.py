"""Blocks are found by structure: each family as a small random model, none of them by its name."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from finetide.layers.structure import block_range, read

SMALL: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64,
}  # fmt: skip
# Family → settings of its config class, tensors below the stack, tensors of each block, tensors above it.
FAMILIES: dict[str, tuple[dict[str, Any], int, list[int], int]] = {
    "Bert": ({"vocab_size": 50, **SMALL}, 5, [16] * 3, 2),
    "Roberta": ({"vocab_size": 50, **SMALL}, 5, [16] * 3, 2),
    "DistilBert": ({"vocab_size": 50, "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64}, 4, [16] * 3, 0),
    "DebertaV2": (
        {"vocab_size": 50, "relative_attention": True, "position_buckets": 4, "pos_att_type": ["p2c", "c2p"], **SMALL},
        5, [20] * 3, 0,
    ),
    "ModernBert": (
        {"vocab_size": 50, "pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1,
         "eos_token_id": 2, **SMALL},
        2, [5, 6, 6], 1,
    ),
    "ViT": ({"image_size": 16, "patch_size": 8, **SMALL}, 4, [16] * 3, 4),
    "ResNet": (
        {"embedding_size": 8, "hidden_sizes": [8, 16, 24], "depths": [1, 2, 3], "layer_type": "basic"},
        3, [6, 9, 6, 9, 6, 6], 0,
    ),
    "ConvNext": ({"hidden_sizes": [8, 16, 24], "depths": [1, 2, 3], "num_stages": 3}, 4, [9, 13, 9, 13, 9, 9], 2),
    "GPT2": ({"vocab_size": 50, "n_embd": 32, "n_layer": 3, "n_head": 4, "bos_token_id": 1, "eos_token_id": 1},
             2, [12] * 3, 2),
    "Swin": (
        {"image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": 4},
        4, [17, 17, 20, 17], 2,
    ),
}  # fmt: skip


def model(family: str) -> nn.Module:
    logging.getLogger("transformers").setLevel(logging.ERROR)
    settings = FAMILIES[family][0]
    torch.manual_seed(1)
    module = nn.Module()
    module.encoder = transformers.AutoModel.from_config(getattr(transformers, f"{family}Config")(**settings))
    module.head = nn.Linear(4, 2)
    return module


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_are_found_and_every_parameter_has_one_place(family: str) -> None:
    _, below, blocks, above = FAMILIES[family]
    module = model(family)
    found = read(module)
    assert (len(found.below), [len(block) for block in found.blocks], len(found.above)) == (below, blocks, above)
    assert found.head == ("head.weight", "head.bias")
    everything = [*found.below, *(name for block in found.blocks for name in block), *found.above, *found.head]
    assert sorted(everything) == sorted(name for name, _ in module.named_parameters())


def test_blocks_are_in_the_order_of_the_forward_pass() -> None:
    """Also where they lie in stages: a change in block k moves what blocks k and later give, and nothing before."""
    module = model("ResNet").eval()
    found = read(module)
    outputs: dict[int, torch.Tensor] = {}
    for index, block in enumerate(found.blocks):
        path = re.match(r".*layers\.\d", block[0])
        assert path is not None
        part = module.get_submodule(path[0])
        part.register_forward_hook(lambda _m, _i, output, index=index: outputs.__setitem__(index, output.detach()))
    image = torch.ones(1, 3, 32, 32)
    with torch.no_grad():
        module.encoder(image)  # type: ignore[operator]
        before = dict(outputs)
        for name in found.blocks[3]:
            module.get_parameter(name).add_(0.1)
        module.encoder(image)  # type: ignore[operator]
    assert [not torch.equal(before[index], outputs[index]) for index in range(6)] == [False] * 3 + [True] * 3


def test_a_model_whose_blocks_share_their_weights_has_none() -> None:
    module = nn.Module()
    config = transformers.AlbertConfig(vocab_size=50, embedding_size=16, **SMALL)
    module.encoder = transformers.AutoModel.from_config(config)
    module.head = nn.Linear(4, 2)
    assert read(module).blocks == ()


def test_ranges_of_blocks() -> None:
    assert [list(block_range(text, 6)) for text in ("0-3", "5", "-2--1", "-1")] == [[0, 1, 2, 3], [5], [4, 5], [5]]
    for text in ("6", "7-1", "-7", "2-9"):
        with pytest.raises(ValueError, match="names blocks that are not there: the model has 6 blocks, 0 to 5"):
            block_range(text, 6)
    for text in ("3-1", "-1-1", "-1--5"):
        with pytest.raises(ValueError, match=r"is the wrong way round; write 1-[35]"):
            block_range(text, 6)
    with pytest.raises(ValueError, match="is no range of blocks; write 0-3, 5, or -2--1"):
        block_range("top", 6)

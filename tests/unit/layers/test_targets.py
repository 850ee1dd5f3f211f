"""Which linear layers get adapters, in every family, and what is said where there are none."""

from __future__ import annotations

import pytest
import transformers
from torch import nn

from finetide.errors import ConfigError
from finetide.layers.policies import Adapting, resolve
from finetide.layers.rules import Adapter, Rule
from finetide.layers.structure import read
from finetide.layers.targets import choose, linear_weights
from unit.layers.test_structure import SMALL, model

WHERE = "params.yaml: train.phases[1].layers"
LORA = Adapter("lora", 4, 8.0, 0.0)
# Family → linear layers of attention in each block, all linear layers in each block.
COUNTS = {
    "Bert": (4, 6), "Roberta": (4, 6), "DistilBert": (4, 6), "DebertaV2": (6, 8), "ModernBert": (2, 4), "GPT2": (2, 4),
    "ViT": (4, 6),
}  # fmt: skip


def refused(targets: str | tuple[str, ...], module: nn.Module) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(Adapting(LORA, targets), module, where=WHERE)
    return str(caught.value)


@pytest.mark.parametrize("family", COUNTS)
def test_attention_and_all_linear_layers_of_the_blocks(family: str) -> None:
    module = model(family)
    structure = read(module)
    attention, linear = (choose(targets, module, structure, where=WHERE) for targets in ("attention", "linear"))
    assert (len(attention), len(linear)) == tuple(3 * count for count in COUNTS[family])
    assert set(attention) < set(linear) <= {name for block in structure.blocks for name in block}
    assert all(module.get_parameter(name).ndim == 2 for name in linear)


def test_the_head_and_what_is_outside_of_the_blocks_get_none() -> None:
    module = model("Bert")
    assert "encoder.pooler.dense.weight" in linear_weights(module)
    assert "head.weight" not in linear_weights(module)
    assert "encoder.pooler.dense.weight" not in choose("linear", module, read(module), where=WHERE)


def test_patterns_are_searched_in_the_names_of_layers() -> None:
    module = model("Bert")
    found = choose((r"layer\.[12]\..*(query|value)$", "pooler"), module, read(module), where=WHERE)
    assert [name.removeprefix("encoder.") for name in found] == [
        "encoder.layer.1.attention.self.query.weight", "encoder.layer.1.attention.self.value.weight",
        "encoder.layer.2.attention.self.query.weight", "encoder.layer.2.attention.self.value.weight",
        "pooler.dense.weight",
    ]  # fmt: skip


def test_a_plan_freezes_all_but_the_head() -> None:
    module = model("Bert")
    found = resolve(Adapting(LORA, "attention"), module, where=WHERE)
    assert found.trainable == ("head.weight", "head.bias")
    assert sorted([*found.frozen, *found.trainable]) == sorted(name for name, _ in module.named_parameters())
    ((weights, adapter, rate, decay),) = [(b.weights, b.adapter, b.multiplier, b.weight_decay) for b in found.adapters]
    assert (len(weights), adapter, rate, decay) == (12, LORA, 1.0, None)
    assert found.lines[1] == (
        "targets attention: 12 parameter tensors, frozen, with lora of rank 4, alpha 8 beside 12 of them, lr × 1"
    )


def test_a_rule_puts_adapters_beside_what_it_takes_and_freezes_the_rest_of_it() -> None:
    rules = (
        Rule(match="bias", lr=0.5),
        Rule(blocks="1-2", lr=2.0, weight_decay=0.1, adapter=LORA),
        Rule(match="head", lr=1.0),
        Rule(match=".*", lr="frozen"),
    )
    found = resolve(rules, model("Bert"), where=WHERE)
    (beside,) = found.adapters
    assert (len(beside.weights), beside.multiplier, beside.weight_decay) == (12, 2.0, 0.1)
    assert all(".layer.1." in name or ".layer.2." in name for name in beside.weights)
    assert "encoder.encoder.layer.1.output.LayerNorm.weight" in found.frozen
    assert "encoder.encoder.layer.1.output.dense.bias" in found.trainable
    assert found.lines[1] == (
        "blocks 1-2: 16 parameter tensors, frozen, with lora of rank 4, alpha 8 beside 12 of them, lr × 2,"
        " weight decay 0.1"
    )


def test_a_pattern_that_matches_no_layer_lists_near_names() -> None:
    said = refused(("query", "valu e"), model("Bert"))
    assert f"{WHERE}.lora.targets[1]: matches no linear layer below the head (found 'valu e')" in said
    assert "fix: near: value" in said
    assert "matches no linear layer" in refused(("LayerNorm",), model("Bert"))
    assert "matches no linear layer" in refused(("^head$",), model("Bert"))


def test_a_model_without_linear_layers() -> None:
    said = refused("linear", model("ResNet"))
    assert "there are no linear layers in the model's 6 blocks (found 'linear')" in said
    assert "linear layers: none" in said
    assert "there are no linear layers of attention in the model's" in refused("attention", model("ConvNext"))


def test_a_model_whose_blocks_share_their_weights_needs_patterns() -> None:
    module = nn.Module()
    config = transformers.AlbertConfig(vocab_size=50, embedding_size=16, **SMALL)
    module.encoder = transformers.AutoModel.from_config(config)
    module.head = nn.Linear(4, 2)
    said = refused("linear", module)
    assert "there are no linear layers in the model's 0 blocks" in said
    assert "write a list of patterns; linear layers: encoder." in said
    assert len(resolve(Adapting(LORA, ("query",)), module, where=WHERE).adapters[0].weights) == 1


def test_a_rank_above_the_matrix_is_refused() -> None:
    said = "layers.lora.rank: is above 32, the smaller side of encoder."
    with pytest.raises(ConfigError, match=said):
        resolve(Adapting(Adapter("lora", 33, 8.0, 0.0), "linear"), model("Bert"), where=WHERE)
    rules = (Rule(match="layer", lr=1.0, adapter=Adapter("dora", 33, 8.0, 0.0)), Rule(match=".*", lr=1.0))
    with pytest.raises(ConfigError, match=r"layers\[0\].dora.rank: is above 32"):
        resolve(rules, model("Bert"), where=WHERE)


def test_a_rule_that_takes_no_linear_layer_has_no_place_for_adapters() -> None:
    rules = (Rule(match="embeddings", lr=1.0, adapter=LORA), Rule(match=".*", lr=1.0))
    said = r"layers\[0\].lora: stands beside the weights of linear layers, and the rule takes none of them, only enc"
    with pytest.raises(ConfigError, match=said) as caught:
        resolve(rules, model("Bert"), where=WHERE)
    assert "such as encoder.encoder.layer.0.attention.self.query.weight" in str(caught.value)


def test_a_frozen_adapter_is_refused() -> None:
    rules = (Rule(match="layer", lr="frozen", adapter=LORA), Rule(match=".*", lr=1.0))
    with pytest.raises(ConfigError, match="an adapter that is frozen learns nothing"):
        resolve(rules, model("Bert"), where=WHERE)


def test_a_weight_that_two_layers_share_gets_none() -> None:
    module = nn.Module()
    module.one, module.two, module.three = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
    module.two.weight = module.one.weight
    assert list(linear_weights(module)) == ["three.weight"]

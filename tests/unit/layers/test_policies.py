from __future__ import annotations

import re

import pytest

from finetide.errors import ConfigError
from finetide.layers.policies import Named, resolve
from finetide.layers.rules import Rule
from unit.layers.test_structure import FAMILIES, model

WHERE = "params.yaml: train.phases[1].layers"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("policy", [Named("full"), Named("head"), Named("bitfit"), Named("last", 2)], ids=str)
def test_named_policies_fit_every_family(family: str, policy: Named) -> None:
    module = model(family)
    if policy.name == "bitfit" and family == "ModernBert":
        with pytest.raises(ConfigError, match="bitfit tunes biases, and this model has none"):
            resolve(policy, module, where=WHERE)
        return
    names = [name for name, _ in module.named_parameters()]
    found = resolve(policy, module, where=WHERE)
    assert sorted([*found.frozen, *found.trainable]) == sorted(names)
    trained = set(found.trainable)
    assert {"head.weight", "head.bias"} <= trained
    if policy.name == "full":
        assert not found.frozen
    elif policy.name == "head":
        assert trained == {"head.weight", "head.bias"}
    elif policy.name == "bitfit":
        assert all(re.search(r"bias$|^head\.", name) for name in trained)
        assert len(trained) > 2
    else:
        _, below, blocks, above = FAMILIES[family]
        assert len(trained) == 2 + above + sum(blocks[-2:])
        assert len(found.frozen) == below + sum(blocks[:-2])


def test_the_last_two_blocks_and_what_stands_above_them() -> None:
    found = resolve(Named("last", 2), model("ViT"), where=WHERE)
    blocks = {match[1] for name in found.trainable if (match := re.search(r"layers\.(\d)\.", name))}
    assert blocks == {"1", "2"}
    assert "encoder.layernorm.weight" in found.trainable
    assert found.lines[-2:] == (
        "blocks 1 to 2 of 3: 32 parameter tensors, lr × 1", "all else: 20 parameter tensors, frozen",
    )  # fmt: skip


def test_layerwise_decay_slows_each_block_down() -> None:
    found = resolve(Named("layerwise_decay", 0.5), model("Bert"), where=WHERE)
    rates = {name: group.multiplier for group in found.groups for name in group.names}
    assert not found.frozen
    assert rates["head.weight"] == 1.0
    assert rates["encoder.pooler.dense.weight"] == 1.0
    assert [rates[f"encoder.encoder.layer.{index}.output.dense.weight"] for index in range(3)] == [0.125, 0.25, 0.5]
    assert rates["encoder.embeddings.word_embeddings.weight"] == 0.0625


def test_a_decay_that_leaves_no_rate_is_refused_by_its_own_name() -> None:
    with pytest.raises(ConfigError) as told:
        resolve(Named("layerwise_decay", 1e-10), model("Bert"), where=WHERE)
    assert str(told.value) == (
        f"{WHERE}.layerwise_decay: leaves the lowest of 3 blocks a rate of nothing (found 1e-10)\n"
        "  fix: raise it, or write last: N"
    )


def test_more_blocks_than_there_are() -> None:
    said = r"layers.last: the model has 3 blocks \(found 4\)\n  fix: at most 3; or full"
    with pytest.raises(ConfigError, match=said):
        resolve(Named("last", 4), model("Bert"), where=WHERE)


def test_rules_over_blocks_with_their_own_decay() -> None:
    rules = (
        Rule(match="embeddings", lr="frozen"),
        Rule(blocks="0-1", lr="frozen"),
        Rule(blocks="-1", lr=0.5, weight_decay=0.1),
        Rule(match=".*", lr=1.0),
    )
    found = resolve(rules, model("Roberta"), where=WHERE)
    assert len(found.frozen) == 5 + 32
    decayed = {group.weight_decay for group in found.groups if group.multiplier == 0.5}
    assert decayed == {0.1}
    assert found.lines[2] == "blocks -1: 16 parameter tensors, lr × 0.5, weight decay 0.1"


def test_a_range_that_the_model_does_not_have() -> None:
    rules = (Rule(blocks="2-5", lr="frozen"), Rule(match=".*", lr=1.0))
    said = r"layers\[0\].blocks: names blocks that are not there: the model has 3"
    with pytest.raises(ConfigError, match=said) as caught:
        resolve(rules, model("Bert"), where=WHERE)
    assert "fix: blocks are counted from 0, below" in str(caught.value)

from __future__ import annotations

import pytest

from finetide.errors import ConfigError
from finetide.layers.rules import Rule, plan

NAMES = [
    "embeddings.word",
    "layer.0.weight",
    "layer.0.bias",
    "layer.0.LayerNorm.weight",
    "layer.1.weight",
    "head.weight",
    "head.bias",
]


def test_the_first_match_wins_and_every_parameter_is_covered() -> None:
    slow = Rule(match=r"^layer\.0", lr=0.5)
    found = plan(NAMES, [Rule(match="embeddings", lr="frozen"), slow, Rule(match=".*", lr=1.0)])
    assert found.frozen == ("embeddings.word",)
    assert {(group.names, group.multiplier, group.decay) for group in found.groups} == {
        (("layer.0.weight",), 0.5, True),
        (("layer.0.bias", "layer.0.LayerNorm.weight"), 0.5, False),
        (("layer.1.weight", "head.weight"), 1.0, True),
        (("head.bias",), 1.0, False),
    }
    assert sorted([*found.frozen, *found.trainable]) == sorted(NAMES)
    assert found.lines[0] == "'embeddings': 1 parameter tensors, frozen"


def test_a_pattern_that_matches_nothing_lists_near_names() -> None:
    with pytest.raises(ConfigError, match=r"matches no parameter \(found 'embedings'\)\n  fix: near: embeddings"):
        plan(NAMES, [Rule(match="embedings", lr="frozen"), Rule(match=".*", lr=1.0)])


def test_a_pattern_shadowed_by_earlier_rules_is_refused() -> None:
    with pytest.raises(ConfigError, match="all 2 parameters that it matches are taken by earlier rules"):
        plan(NAMES, [Rule(match=".*", lr=1.0), Rule(match="head", lr="frozen")])


def test_uncovered_parameters_are_named() -> None:
    with pytest.raises(ConfigError, match=r"no rule covers 5 parameters, first embeddings\.word"):
        plan(NAMES, [Rule(match="head", lr=1.0)])


def test_everything_frozen_is_refused() -> None:
    with pytest.raises(ConfigError, match="freezes every parameter"):
        plan(NAMES, [Rule(match=".*", lr="frozen")])


def test_a_multiplier_of_zero_is_not_frozen() -> None:
    with pytest.raises(ConfigError, match="lr 0 is not frozen: the optimizer would still decay it"):
        plan(NAMES, [Rule(match="head", lr=0.0), Rule(match=".*", lr=1.0)])


def test_a_broken_pattern_is_named() -> None:
    with pytest.raises(ConfigError, match="is no regular expression"):
        plan(NAMES, [Rule(match="(", lr=1.0)])

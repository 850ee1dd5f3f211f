from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finetide.config.load import check, read_yaml
from finetide.config.params import Params
from finetide.errors import ConfigError
from finetide.layers.policies import Named
from finetide.layers.rules import Rule
from finetide.stages.train import layer_policy

ROOT = Path(__file__).parents[3]


def params(layers: Any) -> Params:
    document = read_yaml(ROOT / "params.yaml")
    document["models"]["tickets"]["train"]["phases"][1]["layers"] = layers
    found = check(document, Params, file="params.yaml")
    assert found.model_dump(by_alias=True, mode="json") == document
    return found


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("full", Named("full")),
        ("head", Named("head")),
        ("bitfit", Named("bitfit")),
        ({"last": 2}, Named("last", 2)),
        ({"layerwise_decay": 0.9}, Named("layerwise_decay", 0.9)),
        (
            [{"blocks": "0-3", "lr": "frozen"}, {"match": ".*", "lr": 1.0, "weight_decay": 0.0}],
            (Rule(blocks="0-3", lr="frozen"), Rule(match=".*", lr=1.0, weight_decay=0.0)),
        ),
    ],
    ids=str,
)
def test_each_way_to_write_a_policy(written: Any, meant: Any) -> None:
    phase = params(written).models["tickets"].train.phases[1]
    assert phase.kind == "tune"
    assert layer_policy(phase.layers) == meant


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("ful", "must be full, head, bitfit, {last: N}, {layerwise_decay: FACTOR}, or a list of rules (found 'ful')"),
        ({"first": 2}, "must be full, head, bitfit, {last: N}"),
        ({"last": 0}, "phases[1].layers.last: must be greater than or equal to 1 (found 0)"),
        ({"layerwise_decay": 1.5}, "phases[1].layers.layerwise_decay: must be less than 1 (found 1.5)"),
        ([], "phases[1].layers: must not be empty"),
        ([{"lr": 1.0}], "phases[1].layers[0]: give exactly one of match and blocks"),
        ([{"match": "a", "blocks": "1", "lr": 1.0}], "phases[1].layers[0]: give exactly one of match and blocks"),
        ([{"blocks": "top", "lr": 1.0}], "layers[0].blocks: must be blocks by number, from 0 at the bottom, in quotes"),
    ],
    ids=str,
)
def test_what_is_no_policy(written: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        params(written)
    assert said in str(caught.value)

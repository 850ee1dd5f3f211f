from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finetide.config.load import check, read_yaml
from finetide.config.params import Params
from finetide.engine.specs import AverageSpec, ProbeSpec, SoupSpec, TuneSpec
from finetide.errors import ConfigError
from finetide.layers.policies import Adapting, Named
from finetide.layers.rules import Adapter, Rule
from finetide.stages.train import layer_policy, phase_specs

ROOT = Path(__file__).parents[3]
LORA = {"rank": 8, "alpha": 16.0, "dropout": 0.1}


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
        ({"gradual": 1.0}, Named("gradual", 1.0)),
        ({"progressive": 0.3}, Named("progressive", 0.3)),
        ({"auto": 300}, Named("auto", 300)),
        (
            [{"blocks": "0-3", "lr": "frozen"}, {"match": ".*", "lr": 1.0, "weight_decay": 0.0}],
            (Rule(blocks="0-3", lr="frozen"), Rule(match=".*", lr=1.0, weight_decay=0.0)),
        ),
        ({"lora": {**LORA, "targets": "linear"}}, Adapting(Adapter("lora", 8, 16.0, 0.1), "linear")),
        ({"rslora": {**LORA, "targets": "attention"}}, Adapting(Adapter("rslora", 8, 16.0, 0.1), "attention")),
        (
            {"dora": {**LORA, "targets": ["query", "value$"]}},
            Adapting(Adapter("dora", 8, 16.0, 0.1), ("query", "value$")),
        ),
        (
            [{"blocks": "-1", "lr": 2.0, "dora": LORA}, {"match": ".*", "lr": "frozen"}],
            (Rule(blocks="-1", lr=2.0, adapter=Adapter("dora", 8, 16.0, 0.1)), Rule(match=".*", lr="frozen")),
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
        ("ful", "must be full, head, bitfit, {last: N}, {layerwise_decay: FACTOR}, {gradual: SHARE}, {progressive:"),
        ("ful", "{auto: STEPS}, {lora: …} (or rslora, dora), or a list of rules (found 'ful')"),
        ({"first": 2}, "must be full, head, bitfit, {last: N}"),
        ({"last": 0}, "phases[1].layers.last: must be greater than or equal to 1 (found 0)"),
        ({"gradual": 0.0}, "phases[1].layers.gradual: must be greater than 0 (found 0.0)"),
        ({"progressive": 1.0}, "phases[1].layers.progressive: must be less than 1 (found 1.0)"),
        ({"layerwise_decay": 1.5}, "phases[1].layers.layerwise_decay: must be less than 1 (found 1.5)"),
        ([], "phases[1].layers: must not be empty"),
        ([{"lr": 1.0}], "phases[1].layers[0]: give exactly one of match and blocks"),
        ([{"match": "a", "blocks": "1", "lr": 1.0}], "phases[1].layers[0]: give exactly one of match and blocks"),
        ({"lora": LORA}, "phases[1].layers.lora.targets: is missing; every setting is written out"),
        (
            {"lora": {**LORA, "targets": "all"}},
            "layers.lora.targets: must be attention, linear, or a list of regular exp",
        ),
        ({"lora": {**LORA, "targets": []}}, "phases[1].layers.lora.targets: must not be empty"),
        ({"dora": {**LORA, "targets": ["a", "("]}}, "layers.dora.targets[1]: is no regular expression: missing )"),
        ({"lora": {**LORA, "targets": "linear", "rank": 0}}, "layers.lora.rank: must be greater than or equal to 1"),
        (
            {"lora": {**LORA, "targets": "linear", "dropout": 1.0}},
            "layers.lora.dropout: must be less than 1 (found 1.0)",
        ),
        ({"lora": {**LORA, "targets": "linear", "alpah": 1}}, "layers.lora.alpah: unknown key; did you mean 'alpha'?"),
        ({"lora": 8}, "phases[1].layers.lora: must be a mapping"),
        (
            [{"match": "a", "lr": 1.0, "lora": LORA, "dora": LORA}],
            "layers[0]: give at most one of lora, rslora and dora",
        ),
        ([{"match": "a", "lr": "frozen", "lora": LORA}], "layers[0]: an adapter that is frozen learns nothing"),
        ([{"match": "a", "lr": 1.0, "lora": {"rank": 8, "alpha": 1.0}}], "layers[0].lora.dropout: is missing"),
        *(
            ([{"match": "a", "lr": wrong}], f"layers[0].lr: must be a number above 0, or frozen (found {shown})")
            for wrong, shown in ((-1, "-1"), ("Frozen", "'Frozen'"), (float("inf"), "inf"), (True, "true"))
        ),
        ([{"match": "a", "lr": 0.0}], "layers[0].lr: 0 is not frozen: the optimizer would still decay it"),
        ([{"blocks": "top", "lr": 1.0}], "layers[0].blocks: must be blocks by number, from 0 at the bottom, in quotes"),
    ],
    ids=str,
)
def test_what_is_no_policy(written: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        params(written)
    assert said in str(caught.value)
    assert "problems" not in str(caught.value) or "is missing" in str(caught.value)


PROBE = {"kind": "probe", "l2": [0.01], "max_iterations": 50}


def with_phases(phases: Any) -> Params:
    document = read_yaml(ROOT / "params.yaml")
    tune = document["models"]["tickets"]["train"]["phases"][1]
    adapt = {**tune, "kind": "adapt", "objective": "masked-language", "rows": "incoming"}
    known = {"probe": PROBE, "tune": tune, "adapt": adapt}
    document["models"]["tickets"]["train"]["phases"] = [
        known.get(one, one) if isinstance(one, str) else one for one in phases
    ]
    return check(document, Params, file="params.yaml")


def average(first: int, second: int, *shares: float) -> dict[str, Any]:
    return {"kind": "average", "between": [first, second], "shares": list(shares or (0.5,))}


def soup(of: int, size: int = 3) -> dict[str, Any]:
    return {"kind": "soup", "of": of, "size": size}


def test_a_soup_lets_its_phase_remember() -> None:
    train = with_phases(["probe", "tune", soup(2), soup(2, 2)]).models["tickets"].train
    _, tune, larger, smaller = phase_specs(train)
    assert isinstance(tune, TuneSpec)
    assert tune.remember == 3
    assert (larger, smaller) == (SoupSpec(1, 3), SoupSpec(1, 2))


def test_phases_as_the_engine_is_told() -> None:
    train = with_phases(["adapt", "probe", "tune", average(2, 3, 0.25, 0.5)]).models["tickets"].train
    adapt, probe, tune, mixed = phase_specs(train)
    assert isinstance(adapt, TuneSpec)
    assert isinstance(tune, TuneSpec)
    assert (adapt.kind, adapt.objective, adapt.rows) == ("adapt", "masked-language", "incoming")
    assert (tune.kind, tune.objective, tune.rows) == ("tune", None, None)
    assert isinstance(probe, ProbeSpec)
    assert mixed == AverageSpec((1, 2), (0.25, 0.5))


@pytest.mark.parametrize(
    ("phases", "said"),
    [
        (["adapt"], "train.phases: none of the phases learns the labels; add one of kind probe or tune"),
        (["probe", average(1, 2)], "phase 2 averages phases 1 and 2; name two different ones before it"),
        (["probe", "tune", average(1, 1)], "phase 3 averages phases 1 and 1; name two different ones before it"),
        (["probe", "adapt"], "phase 2 adapts, and no phase after it learns from that; move it up"),
        (["probe", "tune", "adapt", average(1, 2)], "phase 3 adapts, and no phase after it learns from that"),
        (["adapt", "probe", average(1, 2)], "phase 3 averages an adapt phase, which has learned no labels"),
        (["probe", "tune", average(1, 2, 1.0)], "phases[2].shares[0]: must be less than 1 (found 1.0)"),
        (["probe", {"kind": "stew"}], "train.phases[1]"),
        (["probe", "tune", soup(1)], "phase 3 is a soup of phase 1; name a tune phase before it"),
        (["probe", "tune", soup(3)], "phase 3 is a soup of phase 3; name a tune phase before it"),
        (["probe", "tune", soup(2, 1)], "phases[2].size: must be greater than or equal to 2 (found 1)"),
    ],
    ids=str,
)
def test_phases_that_do_not_fit(phases: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_phases(phases)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"replay": 0.0}, "recipe: auto weighs reference rows, and replay: 0.0 leaves none; raise it, or write"),
        ({"start": "scratch"}, "recipe: auto builds on what base and champion know; with start: scratch write"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(changes: dict[str, Any], said: str) -> None:
    document = read_yaml(ROOT / "params.yaml")
    document["models"]["tickets"]["train"].update({"recipe": "auto", **changes})
    with pytest.raises(ConfigError, match=said):
        check(document, Params, file="params.yaml")
    document["models"]["tickets"]["train"]["recipe"] = "off"
    check(document, Params, file="params.yaml")

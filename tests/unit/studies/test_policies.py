"""Layer policies as they are written after --policies."""

from __future__ import annotations

import pytest

from finetide.config.adapters import AdapterOfLayers, Dora, Lora
from finetide.config.train import Auto, Gradual, LastBlocks, LayerwiseDecay, Progressive
from finetide.errors import InputError
from finetide.studies.policies import KNOWN, parse_policies


def test_each_is_what_params_yaml_has() -> None:
    found = parse_policies("head, full,bitfit,last:2,layerwise_decay:0.9,gradual:0.6,gradual:1,progressive:0.5,auto:60")
    assert found == {
        "head": "head", "full": "full", "bitfit": "bitfit", "last:2": LastBlocks(last=2),
        "layerwise_decay:0.9": LayerwiseDecay(layerwise_decay=0.9), "gradual:0.6": Gradual(gradual=0.6),
        "gradual:1": Gradual(gradual=1.0), "progressive:0.5": Progressive(progressive=0.5), "auto:60": Auto(auto=60),
    }  # fmt: skip
    assert list(found)[:3] == ["head", "full", "bitfit"]


def test_adapters_by_rank() -> None:
    assert parse_policies("lora,dora:4") == {
        "lora": Lora(lora=AdapterOfLayers(rank=8, alpha=16.0, dropout=0.0, targets="linear")),
        "dora:4": Dora(dora=AdapterOfLayers(rank=4, alpha=8.0, dropout=0.0, targets="linear")),
    }


def test_the_same_policy_twice_is_one() -> None:
    assert list(parse_policies("lora,full,lora:8,full")) == ["lora", "full"]


def test_every_known_name_is_taken() -> None:
    values = {"last": ":1", "auto": ":60", "layerwise_decay": ":0.5", "gradual": ":0.5", "progressive": ":0.5"}
    assert len(parse_policies(",".join(name + values.get(name, "") for name in KNOWN))) == len(KNOWN)


@pytest.mark.parametrize(
    ("written", "said", "fix"),
    [
        ("ful", "unknown layer policy (found 'ful')", "did you mean 'full'?"),
        ("", "unknown layer policy (found '')", "known: full, head, bitfit, last, "),
        ("head,", "unknown layer policy (found '')", "known: full, head, bitfit, last, "),
        ("blocks:3", "unknown layer policy (found 'blocks')", "known: full, head, bitfit, last, "),
        ("full:3", "full takes no value (found 'full:3')", "write full"),
        ("last", "needs a number after a colon (found 'last')", "e.g. --policies head,last:2,"),
        ("last:two", "needs a number after a colon (found 'last:two')", "e.g. --policies head,last:2,"),
        ("lora:", "needs a number after a colon (found 'lora:')", "e.g. --policies head,last:2,"),
        ("last:0", "last: must be greater than or equal to 1 (found 0)", "e.g. --policies head,last:2,"),
        ("last:1.5", "last: must be a whole number (found 1.5)", "e.g. --policies head,last:2,"),
        ("layerwise_decay:1", "layerwise_decay: must be less than 1 (found 1)", "e.g. --policies head,last:2,"),
        ("gradual:nan", "gradual: must be a finite number (found nan)", "e.g. --policies head,last:2,"),
        ("lora:2.5", "lora.rank: must be a whole number (found 2.5)", "e.g. --policies head,last:2,"),
    ],
)
def test_what_is_wrong_is_said(written: str, said: str, fix: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_policies(f"head,{written}" if written else written)
    assert f"--policies: {said}" in str(caught.value)
    assert fix in str(caught.value.fix)

"""Adapters in a real model: nothing changes at first, only they learn, and the merged weights say the same."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from finetide import tasks
from finetide.errors import IntegrityError
from finetide.layers import lora
from finetide.layers.freeze import frozen
from finetide.layers.lora import Adapted, attach
from finetide.layers.policies import Adapting, Policy, resolve
from finetide.layers.rules import Adapter, Rule
from finetide.task import ModelSettings
from support.micro import FAMILIES, HIDDEN, micro_base
from unit.layers.test_structure import model

TASK = tasks.load("text-classification")
KINDS = ("lora", "rslora", "dora")
RANK, ALPHA = 4, 8.0
# Of one block: inputs plus outputs over all its linear layers (32 wide, 64 within), and outputs alone.
SIDES = {
    "Bert": (4 * 64 + 2 * 96, 4 * 32 + 64 + 32),
    "Electra": (4 * 64 + 2 * 96, 4 * 32 + 64 + 32),
    "DistilBert": (4 * 64 + 2 * 96, 4 * 32 + 64 + 32),
    "MPNet": (4 * 64 + 2 * 96, 4 * 32 + 64 + 32),
    "Roberta": (4 * 64 + 2 * 96, 4 * 32 + 64 + 32),
    "DebertaV2": (6 * 64 + 2 * 96, 6 * 32 + 64 + 32),
    "ModernBert": (128 + 64 + 160 + 96, 96 + 32 + 128 + 32),
}


def adapter(kind: str = "lora", rank: int = RANK, dropout: float = 0.0) -> Adapter:
    return Adapter(kind, rank, ALPHA, dropout)


def build(folder: Path, family: str) -> nn.Module:
    """Two blocks, and a head that does not hide what is below it."""
    micro_base(folder / "base", family=family)
    built = TASK.build(folder / "base", ModelSettings(("a", "b", "c"), 32, "mean", 0.0), seed=1)
    torch.manual_seed(2)
    nn.init.normal_(built.module.get_parameter("head.weight"))
    return built.module.eval()


def put(module: nn.Module, policy: Policy, seed: int = 5) -> Adapted:
    return attach(module, resolve(policy, module, where="here"), seed=seed)


IDS = torch.randint(5, 60, (6, 9), generator=torch.Generator().manual_seed(3))
TARGETS = torch.tensor([0, 1, 2, 0, 1, 2])


def outputs(module: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = module(IDS, torch.ones_like(IDS))
    return found


def learn(adapted: Adapted, steps: int = 5, rate: float = 1e-2) -> None:
    """A few steps over the plan's groups, with everything else frozen and proved so."""
    parameters = dict(adapted.module.named_parameters())
    with frozen(adapted.module, adapted.plan.frozen):
        optimizer = torch.optim.AdamW([parameters[name] for name in adapted.plan.trainable], lr=rate)
        for _ in range(steps):
            nn.functional.cross_entropy(adapted.module(IDS, torch.ones_like(IDS)), TARGETS).backward()
            optimizer.step()
            optimizer.zero_grad()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_family_starts_unchanged_learns_beside_and_merges(family: str, kind: str, tmp_path: Path) -> None:
    module = build(tmp_path, family)
    before, state = outputs(module), {name: value.clone() for name, value in module.state_dict().items()}
    adapted = put(module, Adapting(adapter(kind), "linear"))

    sides, outs = SIDES[family]
    numbers = RANK * sides + (outs if kind == "dora" else 0)
    learned = [name for name in adapted.plan.trainable if not name.startswith("head.")]
    assert sum(module.get_parameter(name).numel() for name in learned) == 2 * numbers
    assert torch.equal(outputs(module), before)
    with adapted.merged():
        assert torch.equal(outputs(module), before)

    learn(adapted)
    beside = outputs(module)
    assert (beside - before).abs().max() > 1e-2
    with adapted.merged():
        merged = outputs(module)
    assert torch.allclose(merged, beside, atol=1e-5)
    assert torch.equal(outputs(module), beside)  # and taken apart again to the bit

    weights = adapted.weights()
    with adapted:
        pass
    assert list(module.state_dict()) == list(state) == list(weights)
    for name, value in module.state_dict().items():
        assert torch.equal(value, state[name]) is not name.startswith("head."), name
    assert not hasattr(module, "peft_config")
    assert all(parameter.requires_grad for parameter in module.parameters())
    module.load_state_dict(weights)
    assert torch.equal(outputs(module), merged)


@pytest.mark.parametrize("kind", KINDS)
def test_gpt2_with_its_turned_weights(kind: str) -> None:
    module = model("GPT2").eval()
    module.forward = lambda ids, _: module.head(module.encoder(input_ids=ids % 50).last_hidden_state[:, -1, :4])  # type: ignore[operator,assignment]
    before, shapes = outputs(module), {name: value.shape for name, value in module.state_dict().items()}
    adapted = put(module, Adapting(adapter(kind), "linear"))
    # c_attn 32 → 96, c_proj 32 → 32, c_fc 32 → 128, c_proj 128 → 32, in three blocks.
    learned = [name for name in adapted.plan.trainable if not name.startswith("head.")]
    numbers = RANK * (128 + 64 + 160 + 160) + (96 + 32 + 128 + 32 if kind == "dora" else 0)
    assert sum(module.get_parameter(name).numel() for name in learned) == 3 * numbers
    assert torch.allclose(outputs(module), before, atol=1e-6)
    targets = TARGETS % 2
    optimizer = torch.optim.AdamW([module.get_parameter(name) for name in adapted.plan.trainable], lr=1e-2)
    for _ in range(3):
        nn.functional.cross_entropy(module(IDS, None), targets).backward()
        optimizer.step()
        optimizer.zero_grad()
    beside, weights = outputs(module), adapted.weights()
    assert not torch.allclose(beside, before, atol=1e-3)
    with adapted:
        pass
    assert {name: value.shape for name, value in weights.items()} == shapes
    module.load_state_dict(weights)
    assert torch.allclose(outputs(module), beside, atol=1e-5)


@pytest.mark.parametrize(("kind", "rank", "scale"), [("lora", 4, 2.0), ("rslora", 4, 4.0), ("rslora", 16, 2.0)])
def test_the_product_is_scaled_by_alpha_over_rank_or_its_root(
    kind: str, rank: int, scale: float, tmp_path: Path
) -> None:
    module = build(tmp_path, "Bert")
    plain = module.get_parameter("encoder.encoder.layer.0.attention.self.query.weight").clone()
    adapted = put(module, Adapting(adapter(kind, rank), ("query",)))
    path = "encoder.encoder.layer.0.attention.self.query"
    a, b = (module.get_parameter(f"{path}.lora_{side}.default.weight") for side in "AB")
    assert (a.shape, b.shape) == ((rank, HIDDEN), (HIDDEN, rank))
    nn.init.normal_(b)
    merged = adapted.weights()[f"{path}.weight"]
    assert torch.allclose(merged, plain + scale * b @ a, atol=1e-5)
    assert scale == ALPHA / (rank if kind == "lora" else math.sqrt(rank))


def test_dora_learns_the_lengths_of_the_rows_and_does_not_decay_them(tmp_path: Path) -> None:
    module = build(tmp_path, "Bert")
    adapted = put(module, Adapting(adapter("dora"), "attention"))
    lengths = [name for name in adapted.plan.trainable if "magnitude" in name]
    assert len(lengths) == 8
    decays = {name: group.decay for group in adapted.plan.groups for name in group.names}
    assert {decays[name] for name in lengths} == {False}
    assert {decay for name, decay in decays.items() if "lora_A" in name or "lora_B" in name} == {True}
    path = lengths[0].removesuffix(".lora_magnitude_vector.default.weight")
    start = module.get_parameter(lengths[0]).detach().clone()
    assert torch.allclose(start, module.get_parameter(f"{path}.base_layer.weight").norm(dim=1))
    learn(adapted)
    learned = module.get_parameter(lengths[0]).detach()
    assert not torch.allclose(start, learned, atol=1e-3)
    assert torch.allclose(adapted.weights()[f"{path}.weight"].norm(dim=1), learned, atol=1e-5)


def test_a_base_weight_that_changes_fails_the_run(tmp_path: Path) -> None:
    adapted = put(build(tmp_path, "Bert"), Adapting(adapter(), "linear"))

    def nudge() -> None:
        with torch.no_grad(), frozen(adapted.module, adapted.plan.frozen):
            name = "encoder.encoder.layer.0.attention.self.query.base_layer.weight"
            adapted.module.get_parameter(name).add_(1e-6)

    with pytest.raises(IntegrityError, match=r"1 frozen tensors changed while training, first 'encoder.*query"):
        nudge()


def test_merging_in_between_leaves_the_base_weights_as_they_were(tmp_path: Path) -> None:
    adapted = put(build(tmp_path, "Bert"), Adapting(adapter("dora"), "linear"))
    learn(adapted)
    with frozen(adapted.module, adapted.plan.frozen):
        for _ in range(3):
            adapted.weights()
            with pytest.raises(ZeroDivisionError), adapted.merged():
                raise ZeroDivisionError
    assert not any(layer.merged for layer in adapted.layers.values())


def test_the_seed_decides_and_torchs_generator_is_left_alone(tmp_path: Path) -> None:
    def matrices(seed: int) -> list[torch.Tensor]:
        module = build(tmp_path, "Bert")
        torch.manual_seed(11)
        adapted = put(module, Adapting(adapter(), "attention"), seed)
        found = [value for name, value in adapted.state().items() if "lora_A" in name]
        assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(11)))
        return found

    one, again, other = matrices(1), matrices(1), matrices(2)
    assert all(map(torch.equal, one, again))
    assert not any(map(torch.equal, one, other))
    assert not torch.equal(one[0], one[1])


def test_state_goes_round_by_plain_names(tmp_path: Path) -> None:
    module = build(tmp_path, "Bert")
    plain = set(module.state_dict())
    adapted = put(module, Adapting(adapter(), "linear"))
    learn(adapted)
    state = {name: value.clone() for name, value in adapted.state().items()}
    assert plain < set(state)
    assert all("lora_" in name for name in set(state) - plain)
    said = outputs(module)
    other = put(build(tmp_path / "other", "Bert"), Adapting(adapter(), "linear"), seed=9)
    other.load(state)
    assert torch.equal(outputs(other.module), said)


def test_rules_mix_kinds_and_train_a_bias_beside_an_adapter(tmp_path: Path) -> None:
    module = build(tmp_path, "Bert")
    before = outputs(module)
    adapted = put(
        module,
        (
            Rule(match=r"layer\.1\..*bias$", lr=0.5),
            Rule(blocks="0", lr=1.0, adapter=adapter("lora", 2)),
            Rule(match=r"layer\.1\..*query", lr=2.0, weight_decay=0.3, adapter=adapter("dora", 3)),
            Rule(match=r"layer\.1\.", lr="frozen"),
            Rule(match="head", lr=1.0),
            Rule(match=".*", lr="frozen"),
        ),
    )
    assert torch.equal(outputs(module), before)
    rates = {name: group.multiplier for group in adapted.plan.groups for name in group.names}
    start = "encoder.encoder.layer"
    assert rates[f"{start}.1.attention.self.query.base_layer.bias"] == 0.5
    assert rates[f"{start}.1.attention.self.query.lora_B.default.weight"] == 2.0
    assert rates[f"{start}.0.attention.self.query.lora_B.default.weight"] == 1.0
    decays = {name: group.weight_decay for group in adapted.plan.groups for name in group.names}
    assert decays[f"{start}.1.attention.self.query.lora_A.default.weight"] == 0.3
    ranks = {name: value.shape[0] for name, value in module.named_parameters() if "lora_A" in name}
    assert sorted(ranks.values()) == [2] * 6 + [3]
    learn(adapted)
    said, weights = outputs(module), adapted.weights()
    with adapted:
        pass
    module.load_state_dict(weights)
    assert torch.allclose(outputs(module), said, atol=1e-5)


def test_dropout_is_of_the_adapter_and_only_while_training(tmp_path: Path) -> None:
    module = build(tmp_path, "Bert")
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
        for name in ("attention_dropout", "dropout_prob"):
            if hasattr(part, name):
                setattr(part, name, 0.0)
    adapted = put(module, Adapting(adapter(dropout=0.5), "linear"))
    learn(adapted)
    assert torch.equal(outputs(module), outputs(module))
    module.train()
    assert not torch.equal(outputs(module), outputs(module))


def test_without_adapters_nothing_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = build(tmp_path, "Bert")
    names = [name for name, _ in module.named_parameters()]
    monkeypatch.setattr(lora, "_inject", lambda *_: pytest.fail("PEFT was called"))
    plan = resolve((Rule(match="embeddings", lr="frozen"), Rule(match=".*", lr=1.0)), module, where="here")
    adapted = attach(module, plan, seed=1)
    assert adapted.plan == plan
    assert [name for name, _ in module.named_parameters()] == names
    state = module.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in adapted.weights().items())


def test_parameters_that_were_not_planned_fail_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = build(tmp_path, "Bert")
    inject = lora._inject

    def more(module: nn.Module, beside: Any) -> dict[str, Any]:
        found = inject(module, beside)
        module.extra = nn.Linear(2, 2)
        return found

    monkeypatch.setattr(lora, "_inject", more)
    with pytest.raises(IntegrityError, match="PEFT left other parameters than were planned") as caught:
        put(module, Adapting(adapter(), "linear"))
    assert "constraints.txt" in str(caught.value)

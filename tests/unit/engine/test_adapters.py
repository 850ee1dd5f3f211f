"""Adapters in the loop: exact resume, what is handed on, the proof, the frozen prefix."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from finetide.engine import prefix, tune
from finetide.engine.loop import Result
from finetide.engine.progress import Curve
from finetide.engine.specs import PhaseSpec
from finetide.errors import IntegrityError
from finetide.layers.lora import attach
from finetide.layers.policies import Adapting, resolve
from finetide.layers.rules import Adapter, Rule
from finetide.task import Built
from support.killed import until_it_ends
from support.micro import micro_base
from unit.engine.test_loop import PROBE, TASK, build, run, settings, spec, weights

LORA = Adapting(Adapter("lora", 4, 8.0, 0.1), "linear")
DORA = Adapting(Adapter("dora", 4, 8.0, 0.1), "attention")
TOP = Adapting(Adapter("lora", 4, 8.0, 0.0), (r"layer\.2\.",))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters") / "b"
    micro_base(folder, layers=3)
    return folder


def lora_spec(policy: Any = LORA, **changes: object) -> PhaseSpec:
    return spec(policy=policy, learning_rate=1e-2, **changes)


PHASES: list[PhaseSpec] = [PROBE, lora_spec(epochs=1), lora_spec(DORA, epochs=1), spec(epochs=1)]


@pytest.fixture(scope="module")
def undisturbed(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Built, Curve]:
    return run(base, tmp_path_factory.mktemp("whole"), PHASES, checkpoint_every_steps=2)


@pytest.mark.parametrize("seed", range(4))
def test_killed_anywhere_and_resumed_it_ends_byte_equal(
    base: Path, tmp_path: Path, seed: int, undisturbed: tuple[Result, Built, Curve], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, ended, curve = undisturbed
    rng = random.Random(seed)
    left = [rng.randint(2, 8) for _ in range(3)]
    again, resumed, curve_again = until_it_ends(
        lambda: run(base, tmp_path / "killed", PHASES, checkpoint_every_steps=2), left, monkeypatch
    )
    assert weights(resumed) == weights(ended)
    assert (again.phases, again.kept, again.proof) == (whole.phases, whole.kept, whole.proof)
    assert curve_again.path.read_bytes() == curve.path.read_bytes()


@pytest.mark.parametrize("policy", [LORA, DORA], ids=["lora", "dora"])
def test_what_is_handed_on_is_a_plain_model_that_scores_what_was_measured(
    base: Path, tmp_path: Path, policy: Adapting
) -> None:
    plain, data = build(base)
    result, built, _ = run(base, tmp_path, [lora_spec(policy)])
    (phase,) = result.phases
    assert [(name, value.shape) for name, value in built.module.state_dict().items()] == [
        (name, value.shape) for name, value in plain.module.state_dict().items()
    ]
    assert not any(type(part).__module__.startswith("peft") for part in built.module.modules())
    assert tune.evaluate(TASK, built, data.validation, settings()) == phase.score
    assert any("best on validation at step" in line and "before any" not in line for line in phase.decisions)
    changed = {name for name, value in weights(built).items() if value != weights(plain)[name]}
    attention = {name for name in changed if "attention" in name}
    assert {"head.weight", "head.bias"} < changed
    assert all(name.endswith(".weight") for name in changed - {"head.bias"})
    assert len(changed) == 2 + (3 * 6 if policy is LORA else 3 * 4)
    assert len(attention) == 3 * 4


def test_the_proof_names_what_is_handed_on_as_it_was(base: Path, tmp_path: Path) -> None:
    plain, _ = build(base)
    names = {name for name, _ in plain.module.named_parameters()}
    result, built, _ = run(base, tmp_path, [lora_spec(epochs=1)])
    there = names | {name for name, _ in plain.module.named_buffers()}
    phase, head = result.phases[0], {"head.weight", "head.bias"}
    merged = {name for name in names if plain.module.get_parameter(name).ndim == 2 and ".layer." in name}
    assert names - head - merged <= set(result.proof) <= there - head - merged
    assert "18 weights, frozen all along, have their adapters merged in" in phase.decisions
    assert all(weights(built)[name] == weights(plain)[name] for name in result.proof if name in weights(plain))
    assert phase.trainable == 3 * 4 * (4 * 64 + 2 * 96) + sum(
        plain.module.get_parameter(name).numel() for name in ("head.weight", "head.bias")
    )
    assert phase.frozen == sum(plain.module.get_parameter(n).numel() for n in names - {"head.weight", "head.bias"})


def test_a_base_weight_that_moves_ends_the_run(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = tune.Tuner._step

    def moving(self: tune.Tuner, rows: Any, at: tune.Progressed) -> float:
        layer = next(iter(self.adapted.layers.values()))
        layer.get_base_layer().weight.data[0, 0] += 1e-6
        return step(self, rows, at)

    monkeypatch.setattr(tune.Tuner, "_step", moving)
    with pytest.raises(IntegrityError, match="1 frozen tensors changed while training"):
        run(base, tmp_path, [lora_spec(epochs=1)])


def test_a_phase_after_it_goes_on_from_the_merged_weights(base: Path, tmp_path: Path) -> None:
    first, _, _ = run(base, tmp_path / "one", [lora_spec()])
    both, _, curve = run(base, tmp_path / "two", [lora_spec(), lora_spec(DORA, epochs=1), spec(epochs=1)])
    starts = [next(row for row in curve.rows if row.phase == phase) for phase in (1, 2)]
    assert (starts[0].validation_accuracy, starts[0].validation_loss) == (
        first.phases[0].score.accuracy, first.phases[0].score.loss,
    )  # fmt: skip
    assert (starts[1].validation_accuracy, starts[1].validation_loss) == (
        both.phases[1].score.accuracy, both.phases[1].score.loss,
    )  # fmt: skip


def test_blocks_below_the_adapters_are_the_prefix(base: Path, tmp_path: Path) -> None:
    built, _ = build(base)
    adapted = attach(built.module, resolve(TOP, built.module, where="here"), seed=1)
    cut = prefix.find(built.module, adapted.plan.frozen)
    assert cut is not None
    assert (len(cut.skipped), cut.count) == (2, 3)
    everywhere, _ = build(base)
    adapted = attach(everywhere.module, resolve(LORA, everywhere.module, where="here"), seed=1)
    assert prefix.find(everywhere.module, adapted.plan.frozen) is None


def test_with_and_without_the_prefix_the_losses_are_the_same(base: Path, tmp_path: Path) -> None:
    phases: list[PhaseSpec] = [lora_spec(TOP, epochs=3)]
    kept = {"prefix_cache": tmp_path / "kept", "prefix_cache_gib": 1.0}
    result, built, curve = run(base, tmp_path / "with", phases, **kept)
    _, _, plain = run(base, tmp_path / "without", phases)
    assert any("the 2 frozen of 3 blocks ran once" in line for line in result.phases[0].decisions)
    for one, other in zip(curve.rows, plain.rows, strict=True):
        assert one.validation_loss == pytest.approx(other.validation_loss, abs=1e-4)
    _, data = build(base)
    whole = tune.evaluate(TASK, built, data.validation, settings())
    assert whole.loss == pytest.approx(result.phases[0].score.loss, abs=1e-4)


def test_the_optimizer_holds_the_adapters_and_the_head_alone(base: Path) -> None:
    built, data = build(base)
    tuner = tune.Tuner(TASK, built, data, lora_spec(), settings(), 0, 1)  # type: ignore[arg-type]
    held = {id(parameter) for group in tuner.optimizer.param_groups for parameter in group["params"]}
    for name, parameter in built.module.named_parameters():
        assert (id(parameter) in held) is ("lora_" in name or name.startswith("head.")), name


def test_a_rule_over_blocks_leaves_adapters_there_and_nowhere_else(base: Path, tmp_path: Path) -> None:
    rules = (
        Rule(blocks="1-2", lr=1.0, adapter=Adapter("rslora", 4, 8.0, 0.0)),
        Rule(match="^head", lr=0.5),
        Rule(match=".*", lr="frozen"),
    )
    plain, _ = build(base)
    _, built, _ = run(base, tmp_path, [lora_spec(rules)])
    changed = {name for name, value in weights(built).items() if value != weights(plain)[name]}
    assert {name.split(".")[3] for name in changed if not name.startswith("head")} == {"1", "2"}
    assert len(changed) == 2 + 2 * 6


def test_peft_is_imported_only_when_a_phase_has_adapters(base: Path, tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from finetide.layers.policies import Named
from unit.engine.test_loop import run, spec
run(Path(sys.argv[1]), Path(sys.argv[2]), [spec(epochs=None, steps=1, policy=Named("head"))])
print("peft" in sys.modules)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(base), str(tmp_path)],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    assert done.stdout.strip().splitlines()[-1] == "False"

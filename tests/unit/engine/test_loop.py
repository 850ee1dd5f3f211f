"""The loop on a micro model: against plain torch, killed anywhere, never worse than its probe."""

from __future__ import annotations

import random
from pathlib import Path

import pandas as pd
import pytest
import torch

from finetide import tasks
from finetide.engine import overfit, tune
from finetide.engine.checkpoint import Checkpoints
from finetide.engine.loop import Result, _at_an_end, train
from finetide.engine.progress import Curve
from finetide.engine.specs import Data, PhaseSpec, ProbeSpec, Score, Settings, TuneSpec
from finetide.errors import ConfigError, DataError
from finetide.layers.policies import Named
from finetide.layers.rules import Rule
from finetide.seeding import generator
from finetide.task import Built, ModelSettings
from support.killed import KilledError, until_it_ends
from support.messages import LABELS, rows
from support.micro import micro_base

TASK = tasks.load("text-classification")
PROBE = ProbeSpec((0.001, 0.01), 50)


def spec(**changes: object) -> TuneSpec:
    given: dict[str, object] = {
        "policy": (Rule(match="embeddings", lr="frozen"), Rule(match=".*", lr=1.0)),
        "epochs": 2,
        "steps": None,
        "learning_rate": 1e-3,
        "schedule": "linear",
        "warmup_share": 0.1,
        "weight_decay": 0.01,
        "max_gradient_norm": 1.0,
        "patience": 10,
        "evaluations_per_epoch": 2,
    }
    return TuneSpec(**{**given, **changes})  # type: ignore[arg-type]


def settings(**changes: object) -> Settings:
    given: dict[str, object] = {
        "seed": 3, "batch_rows": 16, "batch_tokens": 96, "precision": "fp32", "checkpoint_every_steps": 3,
        "feature_cache": None,
    }  # fmt: skip
    return Settings(**{**given, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "b"
    micro_base(folder)
    return folder


def frame(count: int, seed: int) -> pd.DataFrame:
    table = rows(count, "shop", seed)
    return pd.DataFrame(
        {
            "row_id": [f"x:{index}" for index in range(count)],
            "text": [row["body"] for row in table],
            "label": [row["intent"] for row in table],
        }
    )


def build(base: Path, dropout: float = 0.1) -> tuple[Built, Data]:
    built = TASK.build(base, ModelSettings(tuple(sorted(LABELS)), 32, "mean", dropout), seed=1)
    return built, Data(TASK.encode(built, frame(90, 1)), TASK.encode(built, frame(45, 2)))


def run(base: Path, folder: Path, phases: list[PhaseSpec], **changes: object) -> tuple[Result, Built, Curve]:
    built, data = build(base)
    curve = Curve(folder / "curve.csv")
    result = train(TASK, built, data, phases, settings(**changes), curve, Checkpoints(folder / "ck" / "key"))
    return result, built, curve


def weights(built: Built) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in built.module.state_dict().items()}


def test_the_result_is_never_worse_than_its_probe(base: Path, tmp_path: Path) -> None:
    result, built, curve = run(base, tmp_path, [PROBE, spec(learning_rate=0.5)])
    probe, tuned = result.phases
    assert result.kept == 0 or tuned.score.beats(probe.score)
    assert result.phases[result.kept].score.accuracy >= probe.score.accuracy
    assert "kept phase" in result.sentence
    _, data = build(base)
    kept = tune.evaluate(TASK, built, data.validation, settings())
    assert kept == result.phases[result.kept].score
    assert [row.phase for row in curve.rows][:2] == [0, 1]


def test_frozen_weights_are_the_bases_and_the_proof_names_them(base: Path, tmp_path: Path) -> None:
    before, _ = build(base)
    result, built, _ = run(base, tmp_path, [spec(epochs=1)])
    assert result.proof
    changed = {name for name, value in weights(built).items() if value != weights(before)[name]}
    assert not {name for name in changed if "embeddings" in name}
    assert {name for name in changed if "encoder.encoder" in name}
    assert all("embeddings" in name for name in result.proof)


@pytest.mark.parametrize("seed", range(6))
def test_killed_anywhere_and_resumed_it_ends_byte_equal(
    base: Path, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    phases: list[PhaseSpec] = [PROBE, spec(epochs=1), spec(epochs=1, policy=Named("head"))]
    whole, undisturbed, curve = run(base, tmp_path / "whole", phases)
    rng = random.Random(seed)
    left = [rng.randint(1, 9) for _ in range(3)]
    again, resumed, curve_again = until_it_ends(lambda: run(base, tmp_path / "killed", phases), left, monkeypatch)
    assert weights(resumed) == weights(undisturbed)
    assert (again.phases, again.kept, again.proof) == (whole.phases, whole.kept, whole.proof)
    assert curve_again.path.read_bytes() == curve.path.read_bytes()


def test_the_loop_is_plain_torch_step_by_step(base: Path, tmp_path: Path) -> None:
    """The same losses as a loop written out by hand: one batch a step, no micro-batches, no dropout."""
    built, data = build(base, dropout=0.0)
    for module in built.module.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "dropout_prob"):
            module.dropout_prob = 0.0
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0
    start = {name: value.clone() for name, value in built.module.state_dict().items()}
    phase = spec(epochs=1, policy=(Rule(match=".*", lr=1.0),))
    losses: list[float] = []
    original = tune.Tuner._step
    tuner = tune.Tuner(TASK, built, data, phase, settings(batch_tokens=24), 0, 1)
    for step in range(5):
        order = tuner._order(0)[step]
        built.module.train()
        losses.append(original(tuner, order, at := tune.Progressed(step=step)))
        assert at.step == step + 1
    built.module.load_state_dict(start)
    model = built.module.train()
    decayed = [p for n, p in model.named_parameters() if not (n.endswith(".bias") or "norm" in n.lower())]
    plain = [p for n, p in model.named_parameters() if n.endswith(".bias") or "norm" in n.lower()]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}], lr=1e-3
    )
    total = 6
    from finetide.engine.batches import epoch

    batches = epoch(data.train.lengths, 16, generator(3, "order", 0, 0))
    expected = []
    for step in range(5):
        rate = 1e-3 * ((step + 1) / 2 if step < 1 else 1 - (step - 1) / (total - 1))
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = TASK.collate(built, data.train, batches[step])
        logits = model(batch["input_ids"], batch["attention_mask"])
        loss = torch.nn.functional.cross_entropy(logits, batch["targets"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        expected.append(float(loss.detach()))
    assert losses == pytest.approx(expected, abs=1e-6)


def test_patience_ends_a_phase_and_says_so(base: Path, tmp_path: Path) -> None:
    result, _, _ = run(base, tmp_path, [PROBE, spec(learning_rate=0.9, patience=1, epochs=5)])
    assert result.phases[1].steps < 30
    assert any("ended early" in line for line in result.phases[1].decisions)


@pytest.mark.parametrize(
    ("losses", "evaluations"),
    [
        pytest.param([1.0, 1.0, 1.0, 1.0, 1.0, 1.0], 3, id="neither"),
        pytest.param([1.0, 0.9, 0.8, 0.7, 0.6, 0.5], 6, id="loss-falls"),
        pytest.param([1.0, 1.1, 0.9, 1.0, 1.0, 0.8], 5, id="a-lower-one-counts-anew"),
    ],
)
def test_patience_counts_from_the_newest_gain_be_it_of_the_metric_or_of_the_loss(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, losses: list[float], evaluations: int
) -> None:
    """The best accuracy of few validation rows may be a chance, as it is here that of the first evaluation."""
    left = iter([(0.9, losses[0]), *((0.8, loss) for loss in losses[1:])])

    def measured(*_args: object, **_named: object) -> overfit.Measured:
        return overfit.Measured(Score(*next(left)), None, Score(0.9, 0.5))

    monkeypatch.setattr(overfit, "measure", measured)
    result, _, curve = run(base, tmp_path, [spec(patience=2, epochs=5, evaluations_per_epoch=1, overfit_gap=None)])
    assert len(curve.rows) == evaluations
    (end,) = [line for line in result.phases[0].decisions if line.startswith(("ended", "ran"))]
    assert ("2 evaluations without a gain on validation" in end) == (evaluations < 6)
    assert any(line.startswith("best on validation at step 0") for line in result.phases[0].decisions)


def test_rows_are_needed(base: Path, tmp_path: Path) -> None:
    built, data = build(base)
    empty = TASK.encode(built, frame(3, 1).head(0))
    with pytest.raises(DataError, match="there are no labelled validation rows"):
        train(
            TASK,
            built,
            Data(data.train, empty),
            [PROBE],
            settings(),
            Curve(tmp_path / "c.csv"),
            Checkpoints(tmp_path / "k"),
        )


def test_the_seed_decides(base: Path, tmp_path: Path) -> None:
    one = weights(run(base, tmp_path / "1", [spec(epochs=1)])[1])
    same = weights(run(base, tmp_path / "2", [spec(epochs=1)])[1])
    other = weights(run(base, tmp_path / "3", [spec(epochs=1)], seed=4)[1])
    assert one == same
    assert one != other


def test_a_rate_that_breaks_the_weights_is_named(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.phases\[0\]\.learning_rate: the training loss is no finite number"):
        run(base, tmp_path, [spec(learning_rate=1e30, warmup_share=0.0)])


def test_only_deterministic_algorithms_run_and_the_setting_is_put_back(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    original = tune.Tuner._step

    def looking(self: tune.Tuner, order: list[int], at: tune.Progressed) -> float:
        seen.append(torch.are_deterministic_algorithms_enabled())
        return original(self, order, at)

    monkeypatch.setattr(tune.Tuner, "_step", looking)
    run(base, tmp_path, [spec(epochs=None, steps=2)])
    assert seen == [True, True]
    assert not torch.are_deterministic_algorithms_enabled()


def test_steps_give_the_length_as_epochs_do(base: Path, tmp_path: Path) -> None:
    result, _, curve = run(base, tmp_path, [spec(epochs=None, steps=7)])
    assert (result.phases[0].steps, result.phases[0].rows_seen) == (7, 90 + 16)
    assert [row.step for row in curve.rows] == [0, 3, 6, 7]


def test_each_phase_says_what_it_decided(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, _, _ = run(base, tmp_path, [PROBE, spec(epochs=1)])
    said = capsys.readouterr().err
    assert "phase 1 probe: validation accuracy" in said
    assert "'embeddings': 5 parameter tensors, frozen" in said
    assert "'.*': 34 parameter tensors, lr × 1" in said
    assert any(line.startswith("fp32: ") for line in result.phases[1].decisions)
    assert "phase 2 of 2 tune: step 6/6, epoch 1.0 of 1, loss" in said


def test_what_is_frozen_gets_no_gradient_and_no_state(base: Path, tmp_path: Path) -> None:
    built, data = build(base)
    tuner = tune.Tuner(TASK, built, data, spec(), settings(), 0, 1)
    held = {id(parameter) for group in tuner.optimizer.param_groups for parameter in group["params"]}
    for name, parameter in built.module.named_parameters():
        assert (id(parameter) in held) is ("embeddings" not in name)


GRADUAL, PROGRESSIVE = Named("gradual", 1.0), Named("progressive", 0.95)


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deep") / "b"
    micro_base(folder, layers=3)
    return folder


@pytest.mark.parametrize(
    ("policy", "epochs", "kept"),
    [
        (GRADUAL, 4, False),
        pytest.param(GRADUAL, 10, True, marks=pytest.mark.slow),
        pytest.param(PROGRESSIVE, 6, False, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_course_killed_at_any_step_and_resumed_ends_byte_equal(
    deep: Path, tmp_path: Path, policy: Named, epochs: int, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    phases: list[PhaseSpec] = [spec(epochs=epochs, policy=policy, warmup_share=0.0)]
    given = {"prefix_cache": tmp_path / "kept", "prefix_cache_gib": 1.0} if kept else {}
    whole, undisturbed, curve = run(deep, tmp_path / "whole", phases, **given)
    said = "learns from here on" if policy is GRADUAL else "frozen from here on"
    assert any(said in line for line in whole.phases[0].decisions)
    if kept:
        assert sum("ran once" in line for line in whole.phases[0].decisions) > 1
    original = tune.Tuner._step
    for dies_at in range(2, whole.phases[0].steps, whole.phases[0].steps // 4):

        def dying(self: tune.Tuner, order: list[int], at: tune.Progressed, dies_at: int = dies_at) -> float:
            if at.step == dies_at:
                raise KilledError
            return original(self, order, at)

        monkeypatch.setattr(tune.Tuner, "_step", dying)
        with pytest.raises(KilledError):
            run(deep, tmp_path / "killed", phases, **given)
        monkeypatch.setattr(tune.Tuner, "_step", original)
        again, resumed, curve_again = run(deep, tmp_path / "killed", phases, **given)
        assert weights(resumed) == weights(undisturbed)
        assert (again.phases, again.proof) == (whole.phases, whole.proof)
        assert curve_again.path.read_bytes() == curve.path.read_bytes()
        Checkpoints(tmp_path / "killed" / "ck" / "key").clear()


def test_gradual_leaves_a_block_as_it_is_until_its_step(deep: Path, tmp_path: Path) -> None:
    before = weights(build(deep)[0])
    seen: dict[int, set[str]] = {}
    original = tune.Tuner._step

    def looking(self: tune.Tuner, order: list[int], at: tune.Progressed) -> float:
        result = original(self, order, at)
        now = {name: value.detach().numpy().tobytes() for name, value in self.module.state_dict().items()}
        seen[at.step] = {name.split("layer.")[1][0] for name in now if "layer." in name and now[name] != before[name]}
        held = {id(parameter) for group in self.optimizer.param_groups for parameter in group["params"]}
        learning = {id(parameter) for parameter in self.module.parameters() if parameter.requires_grad}
        assert held == learning
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tune.Tuner, "_step", looking)
        run(deep, tmp_path, [spec(epochs=None, steps=24, policy=Named("gradual", 1.0), warmup_share=0.0)])
    assert seen[4] == set()
    assert seen[5] == seen[9] == {"2"}
    assert seen[10] == seen[14] == {"1", "2"}
    assert seen[15] == {"0", "1", "2"}


def test_a_strength_at_an_end_of_those_tried_is_said() -> None:
    assert _at_an_end(0.1, (0.01, 0.1)) == "; none larger was tried"
    assert _at_an_end(0.01, (0.1, 0.01, 1.0)) == "; none smaller was tried"
    assert _at_an_end(0.1, (0.01, 0.1, 1.0)) == _at_an_end(0.1, (0.1,)) == _at_an_end(0.1, (0.1, 0.1)) == ""

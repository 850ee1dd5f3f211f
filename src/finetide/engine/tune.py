"""One tune phase: AdamW over the parameters that the layer policy leaves free, resumable at every checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from finetide.engine import batches, checkpoint, prefix, schedule
from finetide.engine.inference import Around, nowhere, predict
from finetide.engine.precision import choose, choose_device
from finetide.engine.progress import Curve, Progress
from finetide.engine.specs import (
    CurveRow,
    Data,
    PhaseResult,
    Score,
    Settings,
    TuneSpec,
    evaluation_steps,
    steps_per_epoch,
)
from finetide.errors import ConfigError
from finetide.layers.freeze import frozen
from finetide.layers.policies import resolve
from finetide.layers.rules import Group, Plan
from finetide.seeding import derive, generator
from finetide.task import Built, Examples, Task

State = dict[str, torch.Tensor]


@dataclass
class Progressed:
    """Where a phase stands: everything besides weights, optimizer and random state that a resume needs."""

    step: int = 0
    rows_seen: int = 0
    loss_sum: float = 0.0
    loss_steps: int = 0
    without_gain: int = 0
    best_step: int = 0
    best: Score | None = None
    ended: str = ""
    decisions: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "best": asdict(self.best) if self.best else None}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Progressed:
        return cls(**{**value, "best": Score(**value["best"]) if value["best"] else None})


@dataclass(frozen=True)
class Store:
    """Where a phase saves itself. ``initial``: the weights that the whole training started with; ``carried`` and
    ``carried_state``: what earlier phases left, which every checkpoint must hold."""

    checkpoints: checkpoint.Checkpoints
    initial: State
    carried: State
    carried_state: dict[str, Any]

    def save(self, number: int, tensors: State, state: dict[str, Any], curve: Curve) -> None:
        rows = [asdict(row) for row in curve.rows]
        self.checkpoints.save(number, {**self.carried, **tensors}, {**self.carried_state, **state, "curve": rows})


class Tuner:
    """Holds what one phase works with; `run` is the loop."""

    def __init__(self, task: Task, built: Built, data: Data, spec: TuneSpec, settings: Settings, index: int) -> None:
        self.task, self.built, self.data, self.spec, self.settings, self.index = (
            task,
            built,
            data,
            spec,
            settings,
            index,
        )
        self.device = choose_device()
        self.precision = choose(settings.precision, self.device)
        self.module = built.module.to(self.device)
        where = f"params.yaml: train.phases[{index}].layers"
        self.plan: Plan = resolve(spec.policy, self.module, where=where)
        self.per_epoch = steps_per_epoch(len(data.train.ids), settings.batch_rows)
        self.total = spec.total_steps(self.per_epoch)
        self.evaluations = evaluation_steps(self.total, self.per_epoch, spec.evaluations_per_epoch)
        mixed = "bf16" if self.precision.name == "bf16" else "no"
        self.accelerator = Accelerator(mixed_precision=mixed, cpu=self.device.type == "cpu")
        self.names = [name for group in self.plan.groups for name in group.names]
        self.optimizer = self._optimizer()
        self.around_train: Around = nowhere
        self.around_validation: Around = nowhere

    def run(
        self, curve: Curve, store: Store, resumed: tuple[State, dict[str, Any]] | None
    ) -> tuple[PhaseResult, State, dict[str, str]]:
        """Returns: the phase's result, the best weights seen (its first ones included), the proof of freezing."""
        at = Progressed()
        with frozen(self.module, self.plan.frozen) as proof:
            told = self._keep_prefix(proof)
            if resumed is None:
                torch.manual_seed(derive(self.settings.seed, "dropout", self.index))
                best = self._snapshot()
                at.decisions = [*self.plan.lines, f"{self.precision.name}: {self.precision.reason}", *told]
                at.best = self._evaluate(at, curve)
            else:
                tensors, state = resumed
                at = Progressed.from_json(state["progress"])
                best = {**store.initial, **checkpoint.unpack("best", tensors)}
                self._restore(tensors, store.initial)
            self._loop(at, best, curve, store)
        return self._result(at), best, dict(proof)

    def _keep_prefix(self, proof: Mapping[str, str]) -> list[str]:
        """Let passes start above the frozen blocks, where that pays. Returns: a line that says so, or why not."""
        folder, budget = self.settings.prefix_cache, self.settings.prefix_cache_gib
        cut = prefix.find(self.module, self.plan.frozen)
        if cut is None or folder is None or budget == 0 or self.total <= self.per_epoch:
            return []  # nothing is frozen from the bottom up, or every row is seen once
        found = prefix.prepare(
            self.task, self.built, cut, {"train": self.data.train, "validation": self.data.validation}, proof, folder,
            batch_tokens=self.settings.batch_tokens, precision=self.precision, device=self.device, budget_gib=budget,
        )  # fmt: skip
        if isinstance(found, str):
            return [found]
        self.around_train, self.around_validation = found.around("train"), found.around("validation")
        return [found.decision]

    def _loop(self, at: Progressed, best: State, curve: Curve, store: Store) -> None:
        order: list[list[int]] = []
        self.module.train()
        with Progress(self.total, f"phase {self.index + 1} tune", at.step) as progress:
            while at.step < self.total and not at.ended:
                epoch, place = divmod(at.step, self.per_epoch)
                if place == 0 or not order:
                    order = self._order(epoch)
                loss = self._step(order[place], at)
                progress.step(loss)
                if at.step in self.evaluations:
                    score = self._evaluate(at, curve)
                    self.module.train()
                    self._judge(score, at, best)
                    progress.say(f"validation {score.accuracy:.1%}")
                if at.step % self.settings.checkpoint_every_steps == 0 or at.step == self.total or at.ended:
                    self._save(at, best, curve, store)
        self.module.eval()

    def _step(self, rows: Sequence[int], at: Progressed) -> float:
        """One optimizer step. Micro-batches are weighed by their rows: cutting them changes nothing but speed."""
        rate = schedule.factor(at.step, self.total, schedule=self.spec.schedule, warmup_share=self.spec.warmup_share)
        for group in self.optimizer.param_groups:
            group["lr"] = self.spec.learning_rate * group["multiplier"] * rate
        examples = self.data.train
        summed = 0.0
        by_length = sorted(rows, key=lambda row: -int(examples.lengths[row]))
        for index in batches.cut(by_length, examples.lengths, self.settings.batch_tokens):
            batch = {name: value.to(self.device) for name, value in self._collate(examples, index).items()}
            with self.accelerator.autocast(), self.around_train(index):
                outputs = self.task.outputs(self.module, batch)
            loss = self.task.loss(outputs.float(), batch).sum() / len(rows)
            self.accelerator.backward(loss)
            summed += float(loss.detach())
        if not math.isfinite(summed):
            raise ConfigError(
                f"the training loss is no finite number any more at step {at.step + 1}",
                where=f"train.phases[{self.index}].learning_rate",
                found=self.spec.learning_rate,
                fix="lower the learning rate",
            )
        self.accelerator.clip_grad_norm_(self._parameters(), self.spec.max_gradient_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        at.step += 1
        at.rows_seen += len(rows)
        at.loss_sum += summed
        at.loss_steps += 1
        return summed

    def _evaluate(self, at: Progressed, curve: Curve) -> Score:
        score = evaluate(self.task, self.built, self.data.validation, self.settings, self.around_validation)
        rate = schedule.factor(
            max(0, at.step - 1), self.total, schedule=self.spec.schedule, warmup_share=self.spec.warmup_share
        )
        train_loss = at.loss_sum / at.loss_steps if at.loss_steps else None
        at.loss_sum, at.loss_steps = 0.0, 0
        curve.add(
            CurveRow(
                step=self._offset(curve) + at.step,
                epoch=at.step / self.per_epoch,
                phase=self.index,
                train_loss=train_loss,
                validation_loss=score.loss,
                validation_accuracy=score.accuracy,
                learning_rate=self.spec.learning_rate * rate if at.step else 0.0,
            )
        )
        return score

    def _offset(self, curve: Curve) -> int:
        """Steps of earlier phases: the curve counts on through all of them."""
        return max((row.step for row in curve.rows if row.phase < self.index), default=0)

    def _judge(self, score: Score, at: Progressed, best: State) -> None:
        if score.beats(at.best):
            at.best, at.best_step, at.without_gain = score, at.step, 0
            best.clear()
            best.update(self._snapshot())
            return
        at.without_gain += 1
        if at.without_gain >= self.spec.patience and at.step < self.total:
            at.ended = f"ended early at step {at.step}: {at.without_gain} evaluations without a better validation score"

    def _result(self, at: Progressed) -> PhaseResult:
        parameters = dict(self.module.named_parameters())
        assert at.best is not None
        ended = at.ended or f"ran its {self.total} steps"
        best = f"best on validation at step {at.best_step}" + ("" if at.best_step else ", before any of them")
        return PhaseResult(
            kind="tune",
            steps=at.step,
            epochs=at.step / self.per_epoch,
            rows_seen=at.rows_seen,
            trainable=sum(parameters[name].numel() for name in self.plan.trainable),
            frozen=sum(parameters[name].numel() for name in self.plan.frozen),
            score=at.best,
            decisions=(*at.decisions, ended, best),
        )

    def _optimizer(self) -> torch.optim.AdamW:
        parameters = dict(self.module.named_parameters())
        groups = [
            {
                "params": [parameters[name] for name in group.names],
                "multiplier": group.multiplier,
                "weight_decay": self._decay(group),
            }
            for group in self.plan.groups
        ]
        # Held for the whole phase only: the freezing context sets requires_grad before the first step.
        return torch.optim.AdamW(groups, lr=self.spec.learning_rate, fused=True)

    def _decay(self, group: Group) -> float:
        if not group.decay:
            return 0.0
        return self.spec.weight_decay if group.weight_decay is None else group.weight_decay

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def _order(self, epoch: int) -> list[list[int]]:
        rng = generator(self.settings.seed, "order", self.index, epoch)
        return batches.epoch(self.data.train.lengths, self.settings.batch_rows, rng)

    def _collate(self, examples: Examples, index: Sequence[int]) -> dict[str, torch.Tensor]:
        return self.task.collate(self.built, examples, index)

    def _snapshot(self) -> State:
        return {name: value.detach().cpu().clone() for name, value in self.module.state_dict().items()}

    def _save(self, at: Progressed, best: State, curve: Curve, store: Store) -> None:
        tensors = {
            **checkpoint.pack("module", checkpoint.delta(self.module.state_dict(), store.initial)),
            **checkpoint.pack("best", checkpoint.delta(best, store.initial)),
            **checkpoint.pack("optimizer", checkpoint.optimizer_tensors(self.optimizer, self.names)),
            **checkpoint.pack("random", checkpoint.random_state()),
        }
        store.save(self._number(at), tensors, {"phase": self.index, "progress": at.as_json()}, curve)

    def _number(self, at: Progressed) -> int:
        return (self.index + 1) * 10_000_000 + at.step

    def _restore(self, tensors: State, initial: State) -> None:
        self.module.load_state_dict({**initial, **checkpoint.unpack("module", tensors)})
        checkpoint.set_optimizer(self.optimizer, self.names, checkpoint.unpack("optimizer", tensors))
        checkpoint.set_random_state(checkpoint.unpack("random", tensors))


def evaluate(task: Task, built: Built, examples: Examples, settings: Settings, around: Around = nowhere) -> Score:
    """Accuracy and mean loss over the validation rows. Args: around: see `finetide.engine.prefix`."""
    tokens, precision = settings.batch_tokens, settings.precision
    outputs = torch.from_numpy(predict(task, built, examples, batch_tokens=tokens, precision=precision, around=around))
    targets = {"targets": torch.from_numpy(np.asarray(examples.targets))}
    loss = task.loss(outputs, targets).double().mean()
    accuracy = (outputs.argmax(1) == targets["targets"]).double().mean()
    return Score(float(accuracy), float(loss))

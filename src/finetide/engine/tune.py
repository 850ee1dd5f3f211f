"""One tune phase: AdamW over the parameters that the layer policy leaves free, resumable at every checkpoint."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from finetide.engine import batches, checkpoint, overfit, packed, prefix, remembered, schedule
from finetide.engine.dropout import quick
from finetide.engine.inference import Around, nowhere, predict
from finetide.engine.precision import choose, choose_device
from finetide.engine.progress import Curve, Progress
from finetide.engine.specs import Data, PhaseResult, Score, Settings, TuneSpec, evaluation_steps, steps_per_epoch
from finetide.engine.tables import Tables
from finetide.errors import DivergedError, MachineError
from finetide.layers import lora
from finetide.layers.course import course
from finetide.layers.freeze import Held, compare, frozen, hashes, tensors_of
from finetide.layers.rules import Group
from finetide.seeding import derive, generator
from finetide.task import Built, Examples, Trainable

State = dict[str, torch.Tensor]


@dataclass
class Progressed:
    """Where a phase stands: everything besides weights, optimizer and random state that a resume needs.

    ``rates``: the sum of the steps' learning rates, as shares of the peak. ``batch_tokens``: of a micro-batch, once
    memory ran out; else None.
    """

    step: int = 0
    rows_seen: int = 0
    loss_sum: float = 0.0
    loss_steps: int = 0
    rates: float = 0.0
    batch_tokens: int | None = None
    without_gain: int = 0
    best_step: int = 0
    best: Score | None = None
    ended: str = ""
    decisions: list[str] = field(default_factory=list)
    watch: overfit.Watch = field(default_factory=overfit.Watch)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "best": asdict(self.best) if self.best else None}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Progressed:
        best = Score(**value["best"]) if value["best"] else None
        return cls(**{**value, "best": best, "watch": overfit.Watch(**value["watch"])})


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

    def __init__(
        self, task: Trainable, built: Built, data: Data, spec: TuneSpec, settings: Settings, index: int, phases: int,
        said: str = "",
    ) -> None:  # fmt: skip
        """Args: index: of this phase among all ``phases``. said: what the bar calls it; empty: by its kind."""
        self.task, self.built, self.data, self.spec = task, built, data, spec
        self.settings, self.index, self.phases, self.said = settings, index, phases, said
        self.device = choose_device()
        self.precision = choose(settings.precision, self.device)
        self.module = built.module.to(self.device)
        self.per_epoch = steps_per_epoch(len(data.train.ids), settings.batch_rows)
        self.total = spec.total_steps(self.per_epoch)
        where = f"train.phases[{index}].layers"
        self.course = course(spec.policy, self.module, self.total, where=where)
        self.adapted = lora.attach(self.module, self.course.plan, seed=derive(settings.seed, "adapters", index))
        self.course.adopt(self.adapted.plan)
        self.evaluations = evaluation_steps(self.total, self.per_epoch, spec.evaluations_per_epoch)
        mixed = "bf16" if self.precision.name == "bf16" else "no"
        self.accelerator = Accelerator(mixed_precision=mixed, cpu=self.device.type == "cpu")
        self.names: list[str] = []
        self.tables = Tables(task, built, data.train)
        self.optimizer = self._optimizer()
        self.width, self.packing = packed.decide(task, built, data.train, self._order(0), settings.packing)
        self.around_train: Around = nowhere
        self.around_validation: Around = nowhere
        self.memory = remembered.Memory(spec.remember)

    def run(
        self, curve: Curve, store: Store, resumed: tuple[State, dict[str, Any]] | None
    ) -> tuple[PhaseResult, State, dict[str, str]]:
        """Returns: the phase's result, the best weights seen (its first ones included), the proof of freezing.

        Adapters are merged into the weights and gone from the module by then.
        """
        at = Progressed()
        initially = tensors_of(self.module, self.course.first.frozen)
        before = hashes(self.module, initially)
        best: State = {}
        if resumed is not None:
            at, best = self._restore(*resumed, store.initial)
        with self.adapted, quick(self.module), frozen(self.module, self.course.plan.frozen) as held:
            lines = self._keep_prefix(held.proof)
            if resumed is None:
                torch.manual_seed(derive(self.settings.seed, "dropout", self.index))
                best.update(self._snapshot())
                number_format = f"{self.precision.name}: {self.precision.reason}"
                lines += [*self.packing, *(table.line for table in self.tables.active)]
                at.decisions = [*self.spec.decisions, *self.course.plan.lines, number_format, *lines]
                at.best = self._evaluate(at, curve)
                self.memory.add(at.step, at.best, lambda: dict(best))
                at.watch.look(curve.rows[-1], self.spec.overfit_gap, better=True)
            else:
                at.decisions += [line for line in lines if line not in at.decisions]  # another machine, a full disk
                checkpoint.set_random_state(checkpoint.unpack("random", resumed[0]))  # hooks and kept prefixes may draw
            self._loop(at, best, curve, store, held)
            proof = {name: digest for name, digest in held.proof.items() if name in initially}
            if self.adapted.beside:
                merged = len(self.adapted.beside)
                at.decisions.append(f"{merged} weights, frozen all along, have their adapters merged in")
            result = self._result(at, overfit.by_heart(self.data, curve.rows[-1]))
        compare({name: before[name] for name in proof}, proof)  # a checkpoint may not move what is frozen either
        named = {self.adapted.plain(name): digest for name, digest in proof.items()}
        # Proved until now, and other from here on: adapters are merged into those beside them.
        return result, best, {name: digest for name, digest in named.items() if name not in self.adapted.beside}

    def _keep_prefix(self, proof: Mapping[str, str]) -> list[str]:
        """Let passes start above the frozen blocks, where that pays. Returns: a line that says so, or why not."""
        self.around_train = self.around_validation = nowhere
        folder, budget = self.settings.prefix_cache, self.settings.prefix_cache_gib
        cut = prefix.find(self.module, self.course.plan.frozen)
        if cut is None or folder is None or budget == 0 or self.course.until - self.course.since <= self.per_epoch:
            return []  # nothing is frozen from the bottom up, or every row is seen once
        if self.task.draws(self.built):
            return ["no frozen prefix is kept: the inputs are drawn anew in every epoch"]
        found = prefix.prepare(
            self.task, self.built, cut, {"train": self.data.train, "validation": self.data.validation}, proof, folder,
            batch_tokens=self.settings.batch_tokens, precision=self.precision, device=self.device, budget_gib=budget,
        )  # fmt: skip
        if isinstance(found, str):
            return [found]
        self.around_train, self.around_validation = found.around("train"), found.around("validation")
        return [found.decision]

    def _replan(self, change: str, at: Progressed, held: Held) -> None:
        """The course has changed its plan: freeze and thaw, and let the optimizer hold what learns now.

        What goes on learning keeps its moments; what begins to learn begins without any.
        """
        if not change:
            return
        moments = checkpoint.optimizer_tensors(self.optimizer, self.names)
        held.change(self.course.plan.frozen)
        known = list(self.tables.active)
        self.optimizer = self._optimizer()
        checkpoint.set_optimizer(self.optimizer, self.names, moments)
        new = [table.line for table in self.tables.active if table not in known]
        at.decisions += [f"after step {at.step}: {change}", *self._keep_prefix(held.proof), *new]
        self.module.train()

    def _loop(self, at: Progressed, best: State, curve: Curve, store: Store, held: Held) -> None:
        order: list[list[int]] = []
        self.module.train()
        what = f"phase {self.index + 1} of {self.phases} {self.said or self.spec.kind}"
        with Progress(self.total, what, at.step, per_epoch=self.per_epoch) as progress:
            while at.step < self.total and not at.ended:
                self._replan(self.course.before(at.step), at, held)
                epoch, place = divmod(at.step, self.per_epoch)
                if place == 0 or not order:
                    order = self._order(epoch)
                loss = self._step(order[place], at)
                progress.step(loss)
                if at.step in self.evaluations:
                    score = self._evaluate(at, curve)
                    self.module.train()
                    self._judge(score, at, best, curve)
                    self._replan(self.course.after_evaluation(at.step, at.rates), at, held)
                    progress.say(f"validation {score.accuracy:.1%}")
                if at.step % self.settings.checkpoint_every_steps == 0 or at.step == self.total or at.ended:
                    self._save(at, best, curve, store)
        self.module.eval()

    def _step(self, rows: Sequence[int], at: Progressed) -> float:
        """One optimizer step. Micro-batches are weighed by their rows: cutting them changes nothing but speed."""
        rate = self._rate(at.step)
        for group in self.optimizer.param_groups:
            group["lr"] = self.spec.learning_rate * group["multiplier"] * rate
        summed = self._gradients(rows, at)
        if not math.isfinite(summed):
            raise DivergedError(
                f"the training loss is no finite number any more at step {at.step + 1}",
                where=f"train.phases[{self.index}].learning_rate",
                found=self.spec.learning_rate,
                fix="lower it; `finetide rate MODEL` shows where the loss falls fastest",
            )
        nn.utils.clip_grad_norm_(self._parameters(), self.spec.max_gradient_norm, foreach=True)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.tables.give()
        at.step += 1
        at.rates += rate
        at.rows_seen += len(rows)
        at.loss_sum += summed
        at.loss_steps += 1
        return summed

    def _gradients(self, rows: Sequence[int], at: Progressed) -> float:
        """Mean loss of the rows, their gradients added up. When memory runs out, in smaller micro-batches from here on.

        Raises: MachineError: not even one row fits.
        """
        longest = max(int(self.data.train.lengths[row]) for row in rows)
        while True:
            tokens = at.batch_tokens or self.settings.batch_tokens
            before = checkpoint.random_state()
            try:
                return self._micro_batches(rows, tokens, at.step)
            except torch.OutOfMemoryError as error:
                self.optimizer.zero_grad(set_to_none=True)
                checkpoint.set_random_state(before)
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                if tokens <= longest:
                    raise MachineError(
                        "out of memory with one row at a time", where="train.max_length", found=longest,
                        fix="lower it, freeze more layers, or choose a smaller base",
                    ) from error  # fmt: skip
                at.batch_tokens = max(longest, tokens // 2)
                said = f"out of memory at step {at.step + 1}: micro-batches of {at.batch_tokens} tokens from here on"
                at.decisions.append(f"{said}, not {tokens}; the steps are the same")
                print(said, file=sys.stderr, flush=True)

    def _micro_batches(self, rows: Sequence[int], tokens: int, step: int) -> float:
        examples = self.data.train
        summed = 0.0
        by_length = sorted(rows, key=lambda row: -int(examples.lengths[row]))
        width = self.width if self.around_train is nowhere else None  # what is kept of a prefix is kept by row
        for index in batches.cut(by_length, examples.lengths, tokens, packed=width is not None):
            seed = derive(self.settings.seed, "inputs", self.index, step)
            collated = self.task.collate(self.built, examples, index, seed=seed, width=width)
            batch = {name: value.to(self.device) for name, value in collated.items()}
            with self.accelerator.autocast(), self.tables.standing_in(), self.around_train(index):
                outputs = self.task.outputs(self.module, batch)
            losses = self.task.loss(outputs.float(), batch)
            if self.data.weights is not None:
                losses = losses * torch.from_numpy(self.data.weights[index]).to(losses)
            loss = losses.sum() / len(rows)
            self.accelerator.backward(loss)
            summed += float(loss.detach())
        return summed

    def _evaluate(self, at: Progressed, curve: Curve) -> Score:
        with self.adapted.merged():  # what is scored is what would be kept, to the bit
            measured = overfit.measure(
                self.task, self.built, self.data, self.settings, around_train=self.around_train,
                around_validation=self.around_validation,
            )  # fmt: skip
        rate = self._rate(max(0, at.step - 1))
        train_loss = at.loss_sum / at.loss_steps if at.loss_steps else None
        at.loss_sum, at.loss_steps = 0.0, 0
        curve.add(
            measured.row(
                step=self._offset(curve) + at.step,
                epoch=at.step / self.per_epoch,
                phase=self.index,
                train_loss=train_loss,
                learning_rate=self.spec.learning_rate * rate if at.step else 0.0,
            )
        )
        return measured.score

    def _offset(self, curve: Curve) -> int:
        """Steps of earlier phases: the curve counts on through all of them."""
        return max((row.step for row in curve.rows if row.phase < self.index), default=0)

    def _judge(self, score: Score, at: Progressed, best: State, curve: Curve) -> None:
        better = score.beats(at.best)
        why = at.watch.look(curve.rows[-1], self.spec.overfit_gap, better=better)
        if better:
            at.best, at.best_step, at.without_gain = score, at.step, 0
            best.clear()
            best.update(self._snapshot())
            self.memory.add(at.step, score, lambda: dict(best))
            return
        self.memory.add(at.step, score, self._snapshot)
        at.without_gain = 0 if at.watch.falling else at.without_gain + 1  # of few rows the best may be a chance
        if at.without_gain >= self.spec.patience and at.step < self.total:
            at.ended = f"ended early at step {at.step}: {at.without_gain} evaluations without a gain on validation"
        elif why and at.step < self.total:
            at.ended = f"ended early at step {at.step}: {why}"

    def _result(self, at: Progressed, watched: Sequence[str]) -> PhaseResult:
        parameters = dict(self.module.named_parameters())
        assert at.best is not None
        ended = at.ended or f"ran its {self.total} steps"
        best = f"best on validation at step {at.best_step}" + ("" if at.best_step else ", before any of them")
        return PhaseResult(
            kind=self.spec.kind,
            steps=at.step,
            epochs=at.step / self.per_epoch,
            rows_seen=at.rows_seen,
            trainable=sum(parameters[name].numel() for name in self.course.learned),
            frozen=sum(value.numel() for name, value in parameters.items() if name not in self.course.learned),
            score=at.best,
            decisions=(*at.decisions, *watched, ended, best),
        )

    def _optimizer(self) -> torch.optim.AdamW:
        """For the plan in force; ``names`` are its parameters, in the order of its groups."""
        self.names = list(self.course.plan.trainable)
        parameters = self.tables.learn(self.names)  # anew: the weights may be a checkpoint's now
        groups = [
            {
                "params": [parameters[name] for name in group.names],
                "multiplier": group.multiplier,
                "weight_decay": self._decay(group),
            }
            for group in self.course.plan.groups
        ]
        # Held for the whole phase only: the freezing context sets requires_grad before the first step.
        return torch.optim.AdamW(groups, lr=self.spec.learning_rate, fused=True)

    def _decay(self, group: Group) -> float:
        if not group.decay:
            return 0.0
        return self.spec.weight_decay if group.weight_decay is None else group.weight_decay

    def _rate(self, step: int) -> float:
        """Share of the phase's learning rate at a step, counted from 0."""
        return schedule.factor(step, self.total, schedule=self.spec.schedule, warmup_share=self.spec.warmup_share)

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def _order(self, epoch: int) -> list[list[int]]:
        rng = generator(self.settings.seed, "order", self.index, epoch)
        train = self.data.train
        return batches.epoch(train.lengths, self.settings.batch_rows, rng, groups=train.groups)

    def _snapshot(self) -> State:
        return self.adapted.weights()

    def _save(self, at: Progressed, best: State, curve: Curve, store: Store) -> None:
        tensors = {
            **checkpoint.pack("module", checkpoint.delta(self.adapted.state(), store.initial)),
            **checkpoint.pack("best", checkpoint.delta(best, store.initial)),
            **checkpoint.pack("optimizer", checkpoint.optimizer_tensors(self.optimizer, self.names)),
            **checkpoint.pack("random", checkpoint.random_state()),
        }
        held, course_state = self.course.state()
        tensors |= checkpoint.pack("course", checkpoint.delta(held, store.initial))
        tensors |= remembered.pack("soup", self.memory.best, store.initial)
        soup = remembered.told(self.memory.best)
        state = {"phase": self.index, "progress": at.as_json(), "course": course_state, "soup": soup}
        store.save(self._number(at), tensors, state, curve)

    def _number(self, at: Progressed) -> int:
        return (self.index + 1) * 10_000_000 + at.step

    def _restore(self, tensors: State, state: dict[str, Any], initial: State) -> tuple[Progressed, State]:
        """Weights, course and optimizer of a checkpoint. Returns: where it stands, and the best weights so far."""
        self.adapted.load({**initial, **checkpoint.unpack("module", tensors)})
        self.course.restore({**initial, **checkpoint.unpack("course", tensors)}, state["course"])
        self.optimizer = self._optimizer()
        checkpoint.set_optimizer(self.optimizer, self.names, checkpoint.unpack("optimizer", tensors))
        self.memory.best = remembered.unpack("soup", state["soup"], tensors, initial)
        return Progressed.from_json(state["progress"]), {**initial, **checkpoint.unpack("best", tensors)}


def evaluate(task: Trainable, built: Built, examples: Examples, settings: Settings, around: Around = nowhere) -> Score:
    """The task's metric and mean loss over the validation rows. Args: around: see `finetide.engine.prefix`."""
    tokens, precision = settings.batch_tokens, settings.precision
    outputs = torch.from_numpy(predict(task, built, examples, batch_tokens=tokens, precision=precision, around=around))
    return Score(*task.score(outputs, examples))

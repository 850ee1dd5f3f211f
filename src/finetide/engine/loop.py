"""Training as a list of phases; what is best on validation is kept, whichever phase it came from."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from finetide.engine import auto, checkpoint, overfit, probe, remembered, weigh
from finetide.engine.average import average, soup
from finetide.engine.inference import embed
from finetide.engine.precision import choose, choose_device
from finetide.engine.progress import Curve, say
from finetide.engine.specs import (
    AverageSpec,
    CurveRow,
    Data,
    PhaseResult,
    PhaseSpec,
    ProbeSpec,
    Score,
    Settings,
    SoupSpec,
    TuneSpec,
)
from finetide.engine.tune import Store, Tuner
from finetide.errors import DataError
from finetide.layers.policies import Named
from finetide.seeding import derive
from finetide.task import Built, Task

State = dict[str, torch.Tensor]
KEPT = "the adapted weights are kept"


@dataclass(frozen=True)
class Result:
    """``kept`` is the index of the phase whose weights ``built`` holds now. ``probe`` is the first probe phase's
    solution, None without one. ``proof``: tensors that were frozen in every phase of gradient descent → SHA-256, the
    same before and after."""

    phases: tuple[PhaseResult, ...]
    kept: int
    sentence: str
    probe: probe.Probe | None
    proof: dict[str, str]
    precision: str


@contextmanager
def _deterministic() -> Iterator[None]:
    """Only algorithms that give the same bits each time; an operation without one raises RuntimeError."""
    before = torch.are_deterministic_algorithms_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read by CUDA only, when it starts
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@_deterministic()
def train(
    task: Task,
    built: Built,
    data: Data,
    phases: Sequence[PhaseSpec],
    settings: Settings,
    curve: Curve,
    store: checkpoint.Checkpoints,
) -> Result:
    """Run the phases on ``built`` in place; it holds the best weights afterwards.

    A newer checkpoint in ``store`` is continued: its result is then byte-equal to an undisturbed run.

    Raises:
        DataError: no training or no validation rows. IntegrityError: a frozen tensor changed.
    """
    for name, examples in (("training", data.train), ("validation", data.validation)):
        if len(examples.ids) == 0:
            raise DataError(
                f"there are no labelled {name} rows", where="split", fix="see leakage.json and quality.json"
            )
    torch.manual_seed(derive(settings.seed, "training"))
    resumed = store.load()
    initial = _snapshot(built)
    done = _Done.of(resumed, initial, phases)
    done.precision = choose(settings.precision, choose_device()).name
    if resumed:
        curve.restore([CurveRow(**row) for row in resumed[1]["curve"]])
        print(f"resumed from a checkpoint with {len(done.results)} of {len(phases)} phases done", file=sys.stderr)
    state = done.state
    for index, spec in enumerate(phases):
        if index < len(done.results):
            continue
        if state is not None:
            built.module.load_state_dict(state)
        continued = resumed if resumed and resumed[1]["phase"] == index and "progress" in resumed[1] else None
        if isinstance(spec, ProbeSpec):
            result, state, found = _probe(task, built, data, spec, settings, curve, index)
            done.probe = done.probe or found
        elif isinstance(spec, AverageSpec):
            result, state = average(task, built, data, spec, settings, curve, done.states, index)
        elif isinstance(spec, SoupSpec):
            result, state = soup(task, built, data, spec, settings, curve, done.remembered[spec.of], index)
        elif spec.objective is not None:
            result, state, proof = _adapt(
                task, built, data, spec, settings, curve, index, len(phases), done.store(store, initial), initial,
                continued,
            )  # fmt: skip
            done.prove(proof)
        else:
            spec = _settled(task, built, data, spec, settings, index, len(phases), done)
            tuner = Tuner(task, built, data, spec, settings, index, len(phases))
            result, state, proof = tuner.run(curve, done.store(store, initial), continued)
            done.prove(proof)
            if spec.remember:
                done.remembered[index] = tuner.memory.best
        say(index, result, task.metric)
        done.take(index, result, state)
        done.save(index, curve, store, initial)
    assert done.best is not None
    built.module.load_state_dict(done.best)
    said = _sentence(done, task.metric)
    return Result(tuple(done.results), done.kept, said, done.probe, done.proof or {}, done.precision)


class _Done:
    """Finished phases, and the best weights among them. ``states``: what phases handed on that are averaged later.
    ``remembered``: checkpoints of phases of which a soup is made later. ``chosen``: what ``layers: auto`` came to, by
    phase."""

    def __init__(self, wanted: frozenset[int]) -> None:
        self.results: list[PhaseResult] = []
        self.wanted = wanted
        self.states: dict[int, State] = {}
        self.remembered: dict[int, list[remembered.Remembered]] = {}
        self.kept = 0
        self.best: State | None = None
        self.state: State | None = None
        self.probe: probe.Probe | None = None
        self.chosen: dict[str, str] = {}
        self.proof: dict[str, str] | None = None
        self.precision = "fp32"

    @classmethod
    def of(cls, resumed: tuple[State, dict[str, Any]] | None, initial: State, phases: Sequence[PhaseSpec]) -> _Done:
        done = cls(frozenset(place for spec in phases if isinstance(spec, AverageSpec) for place in spec.between))
        if resumed is None:
            return done
        tensors, carried = resumed[0], resumed[1]["done"]
        done.chosen = carried["chosen"]
        if not carried["results"]:
            return done
        for entry in carried["results"]:
            done.results.append(
                PhaseResult(**{**entry, "score": Score(**entry["score"]), "decisions": tuple(entry["decisions"])})
            )
        done.kept, done.proof = carried["kept"], carried["proof"]
        done.states = {
            int(place): {**initial, **checkpoint.unpack(f"state {place}", tensors)} for place in carried["states"]
        }
        done.remembered = {
            int(place): remembered.unpack(f"soup {place}", entries, tensors, initial)
            for place, entries in carried["remembered"].items()
        }
        if carried["candidate"]:
            done.best = {**initial, **checkpoint.unpack("done", tensors)}
        done.state = {**initial, **checkpoint.unpack("last", tensors)}
        if carried["probe"] is not None:
            arrays = checkpoint.unpack("probe", tensors)
            done.probe = probe.Probe(weight=arrays["weight"].numpy(), bias=arrays["bias"].numpy(), **carried["probe"])
        return done

    def take(self, index: int, result: PhaseResult, state: State) -> None:
        self.results.append(result)
        self.state = state
        if index in self.wanted:
            self.states[index] = state
        if result.kind == "adapt":  # its head is another, and its score no accuracy of labels
            return
        if self.best is None or result.score.beats(self.results[self.kept].score):
            self.best, self.kept = state, index

    def prove(self, proof: dict[str, str]) -> None:
        """What was frozen in this phase and in all before it stays proved."""
        self.proof = proof if self.proof is None else {name: self.proof[name] for name in self.proof if name in proof}

    def save(self, index: int, curve: Curve, checkpoints: checkpoint.Checkpoints, initial: State) -> None:
        """A checkpoint between phases."""
        tensors = checkpoint.pack("random", checkpoint.random_state())
        self.store(checkpoints, initial).save((index + 2) * 10_000_000, tensors, {"phase": index + 1}, curve)

    def store(self, checkpoints: checkpoint.Checkpoints, initial: State) -> Store:
        """What is finished, as every checkpoint from here on carries it."""
        tensors: State = {}
        if self.best is not None:
            tensors |= checkpoint.pack("done", checkpoint.delta(self.best, initial))
        for place, state in self.states.items():
            tensors |= checkpoint.pack(f"state {place}", checkpoint.delta(state, initial))
        for place, kept in self.remembered.items():
            tensors |= remembered.pack(f"soup {place}", kept, initial)
        if self.state is not None:
            tensors |= checkpoint.pack("last", checkpoint.delta(self.state, initial))
        found = None
        if self.probe is not None:
            arrays = {"weight": torch.from_numpy(self.probe.weight), "bias": torch.from_numpy(self.probe.bias)}
            tensors |= checkpoint.pack("probe", arrays)
            found = {name: value for name, value in asdict(self.probe).items() if name not in arrays}
        carried = {
            "results": [asdict(result) for result in self.results],
            "kept": self.kept,
            "candidate": self.best is not None,
            "states": sorted(self.states),
            "remembered": {str(place): remembered.told(kept) for place, kept in self.remembered.items()},
            "chosen": self.chosen,
            "proof": self.proof,
            "probe": found,
        }
        return Store(checkpoints, initial, tensors, {"done": carried})


def _snapshot(built: Built) -> State:
    return {name: value.detach().cpu().clone() for name, value in built.module.state_dict().items()}


def _probe(
    task: Task, built: Built, data: Data, spec: ProbeSpec, settings: Settings, curve: Curve, index: int
) -> tuple[PhaseResult, State, probe.Probe]:
    """Fit the head on the frozen rest, and put it in place."""
    features = [
        embed(
            task,
            built,
            examples,
            batch_tokens=settings.batch_tokens,
            cache=settings.feature_cache,
            precision=settings.precision,
        )
        for examples in (data.train, data.validation)
    ]
    labels = len(built.settings.labels)
    found = probe.fit(
        features[0],
        np.asarray(data.train.targets),
        (features[1], np.asarray(data.validation.targets)),
        labels=labels,
        strengths=spec.strengths,
        max_iterations=spec.max_iterations,
        weights=data.weights,
    )
    head = built.module.get_submodule("head")
    head.load_state_dict({"weight": torch.from_numpy(found.weight), "bias": torch.from_numpy(found.bias)})
    measured = overfit.measure(task, built, data, settings)
    step = curve.rows[-1].step if curve.rows else 0
    curve.add(measured.row(step=step, epoch=0.0, phase=index, train_loss=None, learning_rate=0.0))
    parameters = sum(parameter.numel() for parameter in built.module.parameters())
    trainable = sum(parameter.numel() for parameter in head.parameters())
    decisions = (
        f"l2 {found.l2:g} of {', '.join(f'{value:g}' for value in spec.strengths)} is best on validation"
        + _at_an_end(found.l2, spec.strengths),
        f"L-BFGS took {found.iterations} iterations",
    )
    result = PhaseResult(
        "probe", found.iterations, 0.0, 0, trainable, parameters - trainable, measured.score, decisions
    )
    return result, _snapshot(built), found


def _at_an_end(l2: float, strengths: Sequence[float]) -> str:
    """What to try next when the best strength is the largest or the smallest of several."""
    if len(set(strengths)) > 1 and l2 in (max(strengths), min(strengths)):
        return f"; none {'larger' if l2 == max(strengths) else 'smaller'} was tried"
    return ""


def _adapt(
    task: Task, built: Built, data: Data, spec: TuneSpec, settings: Settings, curve: Curve, index: int, phases: int,
    carried: Store, initial: State, continued: tuple[State, dict[str, Any]] | None,
) -> tuple[PhaseResult, State, dict[str, str]]:  # fmt: skip
    """Train the weights on another objective; the task's own head is left as it is."""
    assert spec.objective is not None
    found = data.inputs[spec.rows or ""]
    if not all(len(examples.ids) for examples in found):
        raise DataError(
            "there are no such rows to adapt to", where=f"train.phases[{index}].rows", found=spec.rows,
            fix="write rows: all, or leave the phase out until there are",
        )  # fmt: skip
    objective = task.objective(spec.objective)
    before = _snapshot(built)
    wrapped = objective.wrap(built, seed=derive(settings.seed, "adapt", index))
    start = {name: initial.get(name, value) for name, value in _snapshot(wrapped).items()}
    store = Store(carried.checkpoints, start, carried.carried, carried.carried_state)
    tuner = Tuner(objective, wrapped, Data(*found), spec, settings, index, phases)
    result, state, proof = tuner.run(curve, store, continued)
    wrapped.module.load_state_dict(state)
    if not spec.checked:
        return result, _snapshot(built), proof
    adapted = _snapshot(built)
    scores = []
    for known in (before, adapted):
        built.module.load_state_dict(known)
        scores.append(_probed(task, built, data, settings))
    better = scores[1].beats(scores[0])
    told = ", ".join(f"{score.accuracy:.1%} (loss {score.loss:.4f}) {when}" for score, when in
                     zip(scores, ("before", "after"), strict=True))  # fmt: skip
    line = f"a probe on validation, {told}: {KEPT if better else 'the weights before are kept'}"
    kept = adapted if better else before
    built.module.load_state_dict(kept)
    return replace(result, decisions=(*result.decisions, line)), kept, proof


def _probed(task: Task, built: Built, data: Data, settings: Settings) -> Score:
    """How well labels can be told from the features as they are."""
    sides = [
        embed(task, built, examples, batch_tokens=settings.batch_tokens, cache=None, precision=settings.precision)
        for examples in (data.train, data.validation)
    ]
    found = probe.fit(
        sides[0], np.asarray(data.train.targets), (sides[1], np.asarray(data.validation.targets)),
        labels=len(built.settings.labels), strengths=weigh.STRENGTHS, max_iterations=weigh.ITERATIONS,
    )  # fmt: skip
    return Score(found.accuracy, found.loss)


def _settled(
    task: Task, built: Built, data: Data, spec: TuneSpec, settings: Settings, index: int, phases: int, done: _Done
) -> TuneSpec:
    """The phase as it is, or with the layers that ``auto`` finds; a resumed one knows them already."""
    if not (isinstance(spec.policy, Named) and spec.policy.name == "auto"):
        return spec
    lines: list[str] = []
    if str(index) not in done.chosen:
        budget = int(spec.policy.value or 0)
        done.chosen[str(index)], lines = auto.arbitrate(task, built, data, spec, settings, index, phases, budget)
    return replace(auto.settle(spec, built.module, done.chosen[str(index)]), decisions=tuple(lines))


def _sentence(done: _Done, metric: str) -> str:
    best = done.results[done.kept]
    words = f"kept phase {done.kept + 1} ({best.kind}), validation {metric} {best.score.accuracy:.1%}"
    others = [
        f"phase {place + 1} ({result.kind}) had {result.score.accuracy:.1%}"
        if result.kind != "adapt"
        else f"phase {place + 1} (adapt) guessed {result.score.accuracy:.1%} of masked tokens"
        for place, result in enumerate(done.results)
        if place != done.kept
    ]
    return "; ".join([words, *others])

"""finetide tune: learning rate, depth and length of the last tune phase, by Optuna, scored on validation alone.

Each trial draws from a sampler that is seeded by the trial's number and sees the trials before it, so that a search
that was killed goes on as if it had not been. Trials that are behind the others halfway are pruned.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from tqdm import tqdm

from finetide.config.train import TunePhase
from finetide.contracts.search import Search, Tried
from finetide.engine.checkpoint import Unsaved
from finetide.engine.loop import train
from finetide.engine.progress import Unwritten
from finetide.engine.rates import RateTest, check_steps, find
from finetide.engine.specs import CurveRow, Data, PhaseSpec, ProbeSpec, TuneSpec
from finetide.errors import ConfigError, FinetideError
from finetide.files import canonical_json, sha256_bytes
from finetide.layers.policies import Named, Policy
from finetide.layers.structure import read
from finetide.report.words import percent
from finetide.seeding import derive
from finetide.stages.train import adapt_inputs, engine_settings, model_settings, phase_specs
from finetide.studies.bench import Bench, digest
from finetide.studies.fit import folder
from finetide.studies.work import alone
from finetide.task import Built, Task

AS_IT_IS = "as it is"
# Around the present rate, to both sides.
RATES = 8.0
# Trials at random before the sampler believes what it has seen, and before anything is pruned.
AT_RANDOM = 5
# The metric decides; between equals the lower loss, which no difference of the metric is worth less than.
TIE = 1e-6
SETTINGS = 3
Clock = Callable[[], float]


@dataclass(frozen=True)
class Space:
    """What is searched. ``policies``: title → policy; ``unit``: epochs or steps."""

    phase: int
    spec: TuneSpec
    policies: Mapping[str, Policy]
    unit: str

    @property
    def length(self) -> int:
        return self.spec.epochs or self.spec.steps or 1


def search(
    bench: Bench, trials: int, minutes: float | None, *, clock: Clock = time.monotonic, fit: Any = None
) -> Search:
    """Try settings until ``trials`` of them are finished, or no new one begins after ``minutes`` (of this call).

    Raises: ConfigError: there is no tune phase.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    task = bench.task
    specs = phase_specs(bench.params)
    with alone(bench.stage.root, bench.model):
        work = _Work(bench, task, specs, _space(bench, task, specs))
        study = _study(bench, work.space)
        _bury(study)
        started = clock()
        if not study.trials:
            present = {"learning_rate": work.space.spec.learning_rate, "layers": AS_IT_IS, "length": work.space.length}
            study.enqueue_trial(present)
        with tqdm(total=trials, initial=len(_ended(study)), desc=f"tune {bench.model}", unit="trial", file=sys.stderr,
                  disable=not sys.stderr.isatty()) as bar:  # fmt: skip
            while len(_ended(study)) < trials:
                if minutes is not None and clock() - started > minutes * 60 and _ended(study):
                    break
                _one(study, work, fit or work.fit)
                bar.update(1)
                _say(study, bool(bar.disable), trials)
        return _report(bench, work.space, study)


class _Work:
    """Runs one trial's phases in this process."""

    def __init__(self, bench: Bench, task: Task, specs: list[PhaseSpec], space: Space) -> None:
        self.bench, self.task, self.specs, self.space = bench, task, specs, space

    def fit(self, trial: optuna.Trial, spec: TuneSpec) -> tuple[float, float]:
        """Validation metric and loss of the best weights of all phases.

        Raises: optuna.TrialPruned when the trial is behind.
        """
        bench, task = self.bench, self.task
        built = build(bench, task)
        inputs = adapt_inputs(task, built, bench.rows, bench.params)
        data = Data(task.encode(built, bench.train), task.encode(built, bench.validation), inputs)
        specs = [spec if place == self.space.phase else one for place, one in enumerate(self.specs)]
        home = folder(bench.stage.root, bench.model) / "tune"
        settings = replace(
            engine_settings(bench.stage, bench.params), feature_cache=home / "features", prefix_cache=home / "prefix"
        )
        result = train(task, built, data, specs, settings, _Watched(trial, self.space.phase), Unsaved())
        best = result.phases[result.kept].score
        return best.accuracy, best.loss


class _Watched(Unwritten):
    """Reports every evaluation of the searched phase, and ends a trial that is behind."""

    def __init__(self, trial: optuna.Trial, phase: int) -> None:
        super().__init__()
        self.trial, self.phase, self.seen = trial, phase, 0

    def add(self, row: CurveRow) -> None:
        super().add(row)
        if row.phase != self.phase or row.step == 0:
            return
        self.seen += 1
        self.trial.report(row.validation_accuracy - TIE * row.validation_loss, self.seen)
        if self.trial.should_prune():
            raise optuna.TrialPruned(
                f"after epoch {row.epoch:.3g} at {percent(row.validation_accuracy)}, below the middle of the others"
            )


def build(bench: Bench, task: Task) -> Built:
    model = model_settings(bench.labels, bench.params)
    return task.build(bench.starts["base"], model, seed=derive(bench.seed, "build"))


def changes(bench: Bench, found: Search) -> dict[tuple[str | int, ...], Any]:
    """What the best trial changes in params.yaml; nothing when it is the one with the settings as they were."""
    if found.best == found.start:
        return {}
    best = found.trials[found.best]
    where: tuple[str | int, ...] = ("models", bench.model, "train", "phases", found.phase - 1)
    made: dict[tuple[str | int, ...], Any] = {
        (*where, "learning_rate"): float(f"{best.learning_rate:.3g}"),
        (*where, "duration", found.unit): best.length,
    }
    if best.layers != AS_IT_IS:
        name, _, value = best.layers.partition(": ")
        made[(*where, "layers")] = {name: int(value)} if value else name
    return made


def _space(bench: Bench, task: Task, specs: list[PhaseSpec]) -> Space:
    places = [place for place, phase in enumerate(bench.params.phases) if isinstance(phase, TunePhase)]
    if not places:
        raise ConfigError(
            "there is no phase of kind tune, and nothing else is searched",
            where=f"params.yaml: models.{bench.model}.train.phases", fix="add one; finetide explain train.phases",
        )  # fmt: skip
    spec = specs[places[-1]]
    assert isinstance(spec, TuneSpec)
    count = len(read(build(bench, task).module).blocks)
    depths = sorted({1, 2, math.ceil(count / 2)} & set(range(1, count)))
    policies: dict[str, Policy] = {AS_IT_IS: spec.policy}
    policies |= {f"last: {depth}": Named("last", depth) for depth in depths}
    policies["full"] = Named("full")
    return Space(places[-1], spec, policies, "epochs" if spec.epochs else "steps")


def _study(bench: Bench, space: Space) -> optuna.Study:
    """Kept by everything that decides a trial, beside what is searched."""
    everything = {
        "rows": [digest(bench.train), digest(bench.validation)],
        "unlabelled": digest(bench.rows),
        "train": bench.params.model_dump(mode="json", exclude={"replay", "checkpoint_every_steps"}),
        "policies": list(space.policies),
        "seed": bench.seed,
        "start": bench.weights["base"],
        "code": bench.code,
    }
    home = folder(bench.stage.root, bench.model) / "tune"
    home.mkdir(parents=True, exist_ok=True)
    name = sha256_bytes(canonical_json(everything))[:32]
    storage = JournalStorage(JournalFileBackend(str(home / f"{name}.journal")))
    pruner = optuna.pruners.MedianPruner(n_startup_trials=AT_RANDOM, n_warmup_steps=1)
    return optuna.create_study(
        storage=storage, study_name=bench.model, direction="maximize", pruner=pruner, load_if_exists=True
    )


def _bury(study: optuna.Study) -> None:
    """A trial that a kill cut off goes back to the head of the queue, with its own values."""
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        values = trial.system_attrs.get("fixed_params") or trial.params
        if len(values) == SETTINGS:  # else the sampler, which has the same seed, will draw the same again
            study.enqueue_trial(values)


def _ended(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials with a result, a failure of their own included; not those that a kill cut off."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state.is_finished() and (trial.state != optuna.trial.TrialState.FAIL or "said" in trial.user_attrs)
    ]


def _one(study: optuna.Study, work: _Work, fit: Any) -> None:
    space = work.space
    seed = derive(work.bench.seed, "tune", len(_ended(study))) % (1 << 32)
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=AT_RANDOM)
    trial = study.ask()
    rate = space.spec.learning_rate
    rate = trial.suggest_float("learning_rate", rate / RATES, rate * RATES, log=True)
    layers = trial.suggest_categorical("layers", list(space.policies))
    length = trial.suggest_int("length", max(1, space.length // 2), space.length * 2, log=True)
    spec = replace(space.spec, learning_rate=rate, policy=space.policies[layers])
    spec = replace(spec, epochs=length) if space.unit == "epochs" else replace(spec, steps=length)
    try:
        value, loss = fit(trial, spec)
    except optuna.TrialPruned as pruned:
        trial.set_user_attr("said", str(pruned))
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    except FinetideError as error:  # a rate that breaks the weights is an answer too
        trial.set_user_attr("said", error.what)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    else:
        trial.set_user_attr("value", value)
        trial.set_user_attr("loss", loss)
        study.tell(trial, value - TIE * loss)


def _say(study: optuna.Study, plain: bool, trials: int) -> None:
    ended = _ended(study)
    told = _tried(len(ended) - 1, ended[-1])
    how = percent(told.value) if told.value is not None else f"{told.state}, {told.said}"
    if plain:
        print(
            f"trial {len(ended)}/{trials}: rate {told.learning_rate:.2g}, layers {told.layers}, "
            f"length {told.length}: {how}",
            file=sys.stderr, flush=True,
        )  # fmt: skip


def _tried(number: int, trial: optuna.trial.FrozenTrial) -> Tried:
    states = {optuna.trial.TrialState.COMPLETE: "done", optuna.trial.TrialState.PRUNED: "pruned"}
    return Tried(
        number=number,
        learning_rate=trial.params["learning_rate"],
        layers=trial.params["layers"],
        length=trial.params["length"],
        state=states.get(trial.state, "failed"),
        value=trial.user_attrs.get("value"),
        loss=trial.user_attrs.get("loss"),
        said=trial.user_attrs.get("said", ""),
    )


def _report(bench: Bench, space: Space, study: optuna.Study) -> Search:
    trials = tuple(_tried(number, trial) for number, trial in enumerate(_ended(study)))
    scored = [(place, one) for place, one in enumerate(trials) if one.value is not None and one.loss is not None]
    if not scored:
        raise ConfigError(
            "no trial came to an end; the first one has the settings as they are",
            where=f"params.yaml: models.{bench.model}.train.phases[{space.phase}]",
            found=trials[0].said if trials else None, fix=f"run `finetide run {bench.model}` and mend what it says",
        )  # fmt: skip
    # The earlier one of equals, so that nothing is changed for nothing.
    best = max(scored, key=lambda item: ((item[1].value or 0.0) - TIE * (item[1].loss or 0.0), -item[0]))[0]
    start = next(
        (place for place, one in scored if one.layers == AS_IT_IS and one.length == space.length
         and math.isclose(one.learning_rate, space.spec.learning_rate)), best,
    )  # fmt: skip
    importance: dict[str, float] = {}
    if len(scored) >= AT_RANDOM:
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=derive(bench.seed, "importance") % (1 << 32))
        importance = dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
    return Search(
        model=bench.model,
        split_sha256=bench.split_sha256,
        metric=bench.task.metric,
        phase=space.phase + 1,
        unit=space.unit,
        validation_rows=len(bench.validation),
        trials=trials,
        start=start,
        best=best,
        importance=importance,
        sentence=sentence(
            trials[start], trials[best], len(trials), len(bench.validation), space.unit, bench.task.metric
        ),
    )


def sentence(start: Tried, best: Tried, count: int, rows: int, unit: str, metric: str) -> str:
    """What the search found, with how much of it may be the validation rows' choice. Args: metric: in words."""
    before, after = start.value or 0.0, best.value or 0.0
    if best == start:
        return (
            f"Of {count} trials none beats the settings as they are: an {metric} of {percent(before)} on {rows} "
            "validation rows."
        )
    # Of what lies between 0 and 1 no mean is less sure than a share of rows that are right.
    error = math.sqrt(max(before * (1 - before), 1e-9) / rows)
    words = (
        f"The best of {count} trials has an {metric} of {percent(after)} on {rows} validation rows, the settings as "
        f"they were {percent(before)}: rate {best.learning_rate:.2g}, layers {best.layers}, {best.length} {unit}"
    )
    if after - before < 2 * error:
        return f"{words}. The gain is less than two standard errors ({2 * error * 100:.1f} points): it may be chance."
    return f"{words}."


def rate_test(bench: Bench, steps: int) -> tuple[RateTest, float, int]:
    """A range test of the last tune phase, on the probe's head where there is a probe phase before it.

    Returns: the test, the phase's present rate, its number from 1.
    """
    check_steps(steps)
    task = bench.task
    specs = phase_specs(bench.params)
    space = _space(bench, task, specs)
    built = build(bench, task)
    data = Data(task.encode(built, bench.train), task.encode(built, bench.validation))
    settings = replace(engine_settings(bench.stage, bench.params), feature_cache=None, prefix_cache=None)
    before = [spec for spec in specs[: space.phase] if isinstance(spec, ProbeSpec)]
    if before:
        train(task, built, data, before[-1:], settings, Unwritten(), Unsaved())
    spec = space.spec
    if isinstance(spec.policy, Named) and spec.policy.name == "auto":  # which has no layers of its own yet
        spec = replace(spec, policy=Named("full"))
    test = find(task, built, data, spec, settings, space.phase, len(specs), steps=steps)
    return test, space.spec.learning_rate, space.phase + 1

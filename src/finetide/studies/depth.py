"""finetide layers: which layer policy with how many labels, and where tuning more layers overfits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from finetide.config.adapters import AdapterPolicy
from finetide.config.train import Auto, LayerPolicy, LearnParams, TunePhase
from finetide.contracts.study import FinishedRun, Method, Shallower, Study, StudyResult
from finetide.engine.auto import LORA_RATE, check_budget
from finetide.errors import ConfigError
from finetide.layers.course import course
from finetide.report.words import count, percent
from finetide.seeding import derive
from finetide.stages.train import layer_policy, model_settings
from finetide.studies.bench import Bench, Terms
from finetide.studies.describe import describe, over_runs, points, whole_role
from finetide.studies.fit import Job, finished
from finetide.studies.policies import OPTION
from finetide.studies.results import Runs, difference, result
from finetide.studies.subsets import subset
from finetide.studies.work import Finish, run_all

# Whether a policy fits a model does not depend on how long its phase is.
STEPS = 1000
# Where a family has no probe, the others are held against the policy that trains the same head on the frozen base.
HEAD: Literal["head"] = "head"
MADE = (
    "the model's own phases (params.yaml), from the base, each policy in its turn instead of the last tune phase's "
    f"layers; adapters learn at {LORA_RATE:g} times the rate of the others"
)


def measure(
    bench: Bench, policies: Mapping[str, LayerPolicy], shares: Sequence[float], seeds: int, finish: Finish = finished
) -> Study:
    """Args: policies: by name. shares: rising. seeds: repeats, each with its own choice of labels.

    Raises: ConfigError: there is no tune phase, or a policy does not fit the model.
    """
    has_probe = "probe" not in bench.kind.left_out
    if not has_probe and HEAD not in policies:
        policies = {HEAD: HEAD, **policies}
    anchor = None if has_probe else HEAD
    probe: list[tuple[Method, str | None]] = [("probe", None)] if has_probe else []
    ways = [*probe, *(("tuned", name) for name in policies)]
    jobs = [
        Job(method, share, rows, seed, name)
        for share in shares
        for seed in range(bench.seed, bench.seed + seeds)
        for rows in [subset(bench.train, share, seed)]
        for method, name in ways
    ]
    _check(bench, policies)
    benches = {name: replace(bench, params=with_policy(bench.params, layers)) for name, layers in policies.items()}

    def with_its_policy(at: Bench, job: Job) -> tuple[FinishedRun, bool]:
        return finish(at if job.policy is None else benches[job.policy], job)

    made = list(zip(jobs, run_all(bench, jobs, "layers", with_its_policy), strict=True))
    results: list[StudyResult] = []
    for share in shares:
        runs: dict[str | None, Runs] = {
            name: [(job.seed, run) for job, run in made if (job.policy, job.share) == (name, share)] for _, name in ways
        }
        tuned = [
            result(bench, "tuned", share, runs[name], () if name == anchor else runs[anchor], policy=name)
            for name in policies
        ]
        depths = [one for one in tuned if _has_depth(policies[str(one.policy)])]
        results += [_beside(bench, one, depths, runs) if one in depths else one for one in tuned]
        results += [result(bench, method, share, runs[None]) for method, _ in probe]
    return describe(
        bench, "layers", results, [run for _, run in made],
        yardstick=f"the {yardstick(results)} with the same {bench.terms.unit}", sentence=sentence(results, bench.terms),
        left_out={name: why for name, why in bench.kind.left_out.items() if name == "probe"}, made={"tuned": MADE},
    )  # fmt: skip


def with_policy(params: LearnParams, layers: LayerPolicy) -> LearnParams:
    """The settings with another policy in the last tune phase.

    Its rate suits adapters or other policies, as the one that it has; for the other kind it is derived from that.
    """
    phases = list(params.phases)
    place = _last_tune(params)
    own = phases[place]
    assert isinstance(own, TunePhase)
    steeper = isinstance(layers, AdapterPolicy) - isinstance(own.layers, AdapterPolicy)
    rate = own.learning_rate * LORA_RATE**steeper
    phases[place] = own.model_copy(update={"layers": layers, "learning_rate": rate})
    return params.model_copy(update={"phases": phases})


def _check(bench: Bench, policies: Mapping[str, LayerPolicy]) -> None:
    """Before anything is trained. Raises: ConfigError: there is no tune phase, or a policy does not fit the model."""
    if _last_tune(bench.params) < 0:
        raise ConfigError(
            "there is no phase of kind tune, whose layers could be varied",
            where=f"params.yaml: models.{bench.model}.train.phases", fix="add one; finetide explain train.phases",
        )  # fmt: skip
    settings = model_settings(bench.labels, bench.params)
    module = bench.task.build(bench.starts["base"], settings, seed=derive(bench.seed, "build")).module
    for name, layers in policies.items():
        if not isinstance(layers, Auto):
            course(layer_policy(layers), module, STEPS, where=OPTION)
        else:
            check_budget(module, layers.auto, OPTION, name)


def _last_tune(params: LearnParams) -> int:
    return max((place for place, phase in enumerate(params.phases) if isinstance(phase, TunePhase)), default=-1)


def _has_depth(layers: LayerPolicy) -> bool:
    """Adapters and ``bitfit`` reach every block, however few values learn: they are neither deep nor shallow."""
    return not isinstance(layers, AdapterPolicy) and layers != "bitfit"


def _beside(
    bench: Bench, one: StudyResult, others: Sequence[StudyResult], runs: Mapping[str | None, Runs]
) -> StudyResult:
    """The result, held against the best of those that tune less.

    Validation says which that is: chosen by the test rows, it would look too good on them.
    """
    fewer = [other for other in others if _learns(other) < _learns(one)]
    if not fewer:
        return one
    best = max(fewer, key=lambda other: (over_runs(other, "validation") or 0.0, -_learns(other)))
    assert best.policy is not None
    less = difference(bench, runs[one.policy], runs[best.policy])
    return one.model_copy(update={"shallower": Shallower(policy=best.policy, difference=less)})


def yardstick(results: Sequence[StudyResult]) -> str:
    """What the policies are held against, in a word."""
    return "probe" if any(one.method == "probe" for one in results) else HEAD


def sentence(results: Sequence[StudyResult], terms: Terms) -> str:
    """The best policy with the fewest and with the most labels, on all test rows; then where tuning more overfits."""
    role = whole_role(results[0].roles)
    tuned = [one for one in results if one.method == "tuned"]
    shares = [one.share for one in tuned]  # rising
    against = yardstick(results)
    best = [
        _best([one for one in tuned if one.share == share], role, terms, against)
        for share in dict.fromkeys((shares[0], shares[-1]))
    ]
    return " ".join([f"With {'; with '.join(best)}.", *_overfits(tuned, terms)])


def _overfits(tuned: Sequence[StudyResult], terms: Terms) -> list[str]:
    """Tuning more overfits where the gap is larger and the main metric lower than with the best of those that tune
    less, the metric beyond what the choice of test rows explains."""
    found: dict[bool, list[str]] = {True: [], False: []}
    for one in tuned:
        if one.shallower is None:
            continue
        name, less = one.shallower.policy, one.shallower.difference
        other = next(other for other in tuned if (other.share, other.policy) == (one.share, name))
        gap, its_gap = (over_runs(each, "gap") or 0.0 for each in (one, other))
        if less.value >= 0 or gap <= its_gap:
            continue
        assert less.high is not None
        found[less.high < 0].append(
            f"with {_labels(one, terms)}: {one.policy} ({points(less)} against {name}; gap {gap * 100:.1f} points, "
            f"that of {name} {its_gap * 100:.1f})"
        )
    if not any(one.shallower for one in tuned):
        return []
    if not any(found.values()):
        return [f"No policy has a larger gap and a lower {terms.name} than the best of those that tune less."]
    said = [f"Tuning more layers overfits {'; '.join(found[True])}."] if found[True] else []
    if found[False]:
        apart = "; ".join(found[False])
        said.append(f"A larger gap and a lower {terms.name}, but not told apart on these rows: {apart}.")
    return said


def _best(found: Sequence[StudyResult], role: str, terms: Terms, against: str) -> str:
    """Of equals the one that tunes least comes first."""
    ordered = sorted(found, key=lambda one: (-one.roles[role][terms.metric].value, _learns(one)))
    best = ordered[0]
    reached = best.roles[role][terms.metric].value
    ending = ""
    if best.against:
        gained = best.against[role]
        assert gained.low is not None
        assert gained.high is not None
        apart = "" if gained.low > 0 or gained.high < 0 else ": not told apart"
        ending = f" ({points(gained)} against the {against}{apart})"
    if len(found) == 1:
        return f"{_labels(best, terms)} {best.policy} has {percent(reached)}{ending}"
    equals = [str(one.policy) for one in ordered[1:] if one.roles[role][terms.metric].value == reached]
    too = f", which {' and '.join(equals)} reach{'es' if len(equals) == 1 else ''} too" if equals else ""
    return f"{_labels(best, terms)} {best.policy} is best with {percent(reached)}{too}{ending}"


def _learns(one: StudyResult) -> float:
    return over_runs(one, "trainable") or 0.0


def _labels(one: StudyResult, terms: Terms) -> str:
    return f"{'all ' if one.share == 1.0 else ''}{count(one.rows)} {terms.unit}"

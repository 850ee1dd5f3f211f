"""finetide curve: how good the model is with how many labels, and what the pre-training is worth in labels."""

from __future__ import annotations

from collections.abc import Sequence

from finetide.contracts.study import Method, Study, StudyResult
from finetide.report.words import count, percent
from finetide.studies.bench import Bench, Terms
from finetide.studies.describe import describe, points, whole_role
from finetide.studies.fit import Job, finished
from finetide.studies.methods import phases
from finetide.studies.results import Runs, result
from finetide.studies.subsets import subset
from finetide.studies.work import Finish, run_all

CURVES: tuple[Method, ...] = ("tuned", "probe", "scratch")
YARDSTICK = "from scratch with all training rows"


def measure(bench: Bench, shares: Sequence[float], seeds: int, finish: Finish = finished) -> Study:
    """Args: shares: rising; the whole is added. seeds: repeats, each with its own choice of labels."""
    all_shares = tuple(sorted({*shares, 1.0}))
    left_out: dict[Method, str] = {name: why for name, why in bench.kind.left_out.items() if name in CURVES}
    if not phases(bench.params, "scratch"):
        left_out["scratch"] = "there is no tune phase in params.yaml"
    methods = [method for method in CURVES if method not in left_out]
    jobs = [
        Job(method, share, subset(bench.train, share, seed), seed)
        for share in all_shares
        for seed in range(bench.seed, bench.seed + seeds)
        for method in methods
    ]
    shown = [Job("zero-shot", None, bench.train.head(0), bench.seed), *jobs]
    made = dict(zip([(job.method, job.share, job.seed) for job in shown], run_all(bench, shown, "curve", finish),
                    strict=True))  # fmt: skip

    def runs(method: Method, share: float | None) -> Runs:
        return [(seed, run) for (name, at, seed), run in made.items() if (name, at) == (method, share)]

    yardstick = runs("scratch", 1.0)
    results = [result(bench, "zero-shot", None, runs("zero-shot", None), yardstick)]
    for share in all_shares:
        for method in methods:
            same = (method, share) == ("scratch", 1.0)
            results.append(result(bench, method, share, runs(method, share), () if same else yardstick))
    return describe(
        bench, "curve", results, list(made.values()),
        yardstick=YARDSTICK if yardstick else "", sentence=sentence(results, bench.terms), left_out=left_out,
    )  # fmt: skip


def sentence(results: Sequence[StudyResult], terms: Terms) -> str:
    """What the numbers say of fine-tuning against training from scratch with all labels, on all test rows.

    Fine-tuning *reaches* it with n labels when with n labels and with every larger number that was tried its main
    metric is not below.
    """
    role = whole_role(results[0].roles)
    tuned = sorted((one for one in results if one.method == "tuned"), key=lambda one: one.rows)
    scratch = next((one for one in results if one.method == "scratch" and one.share == 1.0), None)
    whole = tuned[-1]
    if scratch is None:
        reached = f"an {terms.name} of {percent(whole.roles[role][terms.metric].value)}"
        return f"With all {count(whole.rows)} {terms.unit} fine-tuning reaches {reached}."
    goal = scratch.roles[role][terms.metric].value
    aim = f"the from-scratch {terms.name} of all {count(scratch.rows)} {terms.unit} ({percent(goal)})"
    fallen = next((run for run in scratch.runs if run.collapsed), None)
    doubt = f" From scratch, seed {fallen.seed} collapsed, so this says little: {fallen.collapsed}." if fallen else ""
    below = [index for index, one in enumerate(tuned) if one.roles[role][terms.metric].value < goal]
    first = below[-1] + 1 if below else 0
    if first == len(tuned):
        return f"Fine-tuning does not reach {aim}: all of them give {_with(whole, role, terms, ' (')}).{doubt}"
    found = tuned[first]
    which = "all of them" if found is whole else f"{count(found.rows)} {terms.unit}"
    words = f"Fine-tuning reaches {aim} with {which} ({_with(found, role, terms)})"
    if first == 0 and len(tuned) > 1:
        words += ", the fewest that were tried"
    return f"{words}.{doubt}"


def _with(one: StudyResult, role: str, terms: Terms, between: str = "; ") -> str:
    return f"{percent(one.roles[role][terms.metric].value)}{between}difference {points(one.against[role])}"

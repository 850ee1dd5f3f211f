"""finetide seeds: how much of how good a model is comes from its seed, and whether a seed collapsed."""

from __future__ import annotations

import statistics

from finetide.contracts.study import Study, StudyRun
from finetide.report.words import percent
from finetide.studies.bench import Bench, Terms
from finetide.studies.collapse import spread
from finetide.studies.describe import describe
from finetide.studies.fit import Job, finished
from finetide.studies.results import result
from finetide.studies.work import Finish, run_all


def measure(bench: Bench, seeds: int, finish: Finish = finished) -> Study:
    """The model's own training with its seed and the numbers after it, on the same rows."""
    jobs = [Job("tuned", None, bench.train, seed) for seed in range(bench.seed, bench.seed + seeds)]
    made = run_all(bench, jobs, "seeds", finish)
    found = result(bench, "tuned", None, [(job.seed, run) for job, run in zip(jobs, made, strict=True)])
    return describe(
        bench, "seeds", [found], made, yardstick="", sentence=sentence(found.runs, bench.terms), left_out={}
    )


def sentence(runs: tuple[StudyRun, ...], terms: Terms) -> str:
    values = [run.measures[terms.metric] for run in runs]
    words = (
        f"Over {len(runs)} seeds the {terms.name} is {percent(statistics.fmean(values))} on average, from "
        f"{percent(min(values))} to {percent(max(values))}, the standard deviation {spread(values) * 100:.2f} points"
    )
    fallen = [run for run in runs if run.collapsed]
    if not fallen:
        return f"{words}; none collapsed."
    named = "; ".join(f"seed {run.seed} collapsed: {run.collapsed}" for run in fallen)
    rest = [run.measures[terms.metric] for run in runs if not run.collapsed]
    if rest:
        them = "it" if len(fallen) == 1 else "them"
        named += f"; without {them} the average is {percent(statistics.fmean(rest))}"
    return f"{words}; {named}."

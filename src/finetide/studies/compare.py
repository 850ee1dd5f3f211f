"""finetide compare: the same rows, from different starts."""

from __future__ import annotations

from collections.abc import Sequence

from finetide.contracts.study import Method, Study, StudyResult
from finetide.report.words import ROLE_NAMES, percent
from finetide.studies.bench import Bench, Terms
from finetide.studies.describe import describe, points
from finetide.studies.fit import Job, finished
from finetide.studies.methods import NAMES, phases
from finetide.studies.results import Runs, result
from finetide.studies.work import Finish, run_all

METHODS: tuple[Method, ...] = ("tuned", "champion", "scratch", "probe", "zero-shot")


def measure(bench: Bench, seeds: int, finish: Finish = finished) -> Study:
    left_out: dict[Method, str] = dict(bench.kind.left_out)
    if "champion" not in bench.starts:
        left_out["champion"] = "the window pins no champion: this is the model's first training"
    if not phases(bench.params, "scratch"):
        left_out["scratch"] = "there is no tune phase in params.yaml"
    methods = [method for method in METHODS if method not in left_out]
    jobs = [
        Job(method, None, bench.train.head(0) if method == "zero-shot" else bench.train, seed)
        for method in methods
        for seed in range(bench.seed, bench.seed + (1 if method in ("zero-shot", "probe") else seeds))
    ]
    made = list(zip(jobs, run_all(bench, jobs, "compare", finish), strict=True))

    def runs(method: Method) -> Runs:
        return [(job.seed, run) for job, run in made if job.method == method]

    yardstick = runs("tuned")
    results = [result(bench, method, None, runs(method), () if method == "tuned" else yardstick) for method in methods]
    return describe(
        bench, "compare", results, [run for _, run in made],
        yardstick="fine-tuned from the base", sentence=sentence(results, bench.terms), left_out=left_out,
    )  # fmt: skip


def sentence(results: Sequence[StudyResult], terms: Terms) -> str:
    """Which starts differ from the base's beyond what the choice of test rows explains, on incoming rows if any."""
    tuned = next(one for one in results if one.method == "tuned")
    role = "incoming" if "incoming" in tuned.roles else next(iter(tuned.roles))
    said: dict[str, list[str]] = {"better": [], "worse": [], "not told apart": []}
    for one in results:
        if one is tuned:
            continue
        difference = one.against[role]
        assert difference.low is not None
        assert difference.high is not None
        verdict = "better" if difference.low > 0 else "worse" if difference.high < 0 else "not told apart"
        said[verdict].append(f"{NAMES[one.method]} ({points(difference)})")
    parts = [f"{verdict}: {', '.join(names)}" for verdict, names in said.items() if names]
    reached = f"an {terms.name} of {percent(tuned.roles[role][terms.metric].value)}"
    return f"On {ROLE_NAMES[role]} test rows fine-tuning from the base has {reached}. Against it, {'; '.join(parts)}."

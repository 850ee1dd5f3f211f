"""Runs the jobs of a study one after the other, with a bar; one study of a model at a time."""

from __future__ import annotations

import fcntl
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from finetide.contracts.study import FinishedRun
from finetide.errors import BusyError
from finetide.files import sweep
from finetide.studies.bench import Bench
from finetide.studies.fit import Job, finished, folder
from finetide.studies.methods import NAMES

Finish = Callable[[Bench, Job], tuple[FinishedRun, bool]]


def run_all(bench: Bench, jobs: Sequence[Job], what: str, finish: Finish = finished) -> list[FinishedRun]:
    """The runs in the order of ``jobs``; each is kept as soon as it is finished, so a kill loses the current one."""
    done = []
    with (
        alone(bench.stage.root, bench.model),
        tqdm(total=len(jobs), desc=f"{what} {bench.model}", unit="run", file=sys.stderr,
             disable=not sys.stderr.isatty()) as bar,
    ):  # fmt: skip
        for number, job in enumerate(jobs, start=1):
            name = f"{job.policy or NAMES[job.method]}, {len(job.rows)} {bench.terms.unit}, seed {job.seed}"
            bar.set_postfix_str(name)
            run, before = finish(bench, job)
            done.append(run)
            bar.update(1)
            if bar.disable:
                took = "kept from before" if before else f"{run.seconds:.1f} s"
                print(f"{what} {bench.model}: {number}/{len(jobs)}, {name}: {took}", file=sys.stderr, flush=True)
    return done


@contextmanager
def alone(root: Path, model: str) -> Iterator[None]:
    """Raises: BusyError when another study of this model is at work. The kernel frees the lock when its holder dies."""
    home = folder(root, model)
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(
                "another study of this model is at work", where=str(home / "lock"), fix="wait until it is done"
            ) from error
        sweep(home / "runs")
        shutil.rmtree(home / "unfinished", ignore_errors=True)  # of a study that was killed
        yield

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from finetide.data.table import write_rows
from support.rows import table

ROWS = 60_000
# Peak above that of 400 rows, as a multiple of the texts' bytes. At 60,000 rows what is held for some rows at a time is
# still large beside the texts; benchmarks/million_rows.py measures a million.
BOUNDS = {"validate": 12.0, "split": 8.0}
PROGRAM = """
import resource, sys
from pathlib import Path
from finetide.config.load import load_section
from finetide.config.split import SplitParams
from finetide.config.validate import ValidateParams
from finetide.data.leakage import check
from finetide.data.quality import assess
from finetide.data.split import assign, texts_of
from finetide.data.suites import default_suite
from finetide.data.table import read_rows

def validate(table):
    params = load_section(Path(sys.argv[2]), "models.tickets.validate", ValidateParams)
    assess(table, default_suite("text-classification"), params, count_tokens=lambda texts: [9] * len(texts),
           max_length=128, first_window=True)

def split(table):
    texts = texts_of(table)
    done = assign(table, texts, SplitParams(validation_percent=15.0, test_percent=20.0), 17)
    check(done, table["split"], texts)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

stage = {"validate": validate, "split": split}[sys.argv[1]]
few, many = map(Path, sys.argv[3:])
stage(read_rows(few))
before = peak()
many = read_rows(many)
stage(many)
print((peak() - before) / many["text"].str.len().sum())
"""


def written(path: Path, count: int) -> str:
    draw = random.Random(3)
    words = ["parcel", "lamp", "order", "refund", "invoice", "please", "broken", "late", "address", "thanks", "where"]
    texts = (f"{' '.join(draw.choices(words, k=9))} {draw.randrange(10**9):09d}" for _ in range(count))
    write_rows(table({"text": text, "label": "ab"[at % 2]} for at, text in enumerate(texts)), path)
    return str(path)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units elsewhere")
@pytest.mark.parametrize("stage", BOUNDS)
def test_memory_grows_with_the_texts_by_a_small_multiple(stage: str, tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    files = [written(tmp_path / f"{count}.parquet", count) for count in (400, ROWS)]
    command = [sys.executable, "-c", PROGRAM, stage, str(root), *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < BOUNDS[stage]

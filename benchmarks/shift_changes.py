"""Which test of the shift stage sees what: windows of which a part was changed in one way, and by which tests it shows.

    OMP_NUM_THREADS=1 python benchmarks/shift_changes.py --windows 20     # some minutes, the embedding among them

Reviews of sst2, and the digits of Dig-MNIST: 500 reference rows, 200 or 1,000 that arrive, of which a tenth or a half
was changed. A test has earned its place where it finds windows that the others do not find, or where it is the one that
tells a person what was done. Windows are drawn and judged as in shift_windows.py, seeds are fixed, and the tally is
written anew by each call: it is small.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter
from tqdm import tqdm

import shift_windows as windows
from finetide.seeding import derive, generator
from finetide.shift import pictures
from finetide.shift.sample import Sample
from shift_windows import ALPHA, REFERENCE, ROOT, SEED, WORK, Rows

TALLY, PAGE = ROOT / "benchmarks" / "results" / "shift_changes.jsonl", ROOT / "docs" / "benchmarks-shift-tests.md"
TEXTS, IMAGES = "sst2", "dig"
SIZES, SHARES = (200, 1000), (0.1, 0.5)
GREEK = str.maketrans("abdegiklmnoprstuz", "αβδεγικλμνοπρστυζ")
Array = np.ndarray[Any, Any]


def typos(text: str, rng: np.random.Generator) -> str:
    """Two letters of each third word change places."""
    words = text.split()
    for place in range(int(rng.integers(3)), len(words), 3):
        word = words[place]
        if len(word) > 3:
            at = int(rng.integers(1, len(word) - 2))
            words[place] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return " ".join(words)


def numbered(text: str, rng: np.random.Generator) -> str:
    return f"{text} no {rng.integers(10_000, 100_000)}"


def cut(text: str, rng: np.random.Generator) -> str:
    del rng
    words = text.split()
    return " ".join(words[: max(1, len(words) // 2)])


# What is done to a text → by which test a person would read it.
OF_TEXTS: dict[str, tuple[Callable[[str, np.random.Generator], str], str]] = {
    "letters changed places": (typos, "rare words"),
    "in capitals": (lambda text, _: text.upper(), "capitals"),
    "a number behind": (numbered, "digits"),
    "an exclamation mark behind": (lambda text, _: f"{text} !", "punctuation"),
    "cut in half": (cut, "words"),
    "in Greek letters": (lambda text, _: text.translate(GREEK), "other scripts"),
}
OF_IMAGES: dict[str, tuple[Callable[[Image.Image], Image.Image], str]] = {
    "darker by a quarter": (lambda image: ImageEnhance.Brightness(image).enhance(0.75), "brightness"),
    "flatter by a quarter": (lambda image: ImageEnhance.Contrast(image).enhance(0.75), "contrast"),
    "blurred": (lambda image: image.filter(ImageFilter.GaussianBlur(0.6)), "sharpness"),
    "smaller": (lambda image: image.resize((24, 24)), "size"),
    "narrower": (lambda image: image.resize((24, 28)), "shape"),
}
# The rows are those that are there: others of them come, or with other labels.
OF_ROWS = {"five times each": "duplicates", "of one label": "label frequencies", "wrong labels": "champion's accuracy"}
CHANGES = {**{name: told for name, (_, told) in (OF_TEXTS | OF_IMAGES).items()}, **OF_ROWS}


@cache
def changed(change: str) -> Rows:
    """All rows of the source, changed."""
    source = IMAGES if change in OF_IMAGES else TEXTS
    rows = windows.rows_of(source)
    if change not in OF_TEXTS and change not in OF_IMAGES:
        labels = rows.labels or []
        others = dict(zip(sorted(set(labels)), np.roll(sorted(set(labels)), 1).tolist(), strict=True))
        return rows if change != "wrong labels" else replace(rows, labels=[others[one] for one in labels])
    table = windows.read(source)
    rng = generator(SEED, "change", change)
    if source == IMAGES:
        table["bytes"] = [redrawn(one, OF_IMAGES[change][0]) for one in table["bytes"]]
    else:
        table["text"] = [OF_TEXTS[change][0](text, rng) for text in table["text"]]
    path = WORK / f"{source}-{change.replace(' ', '-')}.npy"
    if not path.exists():
        windows.embed_to(path, table)
    features = np.load(path, allow_pickle=False)
    if source == IMAGES:
        return Rows(None, rows.labels, features, pictures.figures(list(table["bytes"])))
    texts = list(table["text"])
    return Rows(texts, rows.labels, features, windows.unknown(texts))


def redrawn(data: Any, change: Callable[[Image.Image], Image.Image]) -> bytes:
    stream = io.BytesIO()
    change(Image.open(io.BytesIO(bytes(data))).convert("L")).save(stream, format="PNG")
    return stream.getvalue()


def window(change: str, size: int, share: float, number: int) -> Sample:
    """No row is on both sides, nor both changed and unchanged."""
    source = IMAGES if change in OF_IMAGES else TEXTS
    rng = generator(SEED, "changes", change, size, str(share), number)
    free = rng.permutation(windows.free_rows(source))
    reference, rest = free[:REFERENCE], free[REFERENCE:]
    moved = round(share * size)
    own, pool = rest[: size - moved], rest[size - moved :]
    if change == "five times each":
        pool = np.repeat(pool[: -(-moved // 5)], 5)
    elif change == "of one label":
        labels = np.asarray(windows.rows_of(source).labels)
        pool = pool[labels[pool] == min(labels)]
    return windows.sample(source, own, reference, changed(change), pool[:moved])


def tally(number: int) -> list[dict[str, Any]]:
    keys = [(name, size, share, one) for name in CHANGES for size in SIZES for share in SHARES for one in range(number)]
    found = []
    for key in tqdm(keys, unit="window"):
        drawn = window(*key)
        found.append({"key": key, **windows.ours(drawn, derive(SEED, *map(str, key)))})
    return found


def page(found: Sequence[dict[str, Any]]) -> str:
    return (
        "# Which test of the shift stage sees what\n\n"
        "Written by `benchmarks/shift_changes.py`, which says what is changed and how, "
        f"{time.strftime('%Y-%m-%d')}: reviews of sst2 and digits of Dig-MNIST against {REFERENCE} reference rows, α = "
        f"{ALPHA:.0%}. Share of windows in which a change is found: by the test that a person would read it from, by "
        "the test that finds most, by all together, and by all but the first.\n\n"
        f"{tables(found)}\n"
    )


def tables(found: Sequence[dict[str, Any]]) -> str:
    out = [
        "| change | rows | changed | windows | read from | it finds | finds most | all find | all but the first find |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    cells = defaultdict(list)
    for one in found:
        cells[tuple(one["key"][:3])].append(one)
    for (change, size, share), here in cells.items():
        told = CHANGES[change]
        names = sorted({name for one in here for name in one["alone"]})
        rates = {name: np.mean([one["alone"].get(name, 1.0) < ALPHA for one in here]) for name in names}
        most = max(rates, key=lambda name: rates[name])
        every = np.mean([one["p"] < ALPHA for one in here])
        without = np.mean([one["without"].get(told, one["p"]) < ALPHA for one in here])
        out.append(
            f"| {change} | {size} | {share:.0%} | {len(here)} | {told} | {rates.get(told, 0.0):.0%} "
            f"| {most}, {rates[most]:.0%} | {every:.0%} | {without:.0%} |"
        )
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=20, help="windows a cell")
    given = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    found = tally(given.windows)
    TALLY.write_text("".join(json.dumps(one) + "\n" for one in found), encoding="utf-8")
    PAGE.write_text(page(found), encoding="utf-8")
    print(tables(found))


if __name__ == "__main__":
    main()

"""The recipe of the shift stage against plain fine-tuning on the incoming labels, both from the same champion.

    python benchmarks/adaptation.py --seeds 3 --sizes 50,200,0            # 0: all; measure first what a cell takes
    python benchmarks/adaptation.py --seeds 3 --sizes 50,200,0 --head     # the head alone, on frozen features: minutes
    python benchmarks/adaptation.py --tables                              # only write the page of what was tallied

Pairs: Amazon reviews of books → of kitchen goods; sst2 → the three UCI sets; digits of Kannada-MNIST → of Dig-MNIST,
other hands and another scanner, with a small network that no other images have trained. For each pair and seed a
champion is trained on reference rows alone. Of the incoming rows ``--sizes`` are labelled; the rest is there without
labels, as rows are that have just arrived. Plain: the phases of params.yaml on the labelled incoming rows. Recipe: the
shift stage and the train stage as they are. Both are scored on the same test rows of either side, which no stage sees.

Each cell is a line of the tally (JSON), flushed when it is done: a later call goes on where the last one ended.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from finetide import tasks
from finetide.config.stage import Stage
from finetide.contracts.bundle import BundleInfo, Manifest
from finetide.contracts.gate import GateRecord
from finetide.contracts.shift import Recipe, ShiftVerdict
from finetide.contracts.training import TrainingReport
from finetide.contracts.window import ChampionPin, Window
from finetide.data.payload import Store, Stored
from finetide.engine.inference import predict
from finetide.files import read_json, sha256_file, tree_hashes
from finetide.metrics.calibration import fit_temperature
from finetide.pipeline import dvc
from finetide.seeding import generator
from finetide.stages import shift, train
from finetide.task import Built, ModelSettings
from tallies import lines

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
WORK = ROOT / ".finetide" / "bench" / "adaptation"
TALLY, PAGE = ROOT / "benchmarks" / "results" / "adaptation.jsonl", ROOT / "docs" / "benchmarks-adaptation.md"
MODEL, SEED = "tickets", 20_262
ROLES = ("reference", "incoming")
TEXTS, IMAGES = "text-classification", "image-classification"
SIDE, DIGITS = 32, "kannada → dig"
# Of an image network that begins with nothing: epochs for one of a text model, and their rate.
LONGER, RATE = 10, 1e-3
PAIRS: dict[str, tuple[str, str]] = {
    "books → kitchen": ("amazon_books_to_kitchen/books.csv", "amazon_books_to_kitchen/kitchen.csv"),
    "sst2 → UCI": ("sst2/sst2.csv", "uci_sentiment_sentences/uci_sentences.csv"),
    DIGITS: ("kannada_mnist_to_dig_mnist/source_kannada_test", "kannada_mnist_to_dig_mnist/target_dig"),
}
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Scale:
    """Rows a side: training (reference) or arrived (incoming), held-out validation of the reference, test."""

    rows: int
    held: int
    test: int
    length: int
    epochs: int
    head: bool


def task_of(pair: str) -> str:
    return IMAGES if pair == DIGITS else TEXTS


def contents(pair: str, role: str) -> pd.DataFrame:
    """Everything that may be drawn: the columns of a row's content, and ``label``."""
    if task_of(pair) == TEXTS:
        found = pd.read_csv(SHARED / "text_cls" / PAIRS[pair][ROLES.index(role)], keep_default_na=False)
        return found[["text", "label"]].astype({"label": str}).drop_duplicates("text").reset_index(drop=True)
    made = images(pair)
    rows = pd.read_parquet(Stage.open(made, "split", IMAGES_MODEL).out("split.parquet"))
    return rows[rows["role"] == role].drop_duplicates("digest").reset_index(drop=True)


IMAGES_MODEL = "digits"


def images(pair: str) -> Path:
    """A project with the images of both sides, as ``finetide init`` and the stages up to split leave it; made once."""
    home = WORK / "images" / IMAGES_MODEL
    if not (home / "done").exists():
        shutil.rmtree(home.parent, ignore_errors=True)
        home.parent.mkdir(parents=True)
        sides = [
            word
            for role, name in zip(ROLES, PAIRS[pair], strict=True)
            for kind in ("images-idx3", "labels-idx1")
            for word in (f"--{role}", str(SHARED / "image_cls" / f"{name}-{kind}-ubyte.gz"))
        ]
        subprocess.run(["git", "init", "--quiet"], cwd=home.parent, check=True)  # the checkout's ignores this folder
        finetide("base", "blank", "--architecture", "resnet", "--side", str(SIDE), "--channels", "1")
        finetide("init", IMAGES_MODEL, "--task", IMAGES, "--name", IMAGES_MODEL, *sides, "--base", "blank",
                 "--from-scratch")  # fmt: skip
        dvc.checked(home, ["repro", "--quiet", f"split@{IMAGES_MODEL}"])
        (home / "done").touch()
    return home


def finetide(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "finetide", *words], cwd=WORK / "images", check=True, stdout=sys.stderr)


def table(pair: str, seed: int, size: int, scale: Scale) -> pd.DataFrame:
    """The rows as split leaves them; the same test rows whatever the size."""
    parts = []
    for role in ROLES:
        found = contents(pair, role)
        drawn = generator(SEED, pair, role, seed).permutation(len(found))
        arrived = scale.rows + scale.held
        chosen = found.iloc[drawn[: arrived + scale.test]].reset_index(drop=True)
        place = np.arange(len(chosen))
        if role == "reference":
            split = np.where(place < scale.rows, "train", np.where(place < arrived, "validation", "test"))
            told = np.ones(len(chosen), dtype=bool)
        else:
            # Of the labelled ones a fifth validates; those without labels are split alike.
            split = np.where(place >= arrived, "test", np.where(place % 5 == 4, "validation", "train"))
            told = (place < (size or arrived)) | (split == "test")
        name = f"{role}.csv"
        parts.append(
            chosen.assign(
                row_id=[f"{name}:{number + 2}" for number in place],
                role=role,
                file=name,
                line=place + 2,
                label=np.where(told, chosen["label"].astype(str), None),
                split=split,
                group=None,
            )
        )
    return pd.concat(parts, ignore_index=True)


def project(pair: str, folder: Path, rows: pd.DataFrame, scale: Scale) -> Path:
    """A project as the stages before shift leave it, without DVC."""
    folder.mkdir(parents=True, exist_ok=True)
    source = ROOT if task_of(pair) == TEXTS else images(pair)
    shutil.copy(source / "dvc.yaml", folder / "dvc.yaml")
    yaml = YAML()
    document = yaml.load((source / "params.yaml").read_text(encoding="utf-8"))
    model = document["models"].pop(MODEL if source == ROOT else IMAGES_MODEL)
    document["models"] = {MODEL: model}
    if source != ROOT:
        text = (folder / "dvc.yaml").read_text(encoding="utf-8")
        (folder / "dvc.yaml").write_text(text.replace(f"- {IMAGES_MODEL}\n", f"- {MODEL}\n"), encoding="utf-8")
        model["base"]["source"] = f"path:{source.parent / 'blank'}"
    length = scale.length if source == ROOT else SIDE
    model["train"].update(start="champion", max_length=length, recipe="auto")
    model["shift"].update(max_rows=400)
    if source == ROOT:
        model["shift"]["recipe"].update(adapt_min_rows=10**7)  # passes over the texts are not measured here
    probe, tune = ([None, *model["train"]["phases"]])[-2:]
    tune["duration"].update(epochs=scale.epochs * (1 if source == ROOT else LONGER), steps=None)
    if source != ROOT:
        tune.update(learning_rate=RATE)
    model["train"]["phases"] = [probe] if scale.head else [tune]
    stream = StringIO()
    yaml.dump(document, stream)
    (folder / "params.yaml").write_text(stream.getvalue(), encoding="utf-8")
    (folder / "finetide.lock").write_text(json.dumps({"stages": {MODEL: {"train": {"code": "bench"}}}}))
    rows.to_parquet(dep(folder, "split.parquet"))
    store = dep(folder, "payload.bin")
    if source == ROOT:
        store.write_bytes(b"")
    else:
        shutil.copy(Stage.open(source, "train", IMAGES_MODEL).dep("payload.bin"), store)
    GateRecord().write(dep(folder, "gate.json"))
    return folder


def dep(folder: Path, name: str) -> Path:
    path = folder / Stage.open(folder, "train", MODEL).files.deps[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def champion_of(pair: str, seed: int, scale: Scale) -> Path:
    """Weights trained on reference rows alone, once a pair and seed; with its temperature beside them."""
    kind = "head" if scale.head else scale.epochs
    home = WORK / "champions" / f"{list(PAIRS).index(pair)}-{seed}-{kind}-{scale.rows}-{scale.length}"
    if (home / "weights.json").is_file():
        return home
    rows = table(pair, seed, 0, scale)
    folder = project(pair, home / "project", rows[rows["role"] == "reference"].reset_index(drop=True), scale)
    Window(model=MODEL, start="base", champion=None, files=()).write(dep(folder, "window.json"))
    Recipe(verdict="none", replay=1.0, reason="").write(dep(folder, "recipe.json"))
    stage = Stage.open(folder, "train", MODEL)
    train.run(stage)
    shutil.rmtree(home / "weights", ignore_errors=True)
    shutil.copytree(stage.out("model"), home / "weights")
    task, built = loaded(pair, home / "weights", scale)
    rows = stored(pair, rows)
    held = rows[(rows["role"] == "reference") & (rows["split"] == "validation")].reset_index(drop=True)
    examples = task.encode(built, held)
    logits = predict(task, built, examples, batch_tokens=4096).astype(np.float64)
    (home / "bundle").mkdir(exist_ok=True)
    BundleInfo(
        model=MODEL, task=task.name, labels=built.settings.labels, inputs=("input_ids", "attention_mask"),
        max_length=built.settings.max_length, pad_token_id=0,
        temperature=fit_temperature(logits, np.asarray(examples.targets)),
        default_graph="model.onnx", machine="bench",
    ).write(home / "bundle" / "bundle.json")  # fmt: skip
    Manifest(files=tree_hashes(home / "weights"), lineage={}).write(home / "weights.json")
    shutil.rmtree(home / "project")
    return home


def loaded(pair: str, folder: Path, scale: Scale) -> tuple[Any, Built]:
    """The family and the weights."""
    labels, task = tuple(read_json(folder / "labels.json")), tasks.load(task_of(pair))
    length = scale.length if task.name == TEXTS else SIDE
    return task, task.build(folder, ModelSettings(labels, length, "mean", 0.0), seed=1)


def stored(pair: str, rows: pd.DataFrame) -> pd.DataFrame:
    """With the images' bytes, where the rows are images."""
    if task_of(pair) == TEXTS:
        return rows
    store = Store(Stage.open(images(pair), "train", IMAGES_MODEL).dep("payload.bin"))
    places = zip(rows["start"].tolist(), rows["size"].tolist(), strict=True)
    found: list[Any] = [Stored(store, start, size) for start, size in places]
    return rows.assign(bytes=pd.Series(found, index=rows.index, dtype=object))


def cell(pair: str, size: int, seed: int, method: str, scale: Scale) -> dict[str, Any]:
    """One training, and what it does on the test rows of either side."""
    home = champion_of(pair, seed, scale)
    rows = table(pair, seed, size, scale)
    folder = WORK / "cell"
    shutil.rmtree(folder, ignore_errors=True)
    # Nobody sees the test rows, inputs or labels: the shift stage counts all rows that it is given.
    known = rows[rows["split"] != "test"]
    # Plain training knows nothing of the reference, its validation rows included.
    known = known[known["role"] == "incoming"] if method == "plain" else known
    project(pair, folder, known.reset_index(drop=True), scale)
    pin = ChampionPin(version="v1", hash=sha256_file(home / "weights.json"))
    Window(model=MODEL, start="champion", champion=pin, files=()).write(dep(folder, "window.json"))
    shutil.copytree(home, folder / "serving" / MODEL / pin.hash)
    verdict = advice = None
    if method == "recipe":
        (task, built), info = loaded(pair, home / "weights", scale), BundleInfo.read(home / "bundle" / "bundle.json")
        asked = shift.pinned
        try:
            shift.pinned = lambda *_: as_predictor(task, built, info)  # type: ignore[assignment]
            stage = Stage.open(folder, "shift", MODEL)
            shift.run(stage)
        finally:
            shift.pinned = asked
        verdict, advice = ShiftVerdict.read(stage.out("shift.json")), Recipe.read(stage.out("recipe.json"))
    else:
        Recipe(verdict="adapt", replay=0.0, reason="plain").write(dep(folder, "recipe.json"))
    stage = Stage.open(folder, "train", MODEL)
    if method == "champion":
        report, model = None, home / "weights"
    else:
        train.run(stage)
        report, model = TrainingReport.read(stage.out("training.json")), stage.out("model")
    return {
        "key": [pair, size, seed, method],
        "scale": asdict(scale),
        "verdict": None if verdict is None else [verdict.verdict, *verdict.causes],
        "said": None if verdict is None else verdict.sentence,
        "advice": None if advice is None else advice.reason,
        "followed": [] if report is None else [[one.kind, one.kept, one.said] for one in report.followed],
        "forgetting": report.forgetting.said if report and report.forgetting else None,
        **{role: right(pair, model, rows[(rows["role"] == role) & (rows["split"] == "test")], scale) for role in ROLES},
    }


def as_predictor(task: Any, built: Built, info: BundleInfo) -> Any:
    """The champion as the shift stage asks it, by torch: it needs no ONNX file for that."""

    def logits(rows: pd.DataFrame) -> Array:
        return predict(task, built, task.encode(built, rows.assign(label=None)), batch_tokens=4096)

    inputs = SimpleNamespace(values=lambda rows: rows)
    return SimpleNamespace(labels=built.settings.labels, info=info, inputs=inputs, logits=logits)


def right(pair: str, folder: Path, test: pd.DataFrame, scale: Scale) -> str:
    """One sign a test row: 1 where the model is right."""
    task, built = loaded(pair, folder, scale)
    examples = task.encode(built, stored(pair, test.reset_index(drop=True)))
    found = predict(task, built, examples, batch_tokens=4096).argmax(axis=1) == np.asarray(examples.targets)
    return "".join("01"[int(one)] for one in found)


def tally(path: Path, seeds: int, sizes: Sequence[int], scale: Scale) -> None:
    """Add the cells that the tally lacks, seed by seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = {tuple(line["key"]) for line in lines(path)}
    with path.open("a", encoding="utf-8") as stream:
        for seed in range(seeds):
            for size in sizes:
                for pair in PAIRS:
                    for method in ("champion", "plain", "recipe"):
                        if (pair, size, seed, method) not in done:
                            stream.write(json.dumps(cell(pair, size, seed, method, scale), ensure_ascii=False) + "\n")
                            stream.flush()


def page(found: Sequence[dict[str, Any]]) -> str:
    scale = Scale(**found[0]["scale"])
    dates = time.strftime("until %Y-%m-%d")
    return (
        "# The recipe against plain fine-tuning\n\n"
        "Written by `benchmarks/adaptation.py`, which says what is compared and how, "
        f"{dates}. {scale.rows} reference rows train the champion; {scale.rows + scale.held} rows arrive; {scale.test} "
        f"test rows a side and seed; texts of {scale.length} tokens, {scale.epochs} epochs. 95 % intervals, paired "
        "over the test rows of all seeds: they say what other test rows would give, nothing of how trainings differ "
        "from the next. Plain training sees no reference row; where the advice came to nothing, the recipe is the mix "
        "with the reference alone.\n\n"
        f"{tables(found)}\n\n## What the shift stage said with the first seed\n\n{verdicts(found)}\n"
    )


def tables(found: Sequence[dict[str, Any]]) -> str:
    """Accuracy of each way, and the difference of the recipe from plain fine-tuning."""
    out = [
        "| pair | labels | seeds | side | champion | plain | recipe | recipe − plain, points |",
        "|---|---|---|---|---|---|---|---|"
    ]  # fmt: skip
    cells: dict[tuple[str, int], dict[str, dict[int, dict[str, Any]]]] = defaultdict(lambda: defaultdict(dict))
    for one in found:
        pair, size, seed, method = one["key"]
        cells[pair, size][method][seed] = one
    pooled: dict[tuple[int, str], list[Array]] = defaultdict(list)
    for (pair, size), ways in sorted(cells.items(), key=lambda item: (item[0][0], item[0][1] or 10**9)):
        seeds = sorted(set(ways["plain"]) & set(ways["recipe"]) & set(ways["champion"]))
        if not seeds:
            continue
        for role in ("incoming", "reference"):
            scores = {name: _signs("".join(ways[name][seed][role] for seed in seeds)) for name in ways}
            difference = scores["recipe"] - scores["plain"]
            pooled[size, role].append(difference)
            shares = " | ".join(f"{scores[name].mean():.1%}" for name in ("champion", "plain", "recipe"))
            out.append(f"| {pair} | {size or 'all'} | {len(seeds)} | {role} | {shares} | {_interval(difference)} |")
    for (size, role), parts in sorted(pooled.items(), key=lambda item: item[0][0] or 10**9):
        out.append(f"| all {len(parts)} | {size or 'all'} | | {role} | | | | {_interval(np.concatenate(parts))} |")
    return "\n".join(out)


def _interval(difference: Array) -> str:
    mean, error = difference.mean(), 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))
    return f"{100 * mean:+.1f} [{100 * (mean - error):+.1f}, {100 * (mean + error):+.1f}]"


def verdicts(found: Sequence[dict[str, Any]]) -> str:
    """The first seed's words, and what its training kept of the advice."""
    out = ["| pair | labels | verdict | why | advice | kept |", "|---|---|---|---|---|---|"]
    recipes = [one for one in found if one["key"][3] == "recipe"]
    for one in sorted(recipes, key=lambda one: (one["key"][0], one["key"][1] or 10**9)):
        pair, size, seed, _ = one["key"]
        if seed == 0:
            kept = ", ".join(kind for kind, stays, _ in one["followed"] if stays) or "nothing of it"
            out.append(f"| {pair} | {size or 'all'} | {one['verdict'][0]} | {one['said']} | {one['advice']} | {kept} |")
    return "\n".join(out)


def _signs(said: str) -> Array:
    return np.frombuffer(said.encode(), dtype=np.uint8).astype(np.float64) - ord("0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1, help="champions and draws of rows a pair")
    parser.add_argument("--sizes", default="50,200,0", help="labelled incoming rows; 0: all")
    parser.add_argument("--rows", type=int, default=600, help="reference training rows, and as many that arrive")
    parser.add_argument("--held", type=int, default=150, help="validation rows beside them")
    parser.add_argument("--test", type=int, default=300, help="test rows a side")
    parser.add_argument("--length", type=int, default=64, help="tokens of a text")
    parser.add_argument("--epochs", type=int, default=2, help="of the tune phase")
    parser.add_argument("--head", action="store_true", help="train the head alone, by a probe on frozen features")
    parser.add_argument(
        "--tables", action="store_true", help="only write the page and print the table of what was tallied so far"
    )
    parser.add_argument("--tally", type=Path, help="else one file for --head and one without")
    given = parser.parse_args()
    path = given.tally or (WORK / "head.jsonl" if given.head else TALLY)
    if not given.tables:
        scale = Scale(given.rows, given.held, given.test, given.length, given.epochs, given.head)
        tally(path, given.seeds, [int(size) for size in given.sizes.split(",")], scale)
    if path == TALLY:
        PAGE.write_text(page(lines(path)), encoding="utf-8")
    print(tables(lines(path)))


if __name__ == "__main__":
    main()

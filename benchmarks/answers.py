"""Question answering against transformers' recipe: same rows, base and machine, one process a run, A B A B.

    python benchmarks/answers.py --pairs 3           # more than an hour on two cores; goes on where it was stopped
    python benchmarks/answers.py --rows 200 --pairs 1 --epochs 1   # a look

2,000 training, 250 validation and 500 test questions of SQuAD 1.1's development set, no article on two sides; MiniLM.
The peer is the recipe that transformers documents for extractive answers, written as a competent user would: windows
of 384 tokens that share 128, batches of 16 padded to their longest, bf16 where the machine computes in it, a linear
rate with a tenth of warm-up, the best of three rates by F1 on validation after one epoch; the answer is the best of
the 20 best starts and ends. Finetide runs the preset that `finetide init` writes, whose rate nobody swept here. Both
have the epochs that it chooses for so many rows. Seconds are of training, Finetide's own looks at validation included;
test questions are answered with the clock stopped. Both are graded by the same code, the official rules of exact match
and F1. Each finished run is a line of benchmarks/results/answers.jsonl, and docs/benchmarks-answers.md is written from
them.

    python benchmarks/answers.py --incoming          # an hour or more: three whole runs of the pipeline

What arrives from elsewhere: a project of the same SQuAD questions is run, then 1,250 questions about Amazon's reviews,
or about privacy policies (PolicyQA), arrive, and it is run again. Before and after are the model in service and the new
one, on the test questions of each side. Written to benchmarks/results/answers-arriving.json, and into the page.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import peers
from peers import PACKAGE, Clock
from tallies import lines

ROOT = Path(__file__).parents[1]
SQUAD = ROOT.parent / "shared" / "data" / "qa" / "squad_dev_to_amazon_and_policy" / "source_squad11_dev.jsonl.gz"
TALLY, PAGE = ROOT / "benchmarks" / "results" / "answers.jsonl", ROOT / "docs" / "benchmarks-answers.md"
ARRIVALS = ROOT / "benchmarks" / "results" / "answers-arriving.json"
COUNTS = {"train": 2000, "validation": 250, "test": 500}
# Shares of the articles, in the order of COUNTS.
ARTICLES = (0.6, 0.15, 0.25)
EPOCHS, BATCH, LENGTH, STRIDE, LONGEST, CANDIDATES = 2, 16, 384, 128, 30, 20
SWEEP = (1e-4, 2e-4, 4e-4)
ARRIVING = {"amazon": "target_squadshifts_amazon.jsonl.gz", "policies": "target_policyqa.jsonl.gz"}
ARRIVED = 1250
NAMES = {"finetide": "Finetide, the preset of `init`", "transformers": "transformers' recipe", "lexical": "lexical"}


def rows(limit: int | None) -> dict[str, pd.DataFrame]:
    """By side, as the family's examples are made of them."""
    with gzip.open(SQUAD, "rt", encoding="utf-8") as stream:
        table = pd.DataFrame([json.loads(line) for line in stream])
    order = np.random.default_rng(17).permutation(sorted(table["title"].unique()))
    ends = np.cumsum([round(share * len(order)) for share in ARTICLES])
    found = {}
    for (side, count), start, end in zip(COUNTS.items(), [0, *ends], ends, strict=False):
        part = table[table["title"].isin(order[start:end])]
        contexts = np.random.default_rng(18).permutation(part["context"].unique())
        place = {context: number for number, context in enumerate(contexts)}
        chosen = part.iloc[np.argsort(part["context"].map(place).to_numpy(), kind="stable")]
        wanted = count if limit is None else min(count, limit)
        found[side] = chosen.head(wanted).reset_index(drop=True).assign(
            row_id=lambda one: one["id"], answers=lambda one: one["answers"].map(json.dumps), label="answerable",
            split=side, role="reference",
        )  # fmt: skip
    return found


def graded(said: Sequence[str], asked: pd.DataFrame) -> dict[str, float]:
    from finetide.evaluation.questions import asked_of
    from finetide.evaluation.questions import graded as grades

    return {name: float(values.mean()) for name, values in grades(said, asked_of(asked)).items()}


def finetide(seed: int, limit: int | None, epochs: int) -> dict[str, Any]:
    from dataclasses import replace

    from ruamel.yaml import YAML

    from finetide import base, tasks
    from finetide.config.questions import QuestionTrainParams
    from finetide.engine.checkpoint import Unsaved
    from finetide.engine.inference import predict
    from finetide.engine.loop import train
    from finetide.engine.progress import Unwritten
    from finetide.engine.specs import Data, Settings, TuneSpec
    from finetide.evaluation.kinds import Sides, studying
    from finetide.stages.train import model_settings, phase_specs

    preset = (files("finetide.init") / "presets" / "question-answering.yaml").read_text(encoding="utf-8")
    params = QuestionTrainParams.model_validate(YAML(typ="safe").load(preset)["train"])
    specs = [replace(one, epochs=epochs) if isinstance(one, TuneSpec) else one for one in phase_specs(params)]
    task, parts = tasks.load("question-answering"), rows(limit)
    folder = base.resolve(base.pin(PACKAGE, None, ROOT), ROOT)
    clock = Clock()
    built = task.build(folder, model_settings(task.outcomes(parts["train"]), params), seed=seed)
    data = Data(task.encode(built, parts["train"]), task.encode(built, parts["validation"]))
    settings = Settings(seed, params.batch_rows, params.batch_cost, "auto", 10**9, None)
    found = train(task, built, data, specs, settings, Unwritten(), Unsaved())
    seconds = clock.stop()

    def model(of: pd.DataFrame) -> tuple[Any, Any]:
        examples = task.encode(built, of)
        return examples, predict(task, built, examples, batch_tokens=4096)

    sides = Sides(parts["train"], parts["validation"], parts["test"], task.outcomes(parts["train"]))
    said = studying("question-answering").said(model, sides)
    return {
        **graded(said, parts["test"]), "validation": found.phases[found.kept].score.accuracy, "seconds": seconds,
        "windows": sum(phase.rows_seen for phase in found.phases),
    }  # fmt: skip


def transformers(seed: int, limit: int | None, epochs: int, rate: float) -> dict[str, Any]:
    import torch
    from transformers import (
        AutoModelForQuestionAnswering,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    from finetide import base
    from finetide.engine.precision import choose, choose_device

    parts = rows(limit)
    folder = str(base.resolve(base.pin(PACKAGE, None, ROOT), ROOT))
    clock = Clock()
    set_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForQuestionAnswering.from_pretrained(folder)

    def cut(table: pd.DataFrame) -> Any:
        return tokenizer(
            list(table["question"]), list(table["context"]), truncation="only_second", max_length=LENGTH,
            stride=STRIDE, return_overflowing_tokens=True, return_offsets_mapping=True,
        )  # fmt: skip

    def features(table: pd.DataFrame) -> list[dict[str, Any]]:
        found = cut(table)
        answers = [json.loads(one)[0] for one in table["answers"]]
        made = []
        for number, owner in enumerate(found["overflow_to_sample_mapping"]):
            kinds, offsets = found.sequence_ids(number), found["offset_mapping"][number]
            start = answers[owner]["answer_start"]
            end = start + len(answers[owner]["text"])
            inside = [place for place, kind in enumerate(kinds) if kind == 1]
            place = (0, 0)
            if inside and offsets[inside[0]][0] <= start and offsets[inside[-1]][1] >= end:
                first = max(one for one in inside if offsets[one][0] <= start)
                last = min(one for one in inside if offsets[one][1] >= end)
                place = (first, last)
            made.append(
                {
                    "input_ids": found["input_ids"][number],
                    "attention_mask": found["attention_mask"][number],
                    "token_type_ids": found["token_type_ids"][number],
                    "start_positions": place[0],
                    "end_positions": place[1],
                }
            )
        return made

    def answers(table: pd.DataFrame) -> list[str]:
        """The best span of all windows of a question among its best starts and ends."""
        model.eval()
        found = cut(table)
        best: dict[int, tuple[float, str]] = {}
        keys = ("input_ids", "attention_mask", "token_type_ids")
        with torch.inference_mode():
            for begin in range(0, len(found["input_ids"]), 32):
                numbers = list(range(begin, min(begin + 32, len(found["input_ids"]))))
                batch = tokenizer.pad({key: [found[key][one] for one in numbers] for key in keys}, return_tensors="pt")
                out = model(**batch.to(choose_device()))
                starts, ends = out.start_logits.float().cpu().numpy(), out.end_logits.float().cpu().numpy()
                for row, number in enumerate(numbers):
                    kinds, offsets = found.sequence_ids(number), found["offset_mapping"][number]
                    owner = found["overflow_to_sample_mapping"][number]
                    firsts = [one for one in np.argsort(-starts[row])[:CANDIDATES] if one < len(kinds)]
                    lasts = [one for one in np.argsort(-ends[row])[:CANDIDATES] if one < len(kinds)]
                    for first in (one for one in firsts if kinds[one] == 1):
                        for last in (one for one in lasts if kinds[one] == 1 and first <= one < first + LONGEST):
                            score = float(starts[row][first] + ends[row][last])
                            if owner not in best or score > best[owner][0]:
                                text = table["context"].iloc[owner][offsets[first][0] : offsets[last][1]]
                                best[owner] = (score, text)
        return [best.get(owner, (0.0, ""))[1] for owner in range(len(table))]

    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            output_dir=scratch, num_train_epochs=epochs, per_device_train_batch_size=BATCH, seed=seed,
            learning_rate=rate, lr_scheduler_type="linear", warmup_steps=0.1, weight_decay=0.01,
            bf16=choose("auto", choose_device()).name == "bf16", use_cpu=choose_device().type == "cpu",
            save_strategy="no", eval_strategy="no",
            logging_strategy="no", report_to=[], disable_tqdm=True,
        )  # fmt: skip
        examples = features(parts["train"])
        Trainer(
            model=model, args=arguments, train_dataset=examples,  # type: ignore[arg-type]
            data_collator=DataCollatorWithPadding(tokenizer),
        ).train()  # fmt: skip
    seconds = clock.stop()
    validation = graded(answers(parts["validation"]), parts["validation"])["f1"]
    return {
        **graded(answers(parts["test"]), parts["test"]), "validation": validation, "seconds": seconds,
        "windows": epochs * len(examples),
    }  # fmt: skip


def lexical(limit: int | None) -> dict[str, float]:
    from finetide.evaluation.questions import asked_of, guesses

    test = rows(limit)["test"]
    return graded(guesses(asked_of(test), some_without=False)["lexical"], test)


call = partial(peers.call, script=__file__)


def arrivals(work: Path, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Name of a target, what shift said, and F1 of both models on both sides."""
    from finetide.contracts.judge import JudgeVerdict

    def finetide(folder: Path, *words: str) -> None:
        subprocess.run([sys.executable, "-m", "finetide", *words], cwd=folder, check=True, stdout=sys.stderr)

    def write(path: Path, table: pd.DataFrame) -> Path:
        table.to_json(path, orient="records", lines=True)
        return path

    base = work / "squad"
    if not (base / "serving").is_dir():
        work.mkdir(parents=True, exist_ok=True)
        kept = [part.assign(answers=part["answers"].map(json.loads)) for part in rows(None).values()]
        known = write(work / "squad.jsonl", pd.concat(kept)[["id", "question", "context", "answers", "split"]])
        finetide(
            work, "init", "squad", "--task", "question-answering", "--name", "squad", "--reference", str(known),
            "--id", "id", "--split-col", "split",
        )  # fmt: skip
        finetide(base, "run")
    for name, file in ((name, ARRIVING[name]) for name in names):
        home = work / name
        if not (home / "finished").exists():
            shutil.rmtree(home, ignore_errors=True)
            shutil.copytree(base, home, symlinks=True)
            with gzip.open(SQUAD.with_name(file), "rt", encoding="utf-8") as stream:
                table = pd.DataFrame([json.loads(line) for line in stream])
            order = {text: place for place, text in enumerate(
                np.random.default_rng(19).permutation(table["context"].unique())
            )}  # fmt: skip
            table = table.iloc[np.argsort(table["context"].map(order).to_numpy(), kind="stable")].head(ARRIVED)
            columns = ["id", "question", "context", "answers"]
            write(home / "data" / "squad" / "raw" / f"{name}.jsonl", table[columns].assign(split=None))
            finetide(home, "run")
            (home / "finished").touch()
        out = home / "artifacts" / "squad"
        shift = json.loads((out / "shift" / "shift.json").read_text())
        verdict = JudgeVerdict.read(out / "judge" / "judge.json")
        slices = {one.slice: one for one in verdict.slices if one.slice.startswith("role:")}
        yield name, {
            "verdict": shift["verdict"], "sentence": shift["sentence"], "judge": verdict.verdict,
            "reason": verdict.reason,
            "f1": {role: [one.champion, one.challenger, one.difference, one.low, one.high, one.rows]
                   for role, one in slices.items()},
        }  # fmt: skip


def page(found: dict[str, Any]) -> str:
    ours, theirs = found["runs"]["finetide"], found["runs"]["transformers"]
    ratio = statistics.median(b["seconds"] / a["seconds"] for a, b in zip(ours, theirs, strict=True))
    lines = [
        "# Question answering against transformers' recipe", "",
        f"{found['rows']['train']:,} training and {found['rows']['test']} test questions of SQuAD, MiniLM, "
        f"{found['epochs']} epochs, {found['cores']} cores, {found['date']}; medians over {found['pairs']} runs a row, "
        "one process each, in the order A B A B. Written by `benchmarks/answers.py`, which says what is compared.", "",
        "| | F1 | exact match | seconds | windows a second |",
        "|---|---:|---:|---:|---:|",
    ]  # fmt: skip
    for kind, runs in (("finetide", ours), ("transformers", theirs)):
        middle = {name: statistics.median(run[name] for run in runs) for name in ("f1", "exact_match", "seconds")}
        rate = statistics.median(run["windows"] / run["seconds"] for run in runs)
        lines.append(
            f"| {NAMES[kind]} | {100 * middle['f1']:.1f} | {100 * middle['exact_match']:.1f} | {middle['seconds']:.0f} "
            f"| {rate:.1f} |"
        )
    without = found["lexical"]
    lines.append(f"| {NAMES['lexical']} | {100 * without['f1']:.1f} | {100 * without['exact_match']:.1f} | | |")
    swept = ", ".join(f"{float(rate):g}: {100 * value:.1f}" for rate, value in found["swept"].items())
    single = [
        f"{100 * a['f1']:.1f} and {100 * b['f1']:.1f} in {a['seconds']:.0f} and {b['seconds']:.0f} s"
        for a, b in zip(ours, theirs, strict=True)
    ]
    lines += [
        "", f"The recipe takes {ratio:.2f} times Finetide's seconds (median of the pairs). F1 of each pair: "
        f"{'; '.join(single)}.", "",
        f"Validation F1 of the recipe after one epoch, by rate: {swept}; the best one ran.",
    ]  # fmt: skip
    return "\n".join([*lines, *arrived(json.loads(ARRIVALS.read_text()) if ARRIVALS.exists() else {})]) + "\n"


def arrived(found: dict[str, Any]) -> list[str]:
    if not found:
        return []
    lines = [
        "", "## What arrives from elsewhere", "",
        f"{ARRIVED:,} questions arrive in a project of the same SQuAD questions. F1 on test questions of the model in "
        "service (before) and of the new one (after); the difference with its 95 % interval.", "",
        "| arriving | side | test questions | before | after | difference |", "|---|---|---:|---:|---:|---:|",
    ]  # fmt: skip
    for name, one in found.items():
        for side, (before, after, difference, low, high, count) in one["f1"].items():
            lines.append(
                f"| {name} | {side.partition(':')[2]} | {count} | {100 * before:.1f} | {100 * after:.1f} "
                f"| {100 * difference:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] |"
            )
    lines.append("")
    for name, one in found.items():
        lines += [f"* {name}: shift says *{one['verdict']}*: {one['sentence']}. The judge: {one['judge']}, "
                  f"{one['reason']}."]  # fmt: skip
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--rows", type=int, help="at most so many questions a side; no page is written then")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--one", choices=list(NAMES))
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--incoming", action="store_true", help="run what arrives from elsewhere, and nothing else")
    parser.add_argument("--targets", default=",".join(ARRIVING), help="of --incoming, with commas between")
    parser.add_argument("--work", type=Path, help="a folder to keep its projects in; default: a temporary one")
    asked = parser.parse_args()
    if not SQUAD.exists():
        raise SystemExit(f"{SQUAD} is not there: nothing was run")
    if asked.one:
        made = (
            finetide(asked.seed, asked.rows, asked.epochs)
            if asked.one == "finetide"
            else transformers(asked.seed, asked.rows, asked.epochs, asked.rate)
        )
        print(json.dumps(made))
        return
    if asked.incoming:
        with tempfile.TemporaryDirectory() as scratch:
            for name, one in arrivals((asked.work or Path(scratch)).resolve(), asked.targets.split(",")):
                known = json.loads(ARRIVALS.read_text()) if ARRIVALS.exists() else {}
                ARRIVALS.write_text(json.dumps({**known, name: one}, indent=1) + "\n", encoding="utf-8")
                print(name, json.dumps(one, indent=1), flush=True)
        return
    if asked.rows is not None:
        for kind in ("finetide", "transformers"):
            print(kind, call(kind, 17, asked.rows, asked.epochs, asked.rate))
        return
    swept = {rate: run("sweep", "transformers", 0, 1, rate)["validation"] for rate in SWEEP}
    best = max(swept, key=lambda rate: swept[rate])
    runs = {kind: [] for kind in ("finetide", "transformers")}
    for pair in range(asked.pairs):
        for kind in runs:
            runs[kind].append(run("run", kind, pair, asked.epochs, best))
    found = {
        "date": ", ".join(sorted({one["date"] for found in runs.values() for one in found})), "cores": os.cpu_count(),
        "pairs": asked.pairs, "epochs": asked.epochs, "rows": {side: len(part) for side, part in rows(None).items()},
        "swept": swept, "best": best, "lexical": lexical(None), "runs": runs,
    }  # fmt: skip
    PAGE.write_text(page(found), encoding="utf-8")
    print(page(found))


def run(part: str, kind: str, pair: int, epochs: int, rate: float) -> dict[str, Any]:
    """What the tally has, or made now and added."""
    key = {"part": part, "kind": kind, "pair": pair, "epochs": epochs, "rate": rate}
    known = next((line for line in lines(TALLY) if all(line.get(name) == key[name] for name in key)), None)
    if known is None:
        known = {**key, "date": time.strftime("%Y-%m-%d"), **call(kind, 17 + pair, None, epochs, rate)}
        with TALLY.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(known) + "\n")
        print(f"{part} {pair + 1}: {kind} F1 {known['f1']:.4f} in {known['seconds']:.0f} s", flush=True)
    return known


if __name__ == "__main__":
    main()

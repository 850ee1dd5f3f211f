"""A million rows through ingest, validate and split, each as ``finetide stage`` runs it, beside pandas.read_csv.

Run it from the repository root: ``.venv/bin/python benchmarks/million_rows.py [ROWS]``. It writes docs/million-rows.md
when ROWS is a million, and keeps what stands there from NOTES on. This process imports nothing large: the peak that
Linux reports for a child begins with the memory of the process that started it.
"""

from __future__ import annotations

import csv
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "million-rows.md"
ROWS, FEW_ROWS = 1_000_000, 400
SEED = 17
MIB = 1 << 20
NOTES = "\n## Profile"
MODEL = "mail"
STAGES = ("ingest", "validate", "split")
READ_CSV = "import sys, pandas; pandas.read_csv(sys.argv[1])"

# One line a label: what the message is about, and ways to say it.
TOPICS = {
    "refund": ("i want my money back", "please refund", "when do i get the money for"),
    "late_parcel": ("where is", "i still wait for", "nobody delivered"),
    "broken": ("a part came off", "there is a crack in", "it does not turn on:"),
    "wrong_item": ("i did not order", "you sent me the wrong thing:", "this is not what i bought:"),
    "cancel": ("please cancel", "i changed my mind about", "stop the order of"),
    "address": ("send it elsewhere:", "i moved, change the address for", "wrong street on"),
    "invoice": ("i need an invoice for", "the bill is wrong for", "put my company on the bill of"),
    "payment": ("my card was charged twice for", "i cannot pay for", "the payment failed for"),
    "voucher": ("my code does not work with", "where do i enter the voucher for", "the discount is missing on"),
    "size": ("it is too small:", "which size should i take of", "swap for a larger one:"),
    "colour": ("do you have this in blue:", "the colour is not as shown:", "i would like another colour of"),
    "warranty": ("is this still under warranty:", "how long is the warranty of", "warranty claim for"),
    "manual": ("the manual is missing for", "how do i set up", "which button starts"),
    "login": ("i cannot sign in to see", "reset my password, i ordered", "my account does not show"),
    "newsletter": ("no more mail about", "unsubscribe me from news on", "how do i subscribe to news on"),
    "stock": ("when will you have", "is it sold out:", "tell me as soon as there is"),
    "gift": ("can you gift-wrap", "put a card into the parcel with", "it is a present:"),
    "return": ("how do i send back", "the return label is missing for", "i returned last week"),
    "praise": ("thank you for", "very happy with", "great service around"),
    "complaint": ("third time that i write about", "nobody answers me about", "i am very unhappy with"),
}
OPENINGS = ("", "hello, ", "hi there, ", "good morning, ", "dear team, ", "excuse me: ", "once more, ")
SIZES = ("small", "large", "folding", "wooden", "green", "second-hand", "heavy", "cheap", "electric", "foreign")
THINGS = (
    "lamp",
    "table",
    "kettle",
    "jacket",
    "bicycle",
    "radio",
    "suitcase",
    "blanket",
    "drill",
    "watch",
    "tent",
    "oven",
)
ENDINGS = (
    "",
    ", thanks",
    ", please answer soon",
    " it was for my sister",
    " and the box was open",
    " as agreed by phone",
)


@dataclass(frozen=True)
class Used:
    """What a child process took; ``seconds`` of the clock, ``cpu`` seconds on a core (fair on a busy machine);
    ``peak``: the largest resident set, bytes."""

    seconds: float
    cpu: float
    peak: int


def messages(rows: int) -> Iterator[tuple[str, str]]:
    """Texts of 30 to 120 characters with an order number in nine of ten; one row in two hundred repeats an older."""
    draw = random.Random(SEED)
    labels = list(TOPICS)
    kept: list[tuple[str, str]] = []
    for _ in range(rows):
        if kept and draw.random() < 0.005:
            yield draw.choice(kept)
            continue
        label = draw.choice(labels)
        thing = f"the {draw.choice(SIZES)} {draw.choice(SIZES)} {draw.choice(THINGS)}"
        number = f" order {draw.randrange(10**8):08d}" if draw.random() < 0.9 else ""
        text = f"{draw.choice(OPENINGS)}{draw.choice(TOPICS[label])} {thing}{number}{draw.choice(ENDINGS)}"
        if len(kept) < 1000:
            kept.append((text, label))
        yield text, label


def write_csv(path: Path, rows: int) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label"])
        writer.writerows(messages(rows))
    return path


def measure(command: Sequence[str], folder: Path) -> Used:
    """Raises: SystemExit with the child's last words when it fails."""
    log = folder / "child.log"
    with log.open("w") as stream:
        started = time.monotonic()
        child = subprocess.Popen(command, cwd=folder, stdout=stream, stderr=subprocess.STDOUT, env=environment())
        # wait4, not RUSAGE_CHILDREN: that one is the largest of all children so far.
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}:\n{log.read_text()[-2000:]}")
    return Used(time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1", "HF_HUB_OFFLINE": "1"}


def through(folder: Path, rows: int) -> tuple[int, dict[str, Used]]:
    """Size of the file, and what each step took on it."""
    folder.mkdir()
    source = write_csv(folder / "messages.csv", rows)
    used = {"pandas.read_csv": measure([sys.executable, "-c", READ_CSV, str(source)], folder)}
    print(f"{rows} rows, {source.stat().st_size / MIB:.0f} MiB", *used.items(), flush=True)
    finetide = [sys.executable, "-m", "finetide"]
    project = folder / "project"
    given = ["--task", "text-classification", "--name", MODEL, "--reference", str(source)]
    used["init"] = measure([*finetide, "init", str(project), *given, "--text", "text", "--label", "label"], folder)
    print("init", used["init"], flush=True)
    for stage in STAGES:
        # Code that was edited since init would be refused.
        measure([*finetide, "check", MODEL], project)
        used[stage] = measure([*finetide, "stage", stage, MODEL], project)
        print(stage, used[stage], flush=True)
    return source.stat().st_size, used


def page(rows: int, size: int, used: dict[str, Used], least: dict[str, Used]) -> str:
    pandas = used["pandas.read_csv"]
    lines = [
        "# A million rows",
        "",
        f"{rows:,} messages of a small grammar with {len(TOPICS)} labels, a CSV file of {size / MIB:.1f} MiB;",
        f"`benchmarks/million_rows.py`, one thread for numerical libraries, {os.cpu_count()} cores. Every step is a",
        "process of its own, in a project that `finetide init` made, beside `pandas.read_csv` of the same file in the",
        "same run. Peak: the largest resident set of the process (`ru_maxrss` from `wait4`). Baseline: the peak of the",
        f"same command on {FEW_ROWS} rows of the same grammar, which has the interpreter and all imports in it, and",
        "hardly a row. The last column is (peak - baseline) / size of the CSV file; the target is 3 or less.",
        "",
        "| step | seconds | CPU s | CPU × pandas | peak MiB | baseline MiB | (peak - baseline) / file |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for step, one in used.items():
        above = (one.peak - least[step].peak) / size
        lines.append(
            f"| {step} | {one.seconds:.1f} | {one.cpu:.1f} | {one.cpu / pandas.cpu:.1f} | {one.peak / MIB:.0f} "
            f"| {least[step].peak / MIB:.0f} | {above:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory() as scratch:
        _, least = through(Path(scratch) / "few", FEW_ROWS)
        size, used = through(Path(scratch) / "many", rows)
    text = page(rows, size, used, least)
    print(text)
    if rows == ROWS:
        old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
        PAGE.write_text(text + old[old.find(NOTES) :] if NOTES in old else text, encoding="utf-8")


if __name__ == "__main__":
    main()

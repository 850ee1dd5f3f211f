"""Thirty days on a schedule with every kind of arrival, played by the flows' own functions at given times.

docs/month.md is the table of this run: `make month` writes it, the test compares. "Late" is what the drop folder takes
it to be: a file that is not whole yet when a look comes. Rows carry no time that Finetide reads.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetide.registry import ledger
from finetide.registry.window import read_window
from support.forked import Forks
from support.messages import LABELS, WORDS, rows, write_csv
from support.month import Month, masked, page
from support.project import MODEL, edit_params, micro_project, run

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "month.md"
NIGHTS = (5, 10, 13, 16, 19, 23, 26)
HEAD = "body,intent,side\n"


def fine(month: Month) -> None:
    write_csv(month.drop / "fine.csv", rows(200, "shop", 4))
    month.note("fine.csv comes: rows like the known ones")


def shifted(month: Month) -> None:
    write_csv(month.drop / "airline.csv", rows(240, "airline", 2))
    month.note("airline.csv comes: another domain, labelled")


def harmless(month: Month) -> None:
    write_csv(month.drop / "mild.csv", rows(200, "shop", 5, longer=1))
    month.note("mild.csv comes: the known domain with one word more a row")


def broken(month: Month) -> None:
    (month.drop / "broken.csv").write_bytes(b"body,side\n\xff\xfe\x00 torn,train\n")
    month.note("broken.csv comes: bytes that are no text")


def mended(month: Month) -> None:
    write_csv(month.drop / "broken.csv", rows(210, "shop", 6))
    month.note("broken.csv is sent again, whole")


def half(month: Month) -> None:
    (month.drop / "late.csv.part").write_text(HEAD + lines(rows(200, "shop", 7)[:100]), encoding="utf-8")
    month.note("late.csv.part comes: half of a file")


def renamed_too_early(month: Month) -> None:
    (month.drop / "late.csv.part").rename(month.drop / "late.csv")
    month.note("late.csv.part becomes late.csv, and its writer goes on while the look watches")
    month.growing = ("late.csv", lines(rows(200, "shop", 7)[100:]))


def duplicate(month: Month) -> None:
    shutil.copyfile(month.drop / "airline.csv", month.drop / "airline-again.csv")
    month.note("airline-again.csv comes: the bytes of airline.csv")


def unlabelled(month: Month) -> None:
    write_csv(month.drop / "bank.csv", rows(120, "bank", 3, labelled=False))
    month.note("bank.csv comes: another domain, without labels")


def labels_returned(month: Month) -> None:
    """A person asks for the labels in the checkout, fills them in and drops the table."""
    said = month.person(21, 5, "label-requests", MODEL, "--rows", "90", "--output", "../to-label.csv")
    assert f"{MODEL}: 90 of 120 incoming rows without a label in ../to-label.csv" in said
    assert said.endswith(f"copy it to drop/{MODEL}\n")
    told = {word: label for domain in WORDS.values() for label, words in domain.items() for word in words}
    path = month.home.parent / "to-label.csv"
    with path.open(newline="", encoding="utf-8") as stream:
        asked = list(csv.DictReader(stream))
    for row in asked:
        row["intent"] = next(told[word] for word in row["body"].split() if word in told)
    write_csv(month.drop / path.name, asked)
    month.note("to-label.csv comes back: labels for bank.csv")


def one_label(month: Month) -> None:
    known = [row for row in rows(500, "shop", 8) if row["intent"] == LABELS[0]]
    write_csv(month.drop / "skewed.csv", known[:100])
    month.note("skewed.csv comes: the known domain, one label only")


def of_all_kinds(month: Month) -> None:
    """About as many of each kind as the model has seen by then."""
    shop = [*rows(130, "shop", 9), *rows(40, "shop", 10, longer=1)]
    write_csv(month.drop / "last.csv", [*shop, *rows(48, "airline", 11), *rows(20, "bank", 12)])
    month.note("last.csv comes: rows of every kind that the model has seen")


# What is done before the first look of a day.
DROPS: dict[int, Callable[[Month], None]] = {
    3: fine, 5: shifted, 8: harmless, 11: broken, 12: mended, 14: half, 15: renamed_too_early, 17: duplicate,
    19: unlabelled, 21: labels_returned, 22: one_label, 30: of_all_kinds,
}  # fmt: skip


def lines(table: list[dict[str, str]]) -> str:
    return "".join(f"{row['body']},{row['intent']},{row['side']}\n" for row in table)


def project(folder: Path) -> Path:
    root = micro_project(folder, [write_csv(folder / "shop.csv", rows(300, "shop", 1))])

    def change(params: Any) -> None:
        params["policy"].update(cool_down_days=3.0, every_days=5.0, min_new_labels=60, max_loss=0.1)

    edit_params(root, change)
    run(root, "git", "add", "-A")
    run(root, "git", "commit", "-qm", "the project as init wrote it")
    return root


def play(month: Month) -> None:
    month.drop.mkdir(parents=True)
    month.person(1, 5, "run")
    for day in range(1, 31):
        if day in NIGHTS:
            month.night(day)
        if day in DROPS:
            DROPS[day](month)
        month.look(day, 0)
        month.look(day, 1)


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Month:
    """Played once, for all tests here."""
    with Forks(module="support.scheduled") as forks:
        played = Month(forks, project(tmp_path_factory.mktemp("month")))
        play(played)
    return played


NONE = (
    "shift verdict none: no shift found: domain AUC N [N, N], combined p of 7 tests = N at α = N; a domain AUC of N "
    "would have shown in 8 of 10 such windows"
)
HARMLESS = (
    r"shift verdict harmless: a real but small shift: words: mean N → (N|8) \([+-]N\); the champion is right on N% of "
    r"reference, N% of incoming rows; domain AUC N \[N, N\], combined p of 7 tests = N at α = N, below N "
    r"\(shift.harmless_auc\)"
)
FIRST = "accuracy N on 60 test rows, every floor is reached, and there is no champion to beat"
BETTER = (
    r"accuracy N on \d+ test rows, against the champion [+-]N \(interval [+-]N to [+-]N\), where N may be lost, "
    r"and no slice is worse"
)
# Time, event, incoming files, why: a pattern.
LEDGER: list[tuple[str, str, str, str]] = [
    ("03-01T05:00", "promoted v1", "", re.escape(FIRST)),
    ("03-05T03:15", "not-needed", "fine.csv", re.escape(NONE)),
    ("03-05T06:01", "promoted v2", "airline.csv", BETTER),
    ("03-10T03:15", "not-needed", "mild.csv", HARMLESS),
    ("03-13T03:15", "not-needed", "broken.csv", HARMLESS),
    ("03-16T03:15", "not-needed", "late.csv", HARMLESS),
    ("03-21T06:01", "promoted v3", "bank.csv to-label.csv", BETTER),
    ("03-23T03:15", "postponed", "skewed.csv", r"shift verdict adapt .*; waits until 2026-03-24 06:01 UTC .*"),
    ("03-24T18:01", "promoted v4", "skewed.csv", BETTER),
    ("03-30T06:01", "promoted v5", "last.csv", BETTER),
]
# Day, run, outcome: a line of the table each.
DECISIONS = [
    (1, "a person", "Done"),
    (3, "look", "Quiet"), (5, "retraining", "NotNeeded"),
    (5, "look", "Wanted"), (5, "retraining", "Promoted"),
    (8, "look", "Quiet"), (10, "retraining", "NotNeeded"),
    (11, "look", "Refused"), (12, "look", "Quiet"), (13, "retraining", "NotNeeded"),
    (14, "look", "Known"), (15, "look", "Known"), (15, "look", "Quiet"), (16, "retraining", "NotNeeded"),
    (17, "look", "Known"),
    (19, "look", "Wanted"), (19, "retraining", "Suspended"), (19, "look", "Waiting"),
    (21, "a person", "Done"), (21, "look", "Wanted"), (21, "retraining", "Promoted"),
    (22, "look", "Quiet"), (23, "retraining", "Postponed"),
    (24, "look", "Wanted"), (24, "retraining", "Promoted"),
    (30, "look", "Wanted"), (30, "retraining", "Promoted"),
]  # fmt: skip
SEEN = {
    "fine.csv": "taken", "airline.csv": "taken", "mild.csv": "taken", "broken.csv": "taken", "late.csv": "taken",
    "airline-again.csv": "duplicate", "bank.csv": "taken", "to-label.csv": "taken", "skewed.csv": "taken",
    "last.csv": "taken",
}  # fmt: skip
ROLES = {
    "shop.csv": "reference", "fine.csv": "reference", "airline.csv": "reference", "mild.csv": "reference",
    "broken.csv": "reference", "late.csv": "reference", "bank.csv": "reference", "to-label.csv": "reference",
    "skewed.csv": "reference", "last.csv": "incoming",
}  # fmt: skip


def test_the_ledger_says_exactly_what_should_have_happened_and_why(month: Month) -> None:
    found = [
        (
            one.time[5:16],
            f"{one.event} {one.version or ''}".strip(),
            " ".join(file.path for file in one.window.paths("incoming")) if one.window else "",
            masked(one.reason),
        )
        for one in ledger.read(month.home, MODEL)
    ]
    assert [one[:3] for one in found] == [one[:3] for one in LEDGER]
    wrong = [(one, said[3]) for one, said in zip(found, LEDGER, strict=True) if not re.fullmatch(said[3], one[3])]
    assert not wrong


def test_each_run_decides_what_it_should(month: Month) -> None:
    assert [(one.day, one.run, one.outcome) for one in month.lines] == DECISIONS
    looks = sum(one.run == "look" for one in month.lines) + month.idle["look"]
    assert looks == 60
    assert month.runs >= 60 + len(NIGHTS)


def test_files_come_in_whole_and_once(month: Month) -> None:
    seen = month.seen()
    assert {name: outcome for name, (outcome, _) in seen.items()} == SEEN
    assert seen["airline-again.csv"][1] == "has the bytes of airline.csv"
    assert (month.worktree / "data" / MODEL / "raw" / "late.csv").read_text(encoding="utf-8").count("\n") == 201
    late = [one for one in month.lines if "late.csv" in " ".join(one.files)]
    assert [(one.day, one.run, one.files) for one in late] == [(15, "look", ("late.csv: taken",))]


def test_the_window_is_what_the_ledger_makes_of_it(month: Month) -> None:
    window = read_window(month.worktree, MODEL)
    assert {file.path: file.role for file in window.files} == ROLES
    assert window.champion is not None
    assert window.champion.version == "v4"


def test_the_checkout_is_as_it_was(month: Month) -> None:
    assert run(month.home, "git", "status", "--porcelain", "--untracked-files=no").stdout == ""
    assert run(month.home, "git", "log", "--format=%s").stdout == "the project as init wrote it\n"
    assert [file.path for file in read_window(month.home, MODEL).files] == ["shop.csv"]


def test_the_page_tells_this_month(month: Month) -> None:
    told = page(month)
    if "FT_MONTH" in os.environ:
        PAGE.write_text(told, encoding="utf-8")
    assert masked(PAGE.read_text(encoding="utf-8")) == masked(told), "make month"

"""Checks of questions, answers and contexts. The table is that of `schema.SCHEMA`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from finetide.config.questions import SPECIAL, QuestionValidateParams
from finetide.data.checks import Check
from finetide.data.near import near_pairs
from finetide.data.quality import Asked, CountTokens, Quality, judge_rows
from finetide.data.questions.schema import ANSWERABLE, SCHEMA, UNANSWERABLE
from finetide.data.text import Normalised, contents, shown
from finetide.data.tokens import count_tokens

SHOWN = 3
Ints = np.ndarray[Any, np.dtype[np.int64]]
# What is wrong with single rows, as `answers.read` names it, and the column to look at.
FAULTS = {
    "empty question": "question",
    "missing context": "context",
    "answers that are no list": "answers",
    "answer without a text": "answers",
    "answer without its place": "answers",
    "answer_start that is no place": "answers",
    "answer not at its place": "answers",
    "answer that is not in its context": "answers",
    "impossible with an answer": "answers",
    "possible without an answer": "answers",
}
# Words of an answer beyond which something else was probably meant.
MANY_WORDS = 30


class Questions:
    """See `finetide.data.quality.Subject`."""

    noun = "question"
    quarantine: tuple[str, ...] = ("row_id", "file", "line", "place", "id", "reason", "question", "answers", "detail")
    one_label = False

    def __init__(self, params: QuestionValidateParams, count: CountTokens, asked: Asked) -> None:
        self._params, self._count, self._max_length = params, count, asked.max_length
        self._first_window = asked.first_window

    def prepare(self, rows: pd.DataFrame) -> pd.DataFrame:
        numbers = np.where(rows["fault"].isna(), pd.factorize(rows["digest"])[0], -1)
        return rows.assign(content=numbers).reset_index(drop=True)

    def derive(self, sound: pd.DataFrame) -> pd.DataFrame:
        return sound.drop(columns=["content", "digest"]).assign(
            question_length=sound["question"].str.len().astype(np.int32),
            context_length=sound["context"].str.len().astype(np.int32),
        )

    def by_row(self, table: pd.DataFrame) -> list[Check]:
        return [*faults(table), unanswered(table, self._first_window), twice(table), conflicts(table)]

    def unusable(self, table: pd.DataFrame) -> set[str]:
        del table
        return set()

    def by_table(self, kept: pd.DataFrame) -> list[Check]:
        return [
            untaught(kept),
            duplicates(kept),
            other_answers(kept),
            short_contexts(kept, self._params.min_context_length),
            near_contexts(kept, self._params.near_duplicate_similarity),
            long_answers(kept),
            blank_edges(kept),
        ]

    def at_last(self, kept: pd.DataFrame) -> list[Check]:
        tokens = np.asarray(self._count(list(kept["question"])), np.int64) if len(kept) else np.zeros(0, np.int64)
        answers = _first_answers(kept)
        lost = np.asarray(self._count(answers), np.int64) - 2 if len(kept) else tokens
        return [long_questions(kept, tokens, self._max_length), lost_answers(kept, tokens, lost, self._max_length)]


def faults(rows: pd.DataFrame) -> list[Check]:
    """One check a kind of fault."""
    made = []
    for kind, column in FAULTS.items():
        bad = rows["fault"] == kind
        if not bad.any():
            made.append(Check(kind, "critical", "no row has it", column=column))
            continue
        said = "; ".join(f"{at}: {detail}" for at, detail in _first(rows[bad], "detail"))
        more = f", and {int(bad.sum()) - SHOWN} more" if bad.sum() > SHOWN else ""
        fixes = "; ".join(dict.fromkeys(rows.loc[bad, "fix"].dropna().head(SHOWN)))
        made.append(Check(kind, "critical", "", f"{_count(bad)}: {said}{more}", fixes, column, _ids(rows, bad)))
    return made


def unanswered(rows: pd.DataFrame, first_window: bool) -> Check:
    """Reference rows of which nobody has said what the answer is. In a first window somebody forgot it; see
    `finetide.data.checks.missing_labels`."""
    name = "missing answers"
    bad = (rows["role"] == "reference") & rows["label"].isna() & rows["fault"].isna()
    if not bad.any():
        return Check(name, "critical", "every reference row says what its answers are", column="answers")
    said = f"{_count(bad)} with the role reference and no word on answers"
    if not first_window:
        why = f"{said}: they came so with an earlier window, and are not trained on"
        fix = "answers can come later, in a file with the columns row_id and answers"
        return Check(name, "info", "", why, fix, "question", _ids(rows, bad))
    fix = "write the answers; [] where there is none"
    return Check(name, "critical", "", said, fix, "question", _ids(rows, bad))


def twice(rows: pd.DataFrame) -> Check:
    """The user's own id on two rows of a file: what is said of one would be taken for the other."""
    name = "id that is there twice"
    bad = rows["id"].notna() & rows.duplicated(["file", "id"], keep=False)
    if not bad.any():
        return Check(name, "critical", "no id is there twice", column="id")
    first = rows[bad].iloc[0]
    same = rows[bad & (rows["id"] == first["id"]) & (rows["file"] == first["file"])]["row_id"]
    said = f"{_count(bad)} with an id that another has, e.g. {shown(first['id'])!r}: {', '.join(same.head(SHOWN))}"
    return Check(name, "critical", "", said, "give every question an id of its own", "id", _ids(rows, bad))


def conflicts(rows: pd.DataFrame) -> Check:
    """The same question about the same context, with an answer and without."""
    name = "answer and no answer"
    chosen = (rows["content"] >= 0) & rows["label"].notna()
    kinds = rows[chosen].groupby("content")["label"].nunique()
    bad = chosen & rows["content"].isin(kinds.index[kinds > 1])
    if not bad.any():
        return Check(name, "critical", "no question has an answer in one row and none in another")
    first = rows[bad & (rows["content"] == rows.loc[bad, "content"].iloc[0])].drop_duplicates("label")
    named = ", ".join(f"{row_id} {label}" for row_id, label in zip(first["row_id"], first["label"], strict=True))
    said = f"{_count(bad)} about a context of which the same is asked elsewhere, with the other outcome, e.g. {named}"
    fix = "decide which is right, and delete or correct the other rows"
    return Check(name, "critical", "", said, fix, "answers", _ids(rows, bad))


def untaught(rows: pd.DataFrame) -> Check:
    """Unanswerable questions that only one role has, or so few that no threshold can be chosen."""
    name = "questions without an answer"
    counts = rows["label"].value_counts()
    none, some = int(counts.get(UNANSWERABLE, 0)), int(counts.get(ANSWERABLE, 0))
    if not some:
        said = "no question has an answer"
        return Check(name, "critical", "", said, "check that ingest.columns.answers names the right column", "answers")
    if none and none < SHOWN * 10:
        said = f"{none} of {none + some} questions have no answer: too few to learn when to say so"
        fix = "bring more of them, or take them out"
        return Check(name, "warning", "", said, fix, "answers", _ids(rows, rows["label"] == UNANSWERABLE))
    return Check(name, "warning", f"{some} questions have an answer, {none} have none", column="answers")


def duplicates(rows: pd.DataFrame) -> Check:
    name = "duplicate question"
    again = _again(rows)
    if not again.any():
        return Check(name, "warning", "no question is asked twice of the same context")
    row, older = _pair(rows, again)
    said = f"{_count(again)} asked before of the same context, e.g. {row} as {older}"
    fix = "put all answers into one row: copies count twice in training and in every score"
    return Check(name, "warning", "", said, fix, "question", _ids(rows, again))


def other_answers(rows: pd.DataFrame) -> Check:
    name = "question answered in two ways"
    answered = rows["answers"].notna() & (rows["content"] >= 0)
    ways = rows[answered].groupby("content")["answers"].nunique()
    bad = answered & rows["content"].isin(ways.index[ways > 1]) & (rows["label"] == ANSWERABLE)
    if not bad.any():
        return Check(name, "warning", "no question has other answers in another row", column="answers")
    said = "; ".join(f"{at} {shown(answers)}" for at, answers in _first(rows[bad], "answers"))
    fix = "put all right answers into one row"
    return Check(
        name, "warning", "", f"{_count(bad)} with other answers elsewhere: {said}", fix, "answers", _ids(rows, bad)
    )


def short_contexts(rows: pd.DataFrame, minimum: int) -> Check:
    name = "short context"
    bad = rows["fault"].isna() & (rows["context"].str.strip().str.len() < minimum)
    if not bad.any():
        return Check(name, "warning", f"every context has {minimum} characters or more", column="context")
    said = f"{_count(bad)} about a context of fewer than {minimum} characters (validate.min_context_length)"
    return Check(name, "warning", "", said, "check that the context is whole", "context", _ids(rows, bad))


def near_contexts(rows: pd.DataFrame, threshold: float) -> Check:
    """Contexts that are nearly that of an earlier row."""
    name = "near-duplicate context"
    first = contents(rows["context"]).first
    pairs = near_pairs(Normalised(rows["context"], first), threshold)
    if not len(pairs):
        return Check(name, "warning", f"no two contexts share {threshold:.0%} of their 5-grams", column="context")
    ids = rows["row_id"]
    chosen = np.lexsort((pairs.older, pairs.newer))[0]
    one, other = ids.iloc[first[pairs.newer[chosen]]], ids.iloc[first[pairs.older[chosen]]]
    newer = tuple(ids.iloc[first[np.unique(pairs.newer)]])
    said = (
        f"{len(newer)} contexts share {threshold:.0%} or more of their 5-grams with an earlier one, e.g. that of {one} "
        f"is {pairs.similarity[chosen]:.0%} like that of {other}"
    )
    fix = "delete those that say nothing new; split keeps them on one side"
    return Check(name, "warning", "", said, fix, "context", newer)


def long_answers(rows: pd.DataFrame) -> Check:
    """Answers that are their whole context, or a paragraph."""
    name = "answer as long as a paragraph"
    answers = pd.Series(_first_answers(rows), rows.index, dtype=object)
    whole = answers.str.strip().str.len() == rows["context"].str.strip().str.len()
    bad = (rows["label"] == ANSWERABLE) & (whole | (answers.map(lambda text: len(text.split())) > MANY_WORDS))
    if not bad.any():
        return Check(name, "warning", f"no answer has more than {MANY_WORDS} words, or is all of its context",
                     column="answers")  # fmt: skip
    said = f"{_count(bad)} with an answer of more than {MANY_WORDS} words, or of the whole context"
    fix = "shorten it to the words that answer; a model gives no more than train.max_answer tokens"
    return Check(name, "warning", "", said, fix, "answers", _ids(rows, bad))


def blank_edges(rows: pd.DataFrame) -> Check:
    name = "answer with blanks around it"
    answers = pd.Series(_first_answers(rows), rows.index, dtype=object)
    bad = answers.str.strip() != answers
    if not bad.any():
        return Check(name, "warning", "no answer begins or ends with white space", column="answers")
    fix = "take the blanks away, and correct answer_start"
    return Check(name, "warning", "", f"{_count(bad)} with blanks around the answer", fix, "answers", _ids(rows, bad))


def long_questions(rows: pd.DataFrame, tokens: Ints, maximum: int) -> Check:
    """Questions that take half of a window or more."""
    name = "question longer than half a window"
    bad = pd.Series(tokens > maximum // 2, rows.index)
    if not bad.any():
        longest = int(tokens.max()) if len(tokens) else 0
        return Check(name, "warning", f"the longest question has {longest} tokens of {maximum} (train.max_length)",
                     column="question")  # fmt: skip
    said = f"{_count(bad)} of up to {int(tokens.max())} tokens, where a window has {maximum} (train.max_length)"
    fix = "shorten it, or raise train.max_length; what is beyond train.max_question is cut off"
    return Check(name, "warning", "", said, fix, "question", _ids(rows, bad))


def lost_answers(rows: pd.DataFrame, questions: Ints, answers: Ints, maximum: int) -> Check:
    """Answers that fit into no window beside their question. What windows cut apart all the same, train counts."""
    name = "answer longer than a window"
    room = maximum - np.minimum(questions, maximum // 2) - SPECIAL
    bad = pd.Series((rows["label"] == ANSWERABLE).to_numpy() & (answers > room), rows.index)
    if not bad.any():
        return Check(name, "warning", f"every answer fits into a window of {maximum} tokens", column="answers")
    longest = int(answers[bad.to_numpy()].max())
    said = f"{_count(bad)} with an answer of up to {longest} tokens, which no window of {maximum} tokens holds whole"
    fix = "shorten it, or raise train.max_length; nothing is learned from it so"
    return Check(name, "warning", "", said, fix, "answers", _ids(rows, bad))


def _first_answers(rows: pd.DataFrame) -> list[str]:
    """The first answer of each row that can be used, else an empty text."""
    cells = zip(rows["answers"], rows["fault"].isna(), strict=True)
    found = [json.loads(said) if isinstance(said, str) and sound else [] for said, sound in cells]
    return [one[0]["text"] if one else "" for one in found]


def _again(rows: pd.DataFrame) -> pd.Series[bool]:
    return rows["content"].duplicated() & (rows["content"] >= 0)


def _pair(rows: pd.DataFrame, again: pd.Series[bool]) -> tuple[str, str]:
    row = rows.iloc[int(again.to_numpy().argmax())]
    older = rows.iloc[int((rows["content"] == row["content"]).to_numpy().argmax())]
    return str(row["row_id"]), str(older["row_id"])


def _first(rows: pd.DataFrame, column: str) -> list[tuple[str, str]]:
    """Where the first rows stand, and what they have in ``column``."""
    head = rows.head(SHOWN)
    return [(f"{row_id}", str(value)) for row_id, value in zip(head["row_id"], head[column], strict=True)]


def _count(mask: pd.Series[bool]) -> str:
    count = int(mask.sum())
    return f"{count} question" if count == 1 else f"{count} questions"


def _ids(rows: pd.DataFrame, mask: pd.Series[bool]) -> tuple[str, ...]:
    return tuple(rows.loc[mask, "row_id"])


class _QuestionChecks:
    """See `finetide.data.kinds.Checks`."""

    schema = SCHEMA
    params = QuestionValidateParams

    def assess(self, rows: pd.DataFrame, asked: Asked) -> Quality:
        count = partial(count_tokens, tokenizer=Path(asked.base) / "tokenizer.json")
        subject = Questions(asked.params, count, asked)
        return judge_rows(rows, asked.suite, asked.params, subject, first_window=asked.first_window)


CHECKS = _QuestionChecks()

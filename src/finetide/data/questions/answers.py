"""What a cell of answers says, and whether it is true of its context."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from finetide.data.questions.schema import ANSWERABLE, UNANSWERABLE
from finetide.data.text import shown

# Places of an answer that a message names.
NAMED = 5
# Characters of the context shown where an answer should stand.
AROUND = 40


class Fault(NamedTuple):
    """``kind``: the check's name; ``detail``: what was found."""

    kind: str
    detail: str
    fix: str


class Answers(NamedTuple):
    """``said``: the answers as canonical JSON, or as they came where there is a fault; None where nobody has said.
    ``label``: whether there is one."""

    said: str | None
    label: str | None
    fault: Fault | None = None


SHAPE = 'write a list of {"text": …, "answer_start": …}, [] where there is no answer'


def read(given: Any, impossible: Any, question: str, context: str) -> Answers:
    """Args: given: what the file has, JSON or parsed; impossible: SQuAD 2.0's is_impossible, None without."""
    if not question.strip():
        return _bad(given, "empty question", f"asks nothing of {shown(context)!r}", "write the question")
    if not context.strip():
        return _bad(given, "missing context", f"{shown(question)!r} has nothing to look in", "write the context")
    if isinstance(given, str):
        if not given.strip():
            given = None
        else:
            try:
                given = json.loads(given)
            except (ValueError, RecursionError):
                return _bad(given, "answers that are no list", f"{shown(given)!r} is no JSON", SHAPE)
    if given is None:
        return Answers("[]", UNANSWERABLE) if impossible is True else Answers(None, None)
    listed, fault = _listed(given)
    found: dict[tuple[int, str], None] = {}
    for entry in listed:
        one = _placed(entry, context)
        if isinstance(one, Fault):
            fault = fault or one
        else:
            found[one] = None
    if fault is None and impossible is True and listed:
        said = f"is_impossible is true, and {shown(listed[0].get('text'))!r} is given"
        fault = Fault("impossible with an answer", said, "take the answers out, or write is_impossible: false")
    if fault is None and impossible is False and not listed:
        said = "is_impossible is false, and no answer is given"
        fault = Fault("possible without an answer", said, "write the answer, or is_impossible: true")
    if fault is not None:
        return Answers(_said(given), None, fault)
    answers = [{"text": text, "answer_start": start} for start, text in found]
    return Answers(json.dumps(answers, ensure_ascii=False), ANSWERABLE if answers else UNANSWERABLE)


def golds(said: Any) -> tuple[str, ...] | None:
    """The texts of a canonical cell; None for a missing one."""
    return tuple(answer["text"] for answer in json.loads(said)) if isinstance(said, str) else None


def place(said: Any) -> tuple[int, int] | None:
    """Characters between which the first answer of a canonical cell stands; None without one."""
    found = json.loads(said) if isinstance(said, str) else []
    return (found[0]["answer_start"], found[0]["answer_start"] + len(found[0]["text"])) if found else None


def _bad(given: Any, kind: str, detail: str, fix: str) -> Answers:
    return Answers(_said(given), None, Fault(kind, detail, fix))


def _said(given: Any) -> str | None:
    if given is None or isinstance(given, str):
        return given
    return json.dumps(given, ensure_ascii=False, default=str)


def _listed(given: Any) -> tuple[list[Mapping[str, Any]], Fault | None]:
    """Entries of a list, or of the columns ``text`` and ``answer_start`` that Hugging Face writes."""
    kind = "answers that are no list"
    if isinstance(given, Mapping):
        texts, starts = given.get("text"), given.get("answer_start")
        if not isinstance(texts, list) or not isinstance(starts, list):
            return [], Fault(kind, f"{shown(_said(given))!r} is an object", SHAPE)
        if len(texts) != len(starts):
            said = f"{len(texts)} texts with {len(starts)} places: {shown(_said(given))!r}"
            return [], Fault(kind, said, "give every text its answer_start")
        given = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
    if not isinstance(given, list):
        return [], Fault(kind, f"{shown(_said(given))!r} is a {type(given).__name__}", SHAPE)
    strangers = [entry for entry in given if not isinstance(entry, Mapping)]
    if strangers:
        return [], Fault(kind, f"{shown(_said(strangers[0]))!r} stands in the list", SHAPE)
    return given, None


def _placed(entry: Mapping[str, Any], context: str) -> tuple[int, str] | Fault:
    """(place, text) of an answer that stands there."""
    text, start = entry.get("text"), entry.get("answer_start")
    if not isinstance(text, str) or not text.strip():
        said = f"text is {shown(text)!r}"
        return Fault("answer without a text", said, "write the words as the context has them; [] where there are none")
    if isinstance(start, float) and start == int(start):
        start = int(start)
    places = _places(text, context)
    if start is None and len(places) == 1:
        return places[0], text
    named = ", ".join(map(str, places[:NAMED])) + (" and more" if len(places) > NAMED else "")
    if start is None and places:
        said = f"{shown(text)!r} stands at {named}, and none is named"
        return Fault("answer without its place", said, "write answer_start: characters before it, from 0")
    if start is not None and (isinstance(start, bool) or not isinstance(start, int) or start < 0):
        said = f"answer_start of {shown(text)!r} is {shown(start)!r}" + (f"; it stands at {named}" if places else "")
        return Fault("answer_start that is no place", said, "write the number of characters before it, from 0")
    if start is not None and context[start : start + len(text)] == text:
        return start, text
    return _misplaced(text, start, places, context)


def _misplaced(text: str, start: int | None, places: list[int], context: str) -> Fault:
    if not places:
        near = context.casefold().find(text.casefold())
        if near >= 0 and len(context.casefold()) == len(context):
            other = context[near : near + len(text)]
            return Fault(
                "answer that is not in its context", f"{shown(text)!r} is spelled {shown(other)!r} there, at {near}",
                f'write {{"text": {json.dumps(other, ensure_ascii=False)}, "answer_start": {near}}}',
            )  # fmt: skip
        return Fault(
            "answer that is not in its context", f"{shown(text)!r} is nowhere in {shown(context)!r}",
            "copy the answer from the context, to the letter",
        )  # fmt: skip
    assert start is not None
    there = context[start : start + min(len(text), AROUND)]
    seen = f"the context has {shown(there)!r} there" if there else f"the context has {len(context)} characters"
    nearest = min(places, key=lambda place: (abs(place - start), place))
    return Fault(
        "answer not at its place", f"{shown(text)!r} at {start}, and {seen}; it stands at {nearest}",
        f"write answer_start: {nearest}",
    )  # fmt: skip


def _places(text: str, context: str) -> list[int]:
    found, at = [], context.find(text)
    while at >= 0:
        found.append(at)
        at = context.find(text, at + 1)
    return found

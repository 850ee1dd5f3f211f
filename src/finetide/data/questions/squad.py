"""SQuAD's JSON, 1.1 and 2.0 → questions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from finetide.data.decode import decode, read_bytes
from finetide.data.problems import Problems
from finetide.data.readers import HALF_CHARACTER, MAX_CHARACTERS
from finetide.data.text import shown
from finetide.errors import DataError

SUFFIXES = (".json", ".json.gz")


class Given(NamedTuple):
    """A question as its file has it. ``line``: of a table its line, of JSON its number, from 1."""

    line: int
    place: str
    id: str | None
    question: str
    context: str
    answers: Any
    impossible: Any
    split: str | None = None
    group: str | None = None


def read_squad(path: Path, name: str, encoding: str, group: str | None) -> Iterator[Given]:
    """Args: group: ``title``, or None.

    Raises: DataError: it is no JSON, or not of SQuAD's shape; the place is named.
    """
    if group not in (None, "title"):
        raise DataError(
            "SQuAD's JSON has no such column", where=name, found=group, fix="write ingest.columns.group: title, or null"
        )
    text = decode(read_bytes(path, name), name, encoding)
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise DataError(f"is no JSON: {error}", where=name, fix="copy or download the file again") from error
    articles = document.get("data") if isinstance(document, dict) else None
    if not isinstance(articles, list):
        raise DataError(
            "is not SQuAD's JSON: it has no list `data`", where=name, found=shown(text[:60]),
            fix="write {data: [{title, paragraphs: [{context, qas: [{id, question, answers}]}]}]}; or one row a line, "
            "as .jsonl",
        )  # fmt: skip
    problems = Problems(name, "has texts that no model reads", fix="correct these questions, or take them out")
    line = 0
    for number, article in enumerate(articles):
        at = f"data[{number}]"
        for second, paragraph in enumerate(_list(article, "paragraphs", at, name)):
            below = f"{at}.paragraphs[{second}]"
            for third, asked in enumerate(_list(paragraph, "qas", below, name)):
                line += 1
                place = f"{below}.qas[{third}]"
                if not isinstance(asked, dict):
                    raise DataError("is no object", where=f"{name}: {place}", found=shown(asked), fix=_SHAPE)
                context, question = _text(paragraph.get("context")), _text(asked.get("question"))
                for text in (context, question):
                    if HALF_CHARACTER.search(text):
                        problems.add(None, f"{place}: half a character (a lone surrogate) in {shown(text)!a}")
                    if len(text) > MAX_CHARACTERS:
                        problems.add(None, f"{place}: {len(text):,} characters, more than {MAX_CHARACTERS:,}")
                given = asked.get("id")
                title = _text(article.get("title")).strip() or None
                yield Given(
                    line, place, None if given is None else str(given), question, context, asked.get("answers"),
                    asked.get("is_impossible"), None, title if group else None,
                )  # fmt: skip
    problems.raise_if_any()
    if not line:
        raise DataError("holds no question", where=name, fix="put questions into it, or leave it out")


_SHAPE = "give it SQuAD's shape: data, paragraphs, qas"


def _list(value: Any, key: str, at: str, name: str) -> list[Any]:
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise DataError(f"has no list `{key}`", where=f"{name}: {at}", found=shown(value), fix=_SHAPE)
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")

"""The suites that ``finetide init`` writes: JSON of Great Expectations 1.x, made without importing it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from finetide.contracts.quality import Severity
from finetide.errors import DataError


def default_suite(task: str) -> dict[str, Any]:
    """The suite that ``finetide init`` writes to data/MODEL/suite.json; the user adds to it.

    Raises: DataError for a task without one.
    """
    if task not in SUITES:
        raise DataError("there is no suite for this task", where="task", found=task, fix=f"known: {', '.join(SUITES)}")
    return {
        "name": task,
        "expectations": SUITES[task](),
        "meta": {
            "notes": f"Great Expectations 1.x. Columns: {COLUMNS.get(task, 'those of rows.parquet')}. "
            "Every expectation has a severity; its meta.notes says what it means when it fails."
        },
    }


def _expect(kind: str, severity: Severity, notes: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_{kind}", "kwargs": kwargs, "severity": severity, "meta": {"notes": notes}}


def _text_classification() -> list[dict[str, Any]]:
    return [*_every_table("text"), *_texts(), *_labels()]


def _image_classification() -> list[dict[str, Any]]:
    return [*_every_table("name"), *_images(), *_labels()]


def _images() -> list[dict[str, Any]]:
    return [
        _expect(
            "column_values_to_be_in_set", "critical", "the mode is neither grey nor RGB", column="mode",
            value_set=["L", "RGB"],
        ),
        *(
            _expect(
                "column_values_to_be_between", "warning", f"the {side} is that of an icon or of a poster", column=side,
                min_value=8, max_value=8192,
            )
            for side in ("width", "height")
        ),
        _expect(
            "column_values_to_be_between", "info", "the file is larger than a camera's", column="size", min_value=1,
            max_value=32 << 20,
        ),
        _expect(
            "column_proportion_of_unique_values_to_be_between", "warning", "fewer than half of the images differ",
            column="digest", min_value=0.5,
        ),
    ]  # fmt: skip


def _question_answering() -> list[dict[str, Any]]:
    return [*_every_table("question", "context", "answers"), *_questions()]


def _questions() -> list[dict[str, Any]]:
    return [
        _expect("column_values_to_be_in_set", "critical", "the label says neither",
                column="label", value_set=["answerable", "unanswerable"]),
        _expect("column_values_to_match_regex", "warning", "the question has no letter and no digit", column="question",
                regex=r"\w"),
        _expect("column_values_to_be_between", "warning", "the question is as long as a context",
                column="question_length", min_value=3, max_value=1000),
        _expect("column_values_to_be_between", "warning", "the context is as long as a book", column="context_length",
                min_value=1, max_value=100000),
        *(
            _expect("column_values_to_not_match_regex", kind, f"the {column} has {said}", column=column, regex=regex)
            for column in ("question", "context")
            for kind, said, regex in _ODD
        ),
        _expect("column_proportion_of_unique_values_to_be_between", "warning",
                "fewer than half of the questions are different ones", column="question", min_value=0.5),
    ]  # fmt: skip


_ODD: tuple[tuple[Severity, str, str], ...] = (
    ("warning", "characters that were lost in a conversion (U+FFFD)", "\ufffd"),
    ("warning", "UTF-8 that was read as Windows-1252", "Ã[\u0080-\u00bf]|â€|Â[\u00a0-\u00bf]"),
    ("warning", "control characters", r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"),
    ("info", "markup", r"</?[a-zA-Z][^<>]*>|&[a-z]+;"),
)


def _every_table(*payload: str) -> list[dict[str, Any]]:
    columns = ["row_id", "role", "file", "line", "label", "split", "group", *payload]
    return [
        _expect("table_row_count_to_be_between", "critical", "there is no row to learn from", min_value=1),
        _expect(
            "table_columns_to_match_set",
            "critical",
            "the table is not the one that ingest writes",
            column_set=columns,
            exact_match=False,
        ),
        _expect("column_values_to_be_unique", "critical", "a row id names more than one row", column="row_id"),
        _expect(
            "column_values_to_be_in_set",
            "critical",
            "a row is neither reference nor incoming",
            column="role",
            value_set=["reference", "incoming"],
        ),
    ]


def _texts() -> list[dict[str, Any]]:
    return [
        _expect("column_values_to_not_be_null", "critical", "a row has no text", column="text"),
        _expect(
            "column_values_to_match_regex",
            "warning",
            "the text has no letter and no digit",
            column="text",
            regex=r"\w",
        ),
        _expect(
            "column_values_to_be_between",
            "warning",
            "the text is as long as a whole document, or empty",
            column="text_length",
            min_value=1,
            max_value=20000,
        ),
        _expect(
            "column_values_to_be_between",
            "warning",
            "the text has more tokens than any model here reads, or none",
            column="text_tokens",
            min_value=1,
            max_value=4096,
        ),
        _expect(
            "column_values_to_not_match_regex",
            "warning",
            "characters were lost in a conversion (U+FFFD)",
            column="text",
            regex="\ufffd",
        ),
        _expect(
            "column_values_to_not_match_regex",
            "warning",
            "UTF-8 that was read as Windows-1252",
            column="text",
            regex="Ã[\u0080-\u00bf]|â€|Â[\u00a0-\u00bf]",
        ),
        _expect(
            "column_values_to_not_match_regex",
            "warning",
            "the text has control characters",
            column="text",
            regex=r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]",
        ),
        _expect(
            "column_values_to_not_match_regex",
            "warning",
            "a placeholder stands where a text should",
            column="text",
            regex=r"(?i)^\s*(n/?a|none|null|nan|undefined|todo|tbd|test|asdf|lorem ipsum.*)\s*$",
        ),
        _expect(
            "column_values_to_not_match_regex",
            "info",
            "the text has markup, which tells a model where it comes from",
            column="text",
            regex=r"</?[a-zA-Z][^<>]*>|&[a-z]+;",
        ),
        _expect(
            "column_proportion_of_unique_values_to_be_between",
            "warning",
            "fewer than half of the texts are different ones",
            column="text",
            min_value=0.5,
        ),
    ]


def _labels() -> list[dict[str, Any]]:
    return [
        _expect(
            "column_values_to_match_regex",
            "warning",
            "the label begins or ends with a space",
            column="label",
            regex=r"^\S(.*\S)?$",
        ),
    ]


SUITES: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "text-classification": _text_classification,
    "image-classification": _image_classification,
    "question-answering": _question_answering,
}
COLUMNS = {
    "text-classification": "those of rows.parquet, text_length (characters), text_tokens",
    "question-answering": "those of rows.parquet, question_length and context_length (characters)",
}

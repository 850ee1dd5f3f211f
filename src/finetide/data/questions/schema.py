"""The table of rows of questions: the common columns, then these. ``label`` says whether there is an answer."""

from __future__ import annotations

import pyarrow as pa

from finetide.data.table import COMMON

ANSWERABLE, UNANSWERABLE = "answerable", "unanswerable"
SCHEMA = pa.unify_schemas(
    [
        COMMON,
        pa.schema(
            [
                pa.field("question", pa.string(), nullable=False),
                pa.field("context", pa.string(), nullable=False),
                pa.field("answers", pa.string()),  # JSON, a list of {text, answer_start}; null where nobody has said
                pa.field("id", pa.string()),  # the user's own
                pa.field("place", pa.string(), nullable=False),  # in its file, such as data[3].paragraphs[0].qas[2]
                pa.field("fault", pa.string()),  # why it cannot be used
                pa.field("detail", pa.string()),  # of the fault
                pa.field("fix", pa.string()),
                pa.field("digest", pa.string(), nullable=False),  # equal for the same question about the same context
                pa.field("name", pa.string(), nullable=False),  # the question on one line
            ]
        ),
    ]
)

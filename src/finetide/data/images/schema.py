"""The table of rows of images: the common columns, then these. The bytes lie in the store (`data.payload`)."""

from __future__ import annotations

import pyarrow as pa

from finetide.data.table import COMMON

SCHEMA = pa.unify_schemas(
    [
        COMMON,
        pa.schema(
            [
                pa.field("name", pa.string(), nullable=False),  # where the image lies in its file
                pa.field("image", pa.string(), nullable=False),  # SHA-256 of its bytes
                pa.field("start", pa.int64(), nullable=False),  # of the bytes in the store
                pa.field("size", pa.int64(), nullable=False),
                pa.field("width", pa.int64(), nullable=False),
                pa.field("height", pa.int64(), nullable=False),
                pa.field("mode", pa.string(), nullable=False),
                pa.field("fault", pa.string()),  # why it cannot be used
                pa.field("fix", pa.string()),
                pa.field("digest", pa.string(), nullable=False),  # equal for equal pixels
                pa.field("look", pa.string()),  # 16 × 16 grey values, base64
            ]
        ),
    ]
)

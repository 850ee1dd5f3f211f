"""Rows → CSV that every reader takes apart as it was put together."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from typing import Any


class _Lines(list[str]):
    def write(self, line: str) -> None:
        self.append(line.removesuffix("\r\n") + "\n")


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]], delimiter: str = ",") -> str:
    """Lines end in LF; a missing value (None, NaN) is an empty cell.

    The csv module puts quotes around a cell for the characters of its own line end only: with LF for a line end, a
    carriage return in a text would stand bare, and readers would see two rows. So it is told CRLF, and the CR dropped.
    """
    lines = _Lines()
    writer = csv.writer(lines, delimiter=delimiter, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows(["" if value is None or value != value else value for value in row] for row in rows)
    return "".join(lines)

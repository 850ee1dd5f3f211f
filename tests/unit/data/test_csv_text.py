from __future__ import annotations

import csv
import io

import pytest

from finetide.data.csv_text import csv_text


@pytest.mark.parametrize("text", ["a\rb", "a\nb", "a\r\nb", "\r", 'say "no", please', ""])
def test_any_csv_reader_sees_the_rows_that_were_written(text: str) -> None:
    written = csv_text(["text", "label"], [[text, "x"], [None, float("nan")]])
    assert list(csv.reader(io.StringIO(written, newline=""))) == [["text", "label"], [text, "x"], ["", ""]]


def test_lines_end_in_lf() -> None:
    assert csv_text(["a", "b"], [[1, "c"]], "\t") == "a\tb\n1\tc\n"

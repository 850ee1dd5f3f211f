from __future__ import annotations

import re
from html.parser import HTMLParser

from finetide.contracts.quality import CheckResult, Finding, QualityVerdict, RowRef
from finetide.data.page import render

HOSTILE = "<script>alert('x')</script> & \"quoted\""
ROW = RowRef(row_id="a.csv:3", file="a.csv", line=3, column="text", value=HOSTILE)


def verdict(rows: int = 1, **changed: object) -> QualityVerdict:
    values = {
        "verdict": "fail",
        "reason": "1 critical finding: empty text.",
        "rows": 12345,
        "kept": 12344,
        "quarantined": 1,
        "labels": ("a", "b"),
        "counts": {"reference": {"a": 30, "b": 10}, "incoming": {"a": 3, "new": 15}},
        "checks": (
            CheckResult(check="rows", source="finetide", severity="critical", passed=True, detail="12345 rows"),
            CheckResult(check="odd", source="great-expectations", severity="info", passed=False, detail=HOSTILE),
        ),
        "findings": (
            Finding(
                check="empty text",
                severity="critical",
                message="no text",
                fix="write one",
                count=rows,
                rows=(ROW,) * min(rows, 20),
            ),
        ),
        **changed,
    }
    return QualityVerdict.model_validate(values)


class Page(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(value) for name, value in attrs if name in ("src", "href", "srcset", "action")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_from_outside_and_is_well_formed() -> None:
    text = render(verdict(rows=30), "mail")
    page = Page(text)
    assert page.open == []
    assert page.links == []
    assert "script" not in page.tags
    assert not re.search(r"https?:|@import|url\(", text)


def test_texts_are_escaped() -> None:
    text = render(verdict(), "mail")
    assert "<script" not in text
    assert "&lt;script&gt;alert(&#39;x&#39;)" in text


def test_verdict_findings_checks_and_counts_are_there() -> None:
    text = render(verdict(rows=30), "mail")
    for part in (
        "Data quality of <code",
        "1 critical finding: empty text.",
        "<b>12,345</b>rows",
        "<b>1</b>quarantined",
        '<span class="badge critical">critical</span>',
        '<span class="badge info">info</span>',
        '<span class="badge good">passed</span>',
        "<code>a.csv:3</code>",
        "write one",
        "show 15 more",
        "30 rows in all; the first 20 are listed here.",
    ):
        assert part in text, part
    assert text.index('class="word"') < text.index("empty text</h3>")


def test_bars_show_every_label_in_every_role_against_the_longest() -> None:
    text = render(verdict(), "mail")
    widths = re.findall(r'class="bar (\w+)" style="width: ([\d.]+)%"', text)
    assert widths == [
        ("reference", "100.0"),
        ("incoming", "10.0"),
        ("reference", "33.3"),
        ("incoming", "0.0"),
        ("reference", "0.0"),
        ("incoming", "50.0"),
    ]


def test_a_verdict_about_nothing_is_a_page_too() -> None:
    text = render(verdict(labels=(), counts={}, checks=(), findings=()), "mail")
    assert "There are no labels." in text
    assert "None." in text


def test_the_same_verdict_gives_the_same_page() -> None:
    assert render(verdict(), "mail") == render(verdict(), "mail")

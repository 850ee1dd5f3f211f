"""shift.html says the verdict, escapes what came from data, loads nothing, and is equal for equal input."""

from __future__ import annotations

import base64
import re

import numpy as np
import pytest

from finetide.contracts.shift import Recipe, RecipeStep, ShiftVerdict
from finetide.shift.detect import Limits, Sizes, detect, without_test
from finetide.shift.page import Pictures, curves, render
from finetide.shift.power import curve, rows_needed
from finetide.shift.sample import Sample

LIMITS = Limits(alpha=0.05, permutations=99, min_rows=20, harmless_auc=0.7, halt_auc=0.95, min_labelled_share=0.5)
RECIPE = Recipe(
    verdict="adapt",
    replay=0.5,
    reason="mix the incoming rows with 50% of the reference rows (train.replay); covariate shift: weigh",
    followed=True,
    steps=(RecipeStep(kind="weigh", reason="the sides overlap"),),
    weight_clip=4.0,
    forgetting_margin=0.02,
)
HOSTILE = "<script>alert('shift')</script>"


def made() -> tuple[ShiftVerdict, Sample]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(160, 5))
    x[:80, 0] += 1.5
    incoming = np.array([True] * 80 + [False] * 80)
    labels = [("ab"[code] if code < 2 else HOSTILE) for code in rng.integers(0, 3, 160)]
    texts = [f"{HOSTILE} {i}" for i in range(160)]
    sample = Sample(incoming, x, labels, texts, places=[(f"r{i}", HOSTILE, i) for i in range(160)])
    return detect(sample, Sizes(80, 80, 1.0, ()), LIMITS, seed=1), sample


@pytest.fixture(scope="module")
def page() -> str:
    verdict, sample = made()
    return render("mail", verdict, RECIPE, LIMITS, sample.features, sample.incoming)


def test_it_says_the_verdict_the_causes_and_what_training_does(page: str) -> None:
    verdict, _ = made()
    assert verdict.verdict == "adapt"
    for said in (
        '<div class="word">adapt</div>', "The incoming rows differ: train on them.", "Covariate: the inputs differ by",
        "Mix the incoming rows with 50% of the reference rows (train.replay); covariate shift: weigh.",
        "<b>weigh</b>: the sides overlap.", "at most 2.0 points of accuracy may be lost against the champion",
        "domain classifier", "Slices",
        "Incoming rows least like the reference", "Of windows in which nothing moved, 5.00% are called shifted",
    ):  # fmt: skip
        assert said in page


def test_nothing_of_the_data_is_markup_and_nothing_is_loaded(page: str) -> None:
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "default-src 'none'" in page


def test_equal_input_gives_the_equal_page(page: str) -> None:
    verdict, sample = made()
    assert page == render("mail", verdict, RECIPE, LIMITS, sample.features, sample.incoming)


def test_without_incoming_rows_it_says_so_and_draws_nothing() -> None:
    verdict = without_test(Sizes(100, 0, 0.0, ()), LIMITS)
    assert verdict is not None
    found = render("mail", verdict, Recipe(verdict="none", replay=1.0, reason="all"), LIMITS, None, np.zeros(9, bool))
    assert "Nothing has arrived: there are no incoming rows." in found
    assert "<img" not in found


def test_power_rises_with_the_effect_and_with_the_rows() -> None:
    effects, drawn, matters, _ = curves(made()[0], LIMITS)
    assert matters == 0.7
    assert all(np.all(np.diff(values) >= 0) for values in drawn.values())
    assert drawn["50 against 80"][10] < drawn["this window: 80 against 80"][10] < drawn["1000 against 80"][10]
    assert effects[0] == 0.5


def test_power_without_a_shift_is_alpha() -> None:
    """The 1 % critical value of an AUC of 100 against 100 rows, by the normal approximation of the rank test."""
    critical = 0.5 + 2.3263 * np.sqrt(201 / (12 * 100 * 100))
    assert curve(critical, (100, 100), (100, 100), [0.5])[0] == pytest.approx(0.01, abs=0.001)
    assert curve(critical, (100, 100), (400, 900), [0.5])[0] == pytest.approx(0.01, abs=0.001)


def test_rows_needed_is_the_size_at_which_the_effect_is_detectable() -> None:
    assert rows_needed(0.7, 0.6, 100, 100) == (400, True)
    rows, both = rows_needed(0.62, 0.6, 50, 1000)
    assert not both
    assert 1 / rows + 1 / 1000 == pytest.approx((1 / 50 + 1 / 1000) * (0.1 / 0.12) ** 2, rel=0.02)


def test_images_are_shown_each_beside_its_row_and_some_of_the_reference() -> None:
    verdict, sample = made()
    moved = [f"moved {place}".encode() for place in range(len(verdict.moved))]
    seen = Pictures(moved, [b"reference"])
    found = render("mail", verdict, RECIPE, LIMITS, sample.features, sample.incoming, seen)
    lines = [line for line in found.splitlines() if 'class="small"' in line]
    assert len(lines) == len(moved) + 1
    for line, row, data in zip(lines, verdict.moved, moved, strict=False):
        assert f'src="data:image/png;base64,{base64.b64encode(data).decode()}"' in line
        assert f":{row.line}</code>" in line
    assert base64.b64encode(b"reference").decode() in lines[-1]
    assert "<th>image</th>" in found
    assert HOSTILE not in found

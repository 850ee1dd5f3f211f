import re
import xml.etree.ElementTree as ElementTree

import pytest

from finetide.contracts.metrics import Measure, ReliabilityBin
from finetide.report.charts import bars, curves, heat_map, reliability
from finetide.report.svg import tag, ticks


def shapes(chart: str, name: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(chart).findall(f".//{name}")


def test_ticks_are_round_and_inside():
    assert ticks(0, 1) == [0, 0.25, 0.5, 0.75, 1.0]
    assert ticks(0.71, 0.88) == [0.75, 0.8, 0.85]
    assert ticks(0, 130, 6) == [0, 25, 50, 75, 100, 125]
    assert ticks(-3, 3, 3) == [-2, 0, 2]


def test_what_is_not_markup_is_escaped():
    assert tag("text", "<b>", fill='"x"') == '<text fill="&#34;x&#34;">&lt;b&gt;</text>'


def test_a_bar_is_as_long_as_its_value_and_has_its_interval():
    chart = bars(
        "Accuracy",
        {
            "ours": Measure(value=0.8, low=0.7, high=0.9, rows=10),
            "other": Measure(value=0.4, low=None, high=None, rows=10),
        },
    )
    ours, other = shapes(chart, "rect")
    assert float(ours.get("width")) == pytest.approx(2 * float(other.get("width")))
    whiskers = [one for one in shapes(chart, "line") if one.get("class") == "whisker"]
    assert len(whiskers) == 3
    low, high = float(whiskers[0].get("x1")), float(whiskers[0].get("x2"))
    start = float(ours.get("x"))
    assert (low - start) / float(ours.get("width")) == pytest.approx(0.7 / 0.8)
    assert (high - start) / float(ours.get("width")) == pytest.approx(0.9 / 0.8)


def test_curves_leave_out_steps_without_a_value():
    chart = curves(
        "Loss", [0, 1, 2], {"a": [3.0, None, 1.0], "b": [None, None, None]}, boundaries={"tune": 1.0}, percent=False
    )
    drawn = [one.get("d") for one in shapes(chart, "path")]
    assert len(re.findall(r"[ML]", drawn[0])) == 2
    assert "tune" in chart


def test_curves_of_nothing_are_nothing():
    assert curves("Loss", [0.0], {"a": [None]}, boundaries={}, percent=False) == ""
    assert curves("Loss", [], {}, boundaries={}, percent=False) == ""


def test_a_curve_of_one_point_is_drawn():
    assert shapes(curves("Loss", [0.0], {"a": [1.0]}, boundaries={}, percent=False), "circle")


def test_reliability_has_a_bar_a_bin_with_rows():
    bins = [
        ReliabilityBin(low=0.0, high=0.5, confidence=0, accuracy=0, rows=0),
        ReliabilityBin(low=0.5, high=1.0, confidence=0.8, accuracy=0.6, rows=10),
    ]
    assert len([one for one in shapes(reliability("R", bins), "rect") if one.get("class") == "ours"]) == 1


@pytest.mark.parametrize(("labels", "numbers", "names"), [(3, True, True), (20, False, True), (77, False, False)])
def test_a_larger_confusion_drops_numbers_and_then_names(labels, numbers, names):
    matrix = [[4242 if i == j else 0 for j in range(labels)] for i in range(labels)]
    chart = heat_map("C", [f"label-{i}" for i in range(labels)], matrix)
    words = [one.text for one in shapes(chart, "text")]
    assert ("4242" in words) == numbers
    assert ("label-0" in words) == names
    assert len([one for one in shapes(chart, "rect") if one.get("class") == "right"]) == labels


def test_only_cells_with_rows_are_drawn_and_wrong_ones_look_wrong():
    chart = heat_map("C", ["a", "b"], [[3, 1], [0, 0]])
    assert [one.get("class") for one in shapes(chart, "rect")] == ["frame", "right", "wrong"]

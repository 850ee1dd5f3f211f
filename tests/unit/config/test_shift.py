"""The alarm budget and the permutations that it takes."""

from __future__ import annotations

from typing import Any

import pytest

from finetide.config.load import check
from finetide.config.shift import ShiftParams
from finetide.errors import ConfigError

GIVEN: dict[str, Any] = {
    "false_alarms_per_year": 0.5, "windows_per_year": 52, "permutations": 500, "max_rows": 500, "min_rows": 30,
    "harmless_auc": 0.6, "halt_auc": 0.9, "min_labelled_share": 0.5, "harmless_drop": 0.05,
    "recipe": {"weight_clip": 4.0, "incoming_weight": 16.0, "min_overlap": 0.1, "rate_factor": 0.5, "adapt_epochs": 1,
               "adapt_min_rows": 500, "ask_labels": 100, "forgetting_margin": 0.02},
}  # fmt: skip


def read(**changes: Any) -> ShiftParams:
    return check({**GIVEN, **changes}, ShiftParams, file="params.yaml", prefix="models.mail.shift")


def test_alpha_is_the_budget_over_the_windows() -> None:
    assert read().alpha == 0.5 / 52
    assert read(false_alarms_per_year=3.65, windows_per_year=365).alpha == pytest.approx(0.01)


@pytest.mark.parametrize(("alarms", "windows", "fewest"), [(0.5, 52, 104), (1.0, 100, 100), (0.5, 365, 730)])
def test_the_fewest_permutations_are_named_and_are_enough(alarms: float, windows: int, fewest: int) -> None:
    budget = {"false_alarms_per_year": alarms, "windows_per_year": windows}
    with pytest.raises(ConfigError) as caught:
        read(**budget, permutations=fewest - 1)
    assert f"{fewest - 1} permutations cannot give a p-value below α = {alarms / windows:.3g}" in str(caught.value)
    assert f"the smallest is 1/{fewest}; take at least {fewest} permutations" in str(caught.value)
    assert 1 / (read(**budget, permutations=fewest).permutations + 1) < alarms / windows


def test_a_budget_as_large_as_the_year_is_none() -> None:
    with pytest.raises(ConfigError, match="false_alarms_per_year 60 must be below windows_per_year 52"):
        read(false_alarms_per_year=60.0)


def test_as_many_rows_are_compared_as_are_wanted() -> None:
    with pytest.raises(ConfigError, match="max_rows 29 must not be below min_rows 30"):
        read(max_rows=29)
    assert read(max_rows=30).max_rows == 30


def test_alpha_itself_is_no_setting() -> None:
    with pytest.raises(ConfigError, match=r"models\.mail\.shift\.alpha: unknown key"):
        read(alpha=0.01)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weight_clip": 0.5}, "shift.recipe.weight_clip: must be greater than or equal to 1"),
        ({"incoming_weight": 0}, "shift.recipe.incoming_weight: must be greater than or equal to 1"),
        ({"rate_factor": 0.0}, "shift.recipe.rate_factor: must be greater than 0"),
        ({"ask_labels": 0}, "shift.recipe.ask_labels: must be greater than or equal to 1"),
    ],
)
def test_the_recipe_is_bounded(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read(recipe={**GIVEN["recipe"], **changes})

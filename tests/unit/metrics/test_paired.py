import numpy as np
import pytest
from scipy.stats import binomtest

from finetide.metrics.paired import holm, mcnemar, mcnemar_worse


def pair(both: int, lost: int, gained: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    first = np.array([True] * both + [False] * lost + [True] * gained + [False] * neither, dtype=bool)
    second = np.array([True] * both + [True] * lost + [False] * gained + [False] * neither, dtype=bool)
    return first, second


@pytest.mark.parametrize(("lost", "gained"), [(0, 5), (5, 0), (3, 8), (6, 6), (1, 20)])
def test_is_the_binomial_test_of_the_rows_that_differ(lost, gained):
    first, second = pair(40, lost, gained, 7)
    assert mcnemar(first, second) == pytest.approx(binomtest(lost, lost + gained).pvalue)
    one_sided = binomtest(lost, lost + gained, alternative="greater").pvalue
    assert mcnemar_worse(first, second) == pytest.approx(one_sided)


def test_models_that_never_differ_cannot_be_told_apart():
    assert mcnemar(*pair(10, 0, 0, 5)) == 1.0
    assert mcnemar_worse(*pair(10, 0, 0, 5)) == 1.0
    assert mcnemar(*pair(0, 0, 0, 0)) == 1.0


def test_by_hand():
    # 8 lost, 0 gained: a fair coin shows that with 2^-8 on one side.
    assert mcnemar(*pair(10, 8, 0, 0)) == pytest.approx(2 / 256)
    assert mcnemar_worse(*pair(10, 8, 0, 0)) == pytest.approx(1 / 256)
    assert mcnemar_worse(*pair(10, 0, 8, 0)) == 1.0


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_holm_never_exceeds_one_and_takes_none():
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ks_2samp
from sklearn.metrics import roc_auc_score
from tokenizers import Tokenizer, models, pre_tokenizers

from finetide.shift import features, statistics
from finetide.shift.features import Domain, Mmd, Unseen
from finetide.shift.permute import Draws
from finetide.shift.texts import figures, unknown_tokens


def sides(incoming: int, reference: int) -> np.ndarray:
    return np.array([[True] * incoming + [False] * reference])


def weights(incoming: int, reference: int) -> tuple[np.ndarray, np.ndarray]:
    here = sides(incoming, reference)
    return here.astype(float), (~here).astype(float)


def domain_auc(x: np.ndarray, here: np.ndarray, seed: int = 1) -> float:
    return float(statistics.auc(Domain(x, np.random.default_rng(seed)).scores(here), here)[0])


def test_auc_is_half_without_and_high_with_a_shift() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 16))
    same = domain_auc(x, sides(200, 200))
    assert 0.4 < same < 0.6
    x[:200, 0] += 2.0
    assert domain_auc(x, sides(200, 200)) > 0.85


def test_auc_agrees_with_scikit_learn_on_separated_scores() -> None:
    x = np.concatenate([np.full((30, 1), 5.0), np.zeros((30, 1))]) + np.random.default_rng(0).normal(size=(60, 1))
    mine = domain_auc(x, sides(30, 30))
    assert mine == pytest.approx(roc_auc_score([1] * 30 + [0] * 30, x[:, 0]), abs=0.03)


def test_mmd_is_that_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(11, 3))
    side = sides(5, 6)
    z = (x - x.mean(0)) / x.std(0)
    d = ((z[:, None] - z[None]) ** 2).sum(-1)
    k = np.exp(-d / np.median(d[np.triu_indices(11, 1)]))
    a, b = range(5), range(5, 11)
    expected = (
        np.mean([k[i, j] for i in a for j in a if i != j])
        + np.mean([k[i, j] for i in b for j in b if i != j])
        - 2 * np.mean([k[i, j] for i in a for j in b])
    )
    assert Mmd(x, np.random.default_rng(0)).values(side)[0] == pytest.approx(expected)


def test_mean_difference_is_cohens_d() -> None:
    values = np.array([1.0, 2.0, 3.0, 5.0, 6.0, 7.0])
    pooled = np.sqrt((2 * 1.0 + 2 * 1.0) / 4)
    assert statistics.mean_difference(values, *weights(3, 3))[0] == pytest.approx(4 / pooled)
    assert statistics.mean_difference(np.full(6, 0.1), *weights(3, 3))[0] == 0
    assert statistics.drop(values, *weights(3, 3))[0] == pytest.approx(4.0)


def test_total_variation() -> None:
    codes = np.array([0, 0, 1, 1, 1, 2])
    assert statistics.total_variation(codes, *weights(3, 3))[0] == pytest.approx(0.5 * (2 / 3 + 1 / 3 + 1 / 3))
    assert statistics.total_variation(np.zeros(6, dtype=int), *weights(3, 3))[0] == 0


def test_a_weight_of_two_is_a_row_that_comes_twice() -> None:
    rng = np.random.default_rng(3)
    values, codes, outputs = rng.normal(size=6), np.array([0, 1, 1, 2, 0, 2]), rng.normal(size=(6, 2))
    a, b = weights(3, 3)
    a[0, 0] = 2
    again = [0, 0, 1, 2, 3, 4, 5]
    plain = weights(4, 3)
    for function, data in (
        (statistics.mean_difference, values), (statistics.total_variation, codes), (statistics.drop, values),
        (statistics.largest_gap, outputs), (statistics.weighted_auc, values),
    ):  # fmt: skip
        assert function(data, a, b)[0] == pytest.approx(function(data[again], *plain)[0])


def test_auc_of_weights_is_that_of_scikit_learn_with_ties() -> None:
    scores = np.array([1.0, 2.0, 2.0, 3.0, 0.0, 2.0])
    assert statistics.weighted_auc(scores, *weights(3, 3))[0] == pytest.approx(
        roc_auc_score([1, 1, 1, 0, 0, 0], scores)
    )


def test_the_largest_gap_is_scipys_over_the_columns() -> None:
    rng = np.random.default_rng(0)
    outputs = np.round(rng.normal(size=(50, 3)), 1)
    outputs[:20, 2] += 1.0
    expected = max(ks_2samp(column[:20], column[20:]).statistic for column in outputs.T)
    assert statistics.largest_gap(outputs, *weights(20, 30))[0] == pytest.approx(expected)


def test_about_one_in_twenty_rows_is_unseen_without_a_shift_and_all_far_ones_with_one() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 4))
    here = sides(300, 300)
    assert 0.02 < Unseen(x, np.random.default_rng(0)).values(here)[0] < 0.09
    x[:150] = np.array([9.0, -9.0, 9.0, -9.0]) + rng.normal(size=(150, 4)) / 10
    x[150:] = np.abs(x[150:])
    found = Unseen(x, np.random.default_rng(0))
    assert found.beyond(here[0])[:150].all()
    assert 0.5 < found.values(here)[0] < 0.6


def test_mmds_deviation_is_what_repeated_samples_show() -> None:
    found, deviations = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(120, 2))
        x[:60, 0] += 1.5
        mmd = Mmd(x, np.random.default_rng(0))
        found.append(mmd.values(sides(60, 60))[0])
        deviations.append(mmd.deviation(sides(60, 60)[0], 0.0))
    assert np.mean(deviations) == pytest.approx(np.std(found), rel=0.35)


def test_what_many_rows_cost_less_by_is_what_few_rows_have_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rows by all pairs, and as if they were too many for that."""
    rng = np.random.default_rng(3)
    x = np.abs(rng.normal(size=(900, 8)))
    x[:400] += 0.2
    x[:60] *= -1.0
    draws = Draws.make(np.arange(900) < 400, 60, rng).sides_of(np.ones(900, dtype=bool))

    def found() -> tuple[list[np.ndarray], float]:
        mmd = Mmd(x, np.random.default_rng(0))
        values = [mmd.values(draws), Unseen(x, np.random.default_rng(1)).values(draws)]
        return values, mmd.deviation(draws[0], float(values[0][1:].std()))

    exact, deviation = found()
    monkeypatch.setattr(features, "EXACT", 400)
    about, about_deviation = found()
    assert "random features" in Mmd(x, np.random.default_rng(0)).note
    assert about[0][0] == pytest.approx(exact[0][0], rel=0.15)
    assert about_deviation == pytest.approx(deviation, rel=0.25)
    assert about[0][1:].std() == pytest.approx(exact[0][1:].std(), rel=0.25)
    assert abs(about[0][1:].mean()) < exact[0][1:].std()  # unbiased
    assert about[1][0] == pytest.approx(exact[1][0], abs=0.06)
    for some, every in zip(about, exact, strict=True):
        assert some[0] > some[1:].max()
        assert every[0] > every[1:].max()


def test_the_deviation_of_an_auc_of_one_half_is_the_rank_tests() -> None:
    assert statistics.auc_deviation(0.5, 80, 120) == pytest.approx(np.sqrt(201 / (12 * 80 * 120)), rel=0.01)


def test_text_figures_are_what_they_say() -> None:
    found = figures(["Hello WORLD 42!", "hello there", ""])
    assert found["words"].tolist() == [3.0, 2.0, 0.0]
    assert found["digits"][0] == pytest.approx(2 / 15)
    assert found["capitals"][0] == pytest.approx(6 / 15)
    assert found["punctuation"][0] == pytest.approx(1 / 15)
    assert found["rare words"].tolist() == [pytest.approx(2 / 3), 0.5, 0.0]


def test_scripts_and_duplicates_are_those_of_both_sides() -> None:
    found = figures(["good day", "Good  day!", "добрый day", "日本", "42"])
    assert found["duplicates"].tolist() == [1.0, 1.0, 0.0, 0.0, 0.0]
    assert found["other scripts"].tolist() == [0.0, 0.0, pytest.approx(6 / 9), 1.0, 0.0]


def test_unknown_tokens_are_counted_where_the_tokenizer_has_them(tmp_path: Path) -> None:
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "words.json"))
    found = unknown_tokens(["a b", "a", ""], str(tmp_path / "words.json"))
    assert found["unknown tokens"].tolist() == [0.5, 0.0, 0.0]
    Tokenizer(models.BPE()).save(str(tmp_path / "bytes.json"))
    assert unknown_tokens(["a b"], str(tmp_path / "bytes.json")) == {}

"""The default model's messages are natural, varied, neither trivial nor hopeless, and different between the domains."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

RAW = Path(__file__).parents[2] / "data" / "tickets" / "raw"


@pytest.fixture(scope="module")
def messages() -> pd.DataFrame:
    if not (RAW / "shop.csv").exists():  # a fresh clone: the bytes are in the remote that the repository carries
        import subprocess
        import sys

        pointers = [f"data/tickets/raw/{domain}.csv.dvc" for domain in ("shop", "airline")]
        subprocess.run([sys.executable, "-m", "dvc", "pull", "-q", *pointers], cwd=RAW.parents[2], check=True)
    parts = [
        pd.read_csv(RAW / f"{domain}.csv", keep_default_na=False).assign(domain=domain)
        for domain in ("shop", "airline")
    ]
    return pd.concat(parts, ignore_index=True)


def test_there_are_enough_rows_and_intents_in_both_domains(messages: pd.DataFrame) -> None:
    assert len(messages) >= 700
    assert messages["intent"].nunique() >= 8
    assert (messages.groupby(["domain", "intent"]).size() >= 15).all()


def test_label_frequencies_differ_between_the_domains(messages: pd.DataFrame) -> None:
    shares = messages.groupby("domain")["intent"].value_counts(normalize=True).unstack()
    assert 0.5 * np.abs(shares.loc["shop"] - shares.loc["airline"]).sum() > 0.1


def test_no_five_words_stand_in_more_than_three_rows(messages: pd.DataFrame) -> None:
    found: Counter[tuple[str, ...]] = Counter()
    for text in messages["text"]:
        words = re.findall(r"\w+", text.lower())
        found.update({tuple(words[start : start + 5]) for start in range(len(words) - 4)})
    assert found.most_common(1)[0][1] <= 3


def test_near_duplicates_are_under_one_percent(messages: pd.DataFrame) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5)).fit_transform(messages["text"])
    alike = (vectors @ vectors.T).toarray()
    np.fill_diagonal(alike, 0.0)
    assert (alike.max(axis=1) > 0.8).mean() < 0.01
    assert not messages["text"].str.lower().duplicated().any()


def test_lengths_vary(messages: pd.DataFrame) -> None:
    words = messages["text"].str.split().str.len()
    assert words.quantile(0.1) <= 6
    assert words.quantile(0.9) >= 18


def test_bag_of_words_gets_it_neither_trivially_nor_hopelessly(messages: pd.DataFrame) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline

    pipe = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2)), OneVsRestClassifier(LogisticRegression(C=10, solver="liblinear"))
    )
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    accuracy = cross_val_score(pipe, messages["text"], messages["intent"], cv=folds).mean()
    assert 0.60 <= accuracy <= 0.90

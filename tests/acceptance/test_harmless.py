"""News of another house, in another style: the inputs moved, and the model in service is right as often as before."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from finetide.seeding import generator
from support.project import edit_params, finetide
from support.shared import shared_data

LABELS = {0: "world", 1: "sports", 2: "business", 3: "science"}
REFERENCE, ARRIVING = 3000, 800


def drawn(name: str, rows: int) -> pd.DataFrame:
    found = pd.read_csv(shared_data("text_cls", "agnews_to_bbc", name)).drop_duplicates("text")
    found = found[found["label"].isin(LABELS)]
    found = found.iloc[generator(7, "harmless", name).permutation(len(found))[:rows]]
    return pd.DataFrame({"text": found["text"], "topic": found["label"].map(LABELS)})


@pytest.mark.slow
def test_a_shift_that_costs_nothing_is_harmless_and_retrains_nothing(tmp_path: Path) -> None:
    known, arriving = drawn("ag_news_test.csv", REFERENCE), drawn("bbc_news.csv", ARRIVING)
    known.to_csv(tmp_path / "agnews.csv", index=False)
    arriving.to_csv(tmp_path / "bbc.csv", index=False)
    finetide(
        tmp_path, "init", "project", "--task", "text-classification", "--name", "news",
        "--reference", str(tmp_path / "agnews.csv"), "--text", "text", "--label", "topic",
    )  # fmt: skip
    root = tmp_path / "project"

    def probe_alone(params: dict[str, dict[str, list[dict[str, object]]]]) -> None:
        params["train"]["phases"] = [one for one in params["train"]["phases"] if one["kind"] == "probe"]

    edit_params(root, probe_alone, "news")
    finetide(root, "run")
    finetide(root, "advance", "news", str(tmp_path / "bbc.csv"))
    finetide(root, "run")
    status = json.loads(finetide(root, "status", "--json").stdout)["models"]["news"]
    shift = json.loads((root / "artifacts/news/shift/shift.json").read_text(encoding="utf-8"))
    print(json.dumps({key: shift[key] for key in ("verdict", "reasons", "accuracy")}, indent=1))
    assert (status["verdicts"]["shift"], status["outcome"]) == ("harmless", "not-needed")
    assert status["champion"]["version"] == "v1"
    assert shift["causes"] == ["covariate"]
    # What it loses at most, by the labels, is less than what would matter; and no row of it was trained on.
    assert "the champion is as often right" in shift["sentence"]
    assert shift["accuracy"]["labelled"] == pytest.approx(shift["accuracy"]["reference"], abs=0.05)
    assert "as often right" in finetide(root, "why", "news").stdout

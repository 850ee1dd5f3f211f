"""agnews whose labels come in other numbers, and nothing else: told by the champion alone, and corrected untrained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from finetide import base, tasks
from finetide.config.common import BaseParams
from finetide.config.load import load_section
from finetide.config.shift import ShiftParams
from finetide.engine import probe
from finetide.engine.inference import embed
from finetide.metrics.calibration import fit_temperature, softmax
from finetide.seeding import generator
from finetide.shift.detect import Limits, Sizes, detect
from finetide.shift.recipe import Situation, advise
from finetide.shift.sample import Champion, Sample
from finetide.task import ModelSettings
from support.shared import shared_data

ROOT = Path(__file__).parents[2]
ROWS, TRAINED, HELD = 2000, 500, 300
SHARES = (0.6, 0.25, 0.1, 0.05)
STRENGTHS = (0.1, 0.03, 0.01, 0.003)


def embedded(texts: list[str]) -> np.ndarray[Any, Any]:
    task = tasks.load("text-classification")
    folder = base.resolve(load_section(ROOT, "models.tickets.base", BaseParams), ROOT)
    built = task.build(folder, ModelSettings(("?",), 64, "mean", 0.0), seed=1)
    table = pd.DataFrame({"row_id": [str(place) for place in range(len(texts))], "text": texts, "label": None})
    return embed(task, built, task.encode(built, table), batch_tokens=4096, cache=ROOT / ".finetide/cache/features")


@pytest.mark.slow
def test_label_shift_alone_is_corrected_without_training_as_well_as_by_it() -> None:
    rows = pd.read_csv(shared_data("text_cls", "agnews_to_bbc", "ag_news_test.csv")).drop_duplicates("text")
    rows = rows.iloc[generator(3, "label shift").permutation(len(rows))[:ROWS]].reset_index(drop=True)
    x = embedded(list(rows["text"])).astype(np.float32)
    labels = tuple(sorted(set(rows["label_name"])))
    y = np.array([labels.index(label) for label in rows["label_name"]])
    reference, rest = np.arange(TRAINED + HELD), np.arange(TRAINED + HELD, ROWS)
    # Incoming rows: of each label as many as its new share says, and no more than half of those that there are.
    most = min((y[rest] == label).sum() / share / 2 for label, share in enumerate(SHARES))
    parts = [rest[y[rest] == label][: int(most * share)] for label, share in enumerate(SHARES)]
    arriving = generator(4, "order").permutation(np.concatenate(parts))
    test = np.setdiff1d(rest, arriving)
    train, held = reference[:TRAINED], reference[TRAINED:]

    def fit(index: Any) -> probe.Probe:
        return probe.fit(x[index], y[index], (x[held], y[held]), labels=4, strengths=STRENGTHS, max_iterations=200)

    champion = fit(train)

    def logits(index: Any, of: probe.Probe = champion) -> np.ndarray[Any, Any]:
        return (x[index] @ of.weight.T + of.bias).astype(np.float64)

    temperature = fit_temperature(logits(held), y[held])
    both = np.concatenate([arriving, reference])
    incoming = np.arange(len(both)) < len(arriving)
    outputs = softmax(logits(both), temperature)
    named = [None if here else labels[y[place]] for place, here in zip(both, incoming, strict=True)]
    scored = incoming | np.isin(both, held)
    params = load_section(ROOT, "models.tickets.shift", ShiftParams)
    limits = Limits(params.alpha, params.permutations, params.min_rows, 0.6, 0.95, 0.5)
    sample = Sample(incoming, x[both], named, champion=Champion(labels, outputs, scored))
    verdict = detect(sample, Sizes(len(reference), len(arriving), 0.0, ()), limits, seed=1)
    assert verdict.verdict == "adapt"
    assert verdict.causes == ("label",), verdict.reasons

    recipe = advise(
        verdict, params.recipe, Situation(1.0, "base", labels, texts=True, followed=True, asks=True), "news"
    )
    assert recipe.corrects
    found = {one.label: one.estimated for one in verdict.labels}
    off = max(abs((found[label] or 0.0) - share) for label, share in zip(labels, SHARES, strict=True))
    bias = temperature * np.log([recipe.priors[label] for label in labels])
    retrained = fit(np.concatenate([train, arriving]))  # with the labels that the correction did without

    def accuracy(scores: Any) -> float:
        """Of rows that come in the new shares: all test rows tell of their label, also of a rare one."""
        right = scores.argmax(axis=1) == y[test]
        return float(sum(share * right[y[test] == label].mean() for label, share in enumerate(SHARES)))

    before, corrected, trained = (
        accuracy(one) for one in (logits(test), logits(test) + bias, logits(test, retrained))
    )  # fmt: skip
    print(
        f"{len(arriving)} incoming rows without labels, shares {SHARES}: estimated within {off:.3f}; on {len(test)} "
        f"others the champion {before:.1%}, with new priors {corrected:.1%}, retrained on the labels {trained:.1%}"
    )
    assert corrected >= trained - 0.01
    assert corrected >= before

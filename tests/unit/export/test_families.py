"""Every encoder that text classification takes: trained a little, exported, and the file says what the model says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from finetide.stages.export import prove
from finetide.task import ModelSettings
from finetide.tasks.text_encoders import ENCODERS
from support.bundles import MAX_LENGTH, PARAMS, TASK, export, table
from support.messages import LABELS
from support.micro import FAMILIES, micro_base


def test_every_encoder_is_here() -> None:
    models = {family.lower().replace("debertav2", "deberta-v2") for family in FAMILIES}
    like_roberta = {"camembert", "xlm-roberta"}
    assert models == ENCODERS - like_roberta


# One for each kind of tokenizer and of positions; CI takes them all.
QUICK = ("Bert", "Roberta")


@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in FAMILIES],
)
def test_the_file_of_each_family_says_what_the_model_says(family: str, tmp_path: Path) -> None:
    micro_base(tmp_path / "base", layers=1, family=family)
    built = TASK.build(tmp_path / "base", ModelSettings(tuple(sorted(LABELS)), MAX_LENGTH, "mean", 0.0), seed=1)
    rows = table(24)
    batch = TASK.collate(built, TASK.encode(built, rows), range(24))
    optimizer = torch.optim.AdamW(built.module.parameters(), lr=1e-3)
    losses = []
    built.module.train()
    for _ in range(12):
        loss = TASK.loss(TASK.outputs(built.module, batch), batch).mean()
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0]
    TASK.save(built, tmp_path / "tuned")
    again = TASK.build(tmp_path / "tuned", built.settings, seed=9)
    found = prove(TASK, again, export(again, tmp_path / "model.onnx"), rows, PARAMS, seed=1)
    assert found.passed
    assert found.max_abs_error < 1e-4

"""What a person looks at on the dashboard: tables of verdicts and metrics, the shift plot, the card, the report."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)

from finetide import report
from finetide.lifecycle import outputs

CARD_LIMIT = 200_000


def verdict_rows(root: Path, model: str) -> list[dict[str, Any]]:
    """One row a verdict: what was asked, what came out, why."""
    stages = ("validate", "split", "shift", "train", "export", "judge")
    rows = []
    for stage in stages:
        sentence = outputs.sentence(root, model, stage)
        word, _, why = sentence.partition(": ")
        if sentence:
            rows.append({"stage": stage, "verdict": word if why else "done", "why": why or sentence})
    return rows


def metric_rows(root: Path, model: str) -> list[dict[str, Any]]:
    """The tuned model and its baselines, a row each, by role and metric, with intervals."""
    found = outputs.metrics(root, model)
    if found is None:
        return []
    tables = [("fine-tuned", found.roles), *found.baselines.items()]
    return [
        {
            "model": name,
            "rows of": role,
            "metric": metric,
            "value": f"{measure.value:.4f}",
            "interval": "" if measure.low is None else f"{measure.low:.4f} … {measure.high:.4f}",
            "rows": measure.rows,
        }
        for name, roles in tables
        for role, metrics in roles.items()
        for metric, measure in metrics.items()
    ]


def after_stage(root: Path, model: str, stage: str) -> None:
    """Publish what this stage has to show; keys are one a model and kind, so that Prefect keeps their history."""
    if stage == "shift":
        plot = outputs.path_of(root, model, "shift", "shift.png")
        if plot.exists():
            data = base64.b64encode(plot.read_bytes()).decode()
            create_image_artifact(
                image_url=f"data:image/png;base64,{data}",
                key=f"{model}-shift",
                description=outputs.sentence(root, model, "shift"),
            )
    if stage == "evaluate" and (rows := metric_rows(root, model)):
        create_table_artifact(rows, key=f"{model}-metrics", description=outputs.sentence(root, model, "evaluate"))
    if stage == "export":
        card = outputs.path_of(root, model, "export", "bundle") / "card.md"
        if card.exists():
            text = card.read_text(encoding="utf-8")[:CARD_LIMIT]
            create_markdown_artifact(text, key=f"{model}-card", description=f"Model card of {model}")


def after_run(root: Path, model: str, conclusion: str) -> Path:
    """Verdict table, report page and the link to it. Returns the report's path."""
    if rows := verdict_rows(root, model):
        create_table_artifact(rows, key=f"{model}-verdicts", description=conclusion)
    path = report.write(root, model)
    create_link_artifact(path.as_uri(), link_text=f"Report of {model}", key=f"{model}-report", description=conclusion)
    return path

"""What a person looks at on the dashboard: tables of verdicts and metrics, the shift plot, the card, the report."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from finetide_flows.dashboard import publish
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)

from finetide import report
from finetide.contracts.judge import JudgeVerdict, SliceResult
from finetide.files import write_text
from finetide.lifecycle import outputs, waiting
from finetide.pipeline import journal
from finetide.registry import ledger
from finetide.stages.gate import objections

CARD_LIMIT = 200_000
HISTORY_LIMIT = 200
# Whose verdicts the gate decides on; while it is shut, what later stages left is of a run before.
BEFORE_GATE = ("validate", "split", "shift")


def verdict_rows(root: Path, model: str) -> list[dict[str, Any]]:
    """One row a verdict: what was asked, what came out, why."""
    stages = ("validate", "split", "shift", "train", "export", "judge")
    rows = []
    for stage in stages:
        sentence = outputs.sentence(root, model, stage)
        word, _, why = sentence.partition(": ")
        if sentence:
            said = bool(why) and " " not in word  # a sentence without a verdict may have a colon further on
            rows.append({"stage": stage, "verdict": word if said else "done", "why": why if said else sentence})
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


def check_rows(root: Path, model: str) -> list[dict[str, Any]]:
    """What validate looked for, the findings first; one row a check."""
    found = outputs.quality(root, model)
    if found is None:
        return []
    checks = sorted(found.checks, key=lambda check: check.passed)
    return [
        {
            "check": check.check,
            "passed": "yes" if check.passed else "NO",
            "severity": check.severity,
            "what": check.detail,
        }
        for check in checks
    ]


def shift_rows(root: Path, model: str) -> list[dict[str, Any]]:
    """One row a statistic of the shift test, the most significant first."""
    found = outputs.shift(root, model)
    return [
        {
            "test": one.name,
            "adjusted p": f"{one.adjusted:.4f}",
            "effect": f"{one.effect:.3f} [{one.low:.3f}, {one.high:.3f}] {one.unit}",
            "by chance": f"{one.expected:.3f}",
            "rows": f"{one.incoming_rows} against {one.reference_rows}",
        }
        for one in sorted(found.statistics if found else (), key=lambda one: one.adjusted)
    ]


def parity_rows(root: Path, model: str) -> list[dict[str, Any]]:
    """The exported file against the trained model, a row a shape of batch, and int8 where it was tried."""
    found = outputs.parity(root, model)
    if found is None:
        return []
    rows = [
        {
            "graph": "fp32",
            "batch": str(one.batch),
            "length": str(one.length),
            "largest difference": f"{one.max_abs_error:.1e}",
        }
        for one in found.shapes
    ]
    whole = {
        "graph": "fp32",
        "batch": f"{found.rows} test rows",
        "length": "",
        "largest difference": f"{found.max_abs_error:.1e}",
    }
    return [whole, *rows]


def judge_rows(root: Path, model: str) -> list[dict[str, Any]]:
    """Challenger against champion: all rows first, then each slice."""
    found = outputs.judge(root, model)
    if found is None:
        return []
    whole = _compared("all", found, "yes" if found.verdict == "promote" else "NO", found.reason)
    return [whole, *(_compared(one.slice, one, "yes" if one.passed else "NO", one.reason) for one in found.slices)]


def _compared(name: str, one: JudgeVerdict | SliceResult, passed: str, why: str) -> dict[str, Any]:
    interval = "" if one.low is None else f" [{one.low:+.3f}, {one.high:+.3f}]"
    return {
        "slice": name,
        "rows": one.rows,
        "challenger": f"{one.challenger:.3f}",
        "champion": "" if one.champion is None else f"{one.champion:.3f}",
        "difference": "" if one.difference is None else f"{one.difference:+.3f}{interval}",
        "passed": passed,
        "why": why,
    }


def history_rows(root: Path, model: str) -> list[dict[str, Any]]:
    """The ledger, the newest first: what was in service, since when, and why."""
    return [
        {
            "when": entry.time,
            "what": entry.event,
            "version": entry.version or "",
            "why": entry.reason,
            "who": entry.who,
        }
        for entry in reversed(ledger.read(root, model))
    ][:HISTORY_LIMIT]


def question(root: Path, model: str, reason: str) -> str:
    """What a person reads above the form: what is asked, the shift plot, the verdicts, what a yes does and costs.

    Lists, no tables: the form is narrow, and a table would hide the reasons beside it.
    """
    asked = waiting.standing(root, model)
    if asked is not None and asked.about == "promotion":
        parts = [
            f"**{model}: a challenger waits.** {_cell(reason)}",
            _bullets(_against(row) for row in judge_rows(root, model)),
            "**approve** puts exactly this challenger into service; **reject** leaves what is there. It cost "
            f"{cost(root, model)}.",
            _plot(root, model),
            _bullets(_said(row) for row in verdict_rows(root, model)),
        ]
    else:
        again = cost(root, model, ("train", "evaluate", "export", "judge"))
        parts = [
            f"**{model}: halted**, nothing was trained.",
            _bullets(_objections(root, model)) or _cell(reason),
            "**approve** lets exactly these verdicts pass: the model is trained, and judged as always"
            f"{f'; last time that cost {again}' if again else ''}. **reject** keeps these rows out.",
            _plot(root, model),
            _bullets(_said(row) for row in verdict_rows(root, model) if row["stage"] in BEFORE_GATE),
        ]
    parts.append(f'The same from a terminal: `finetide approve {model} --why "…"`, or `finetide reject`.')
    return "\n\n".join(part for part in parts if part)


def _objections(root: Path, model: str) -> list[str]:
    """Why the gate is shut, as it says itself."""
    quality, leakage, shift = outputs.quality(root, model), outputs.leakage(root, model), outputs.shift(root, model)
    return objections(quality, leakage, shift) if quality and leakage and shift else []


def _plot(root: Path, model: str) -> str:
    """The plot inside the text, for a dashboard may not reach our files; empty where there is none."""
    plot = outputs.path_of(root, model, "shift", "shift.png")
    return f"![what came in, against what the model knows]({_inline(plot)})" if plot.exists() else ""


def _inline(image: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(image.read_bytes()).decode()}"


def _said(row: dict[str, Any]) -> str:
    verdict = "" if row["verdict"] == "done" else f"**{row['verdict']}**, "
    return f"{row['stage']}: {verdict}{row['why']}"


def _against(row: dict[str, Any]) -> str:
    """A slice of the challenger against the champion."""
    beside = f" against {row['champion']}, {row['difference']}" if row["champion"] else ""
    passed = "passed" if row["passed"] == "yes" else "**NOT passed**"
    return f"{row['slice']}, {row['rows']} rows: {row['challenger']}{beside}; {passed}"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_cell(line)}" for line in lines)


def cost(root: Path, model: str, stages: Sequence[str] = outputs.STAGES) -> str:
    """What the newest execution of each stage took on this machine; empty where none ran."""
    took = {stage: seconds for stage, seconds in journal.seconds(root, model).items() if stage in stages}
    if not took:
        return ""
    dearest = sorted(took.items(), key=lambda item: -item[1])[:3]
    return f"{sum(took.values()):.0f} s ({', '.join(f'{stage} {seconds:.0f} s' for stage, seconds in dearest)})"


def _cell(text: str) -> str:
    return " ".join(text.split())


def after_look(root: Path, model: str) -> None:
    """What a look without a training has to show beside what its stages showed."""
    if rows := verdict_rows(root, model):
        publish(create_table_artifact, rows, key=f"{model}-verdicts", description=f"Latest look at the data of {model}")


def after_stage(root: Path, model: str, stage: str) -> None:
    """Publish what this stage has to show; keys are one a model and kind, so that Prefect keeps their history."""
    tables = {"validate": check_rows, "export": parity_rows, "judge": judge_rows}
    if stage in tables and (rows := tables[stage](root, model)):
        publish(create_table_artifact, rows, key=f"{model}-{stage}", description=outputs.sentence(root, model, stage))
    if stage == "shift" and (rows := shift_rows(root, model)):
        publish(
            create_table_artifact, rows, key=f"{model}-shift-tests", description=outputs.sentence(root, model, "shift")
        )
    if stage == "shift":
        plot = outputs.path_of(root, model, "shift", "shift.png")
        if plot.exists():
            publish(
                create_image_artifact,
                image_url=_inline(plot),
                key=f"{model}-shift",
                description=outputs.sentence(root, model, "shift"),
            )
    if stage == "evaluate" and (rows := metric_rows(root, model)):
        publish(
            create_table_artifact, rows, key=f"{model}-metrics", description=outputs.sentence(root, model, "evaluate")
        )
    if stage == "export":
        card = outputs.path_of(root, model, "export", "bundle") / "card.md"
        if card.exists():
            text = card.read_text(encoding="utf-8")[:CARD_LIMIT]
            publish(create_markdown_artifact, text, key=f"{model}-card", description=f"Model card of {model}")


def after_run(root: Path, model: str, conclusion: str, home: Path) -> Path:
    """Verdict table, history, report page and the link to it. Returns the report's path, in the checkout ``home``."""
    if rows := verdict_rows(root, model):
        publish(create_table_artifact, rows, key=f"{model}-verdicts", description=conclusion)
    if entries := history_rows(root, model):
        publish(
            create_table_artifact,
            entries,
            key=f"{model}-history",
            description=f"Everything that was decided about {model}",
        )
    path = report.report_path(home, model)
    write_text(path, report.build(root, model))
    publish(
        create_link_artifact,
        path.as_uri(),
        link_text=f"Report of {model}",
        key=f"{model}-report",
        description=conclusion,
    )
    return path

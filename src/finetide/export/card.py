"""The model card: what a person should know before using the bundle, from the run's own figures."""

from __future__ import annotations

from collections.abc import Mapping

from finetide.contracts.bundle import Parity
from finetide.contracts.metrics import Measure, Metrics

_SHOWN = ("accuracy", "macro_f1", "ece", "ece_calibrated")


def write_card(
    *,
    model: str,
    task: str,
    labels: tuple[str, ...],
    base: str,
    metrics: Metrics,
    parity: Parity,
    data: Mapping[str, int],
    training: str,
    temperature: float,
    limit: str,
    stranger: str,
) -> str:
    """Markdown. Args: data: rows by ``role/split``. training: the training report's sentence. limit, stranger: see
    `finetide.task.Preprocessing`."""
    shown = ", ".join(labels) if len(labels) <= 40 else f"{', '.join(labels[:40])} and {len(labels) - 40} more"
    lines = [
        f"# {model}",
        "",
        f"Task: {task}. Base model: `{base}`; its licence applies to these weights.",
        "",
        f"**Labels ({len(labels)}).** {shown}",
        "",
        "## Data",
        "",
        "| rows | count |",
        "|---|---|",
        *(f"| {name} | {count} |" for name, count in sorted(data.items())),
        "",
        "## Results on the test rows",
        "",
        "| model | rows of | " + " | ".join(_SHOWN) + " | rows |",
        "|---" * (len(_SHOWN) + 3) + "|",
        *_rows("fine-tuned", metrics.roles),
        *(line for name, roles in sorted(metrics.baselines.items()) for line in _rows(name, roles)),
        "",
        f"Training: {training}. Scores are calibrated with temperature {temperature:.3f}, fitted on validation rows.",
        "",
        "## Export",
        "",
        f"ONNX against torch on {parity.rows} test rows: largest difference of a logit {parity.max_abs_error:.1e}, "
        f"{parity.agreement:.2%} same labels. int8: {parity.int8.reason if parity.int8 else 'not tried'}.",
        "",
        "## Limits",
        "",
        f"{limit} The model knows the labels above and no other: {stranger}",
        "else gets one of them too. The figures hold for data like the test rows; `finetide run` measures on new data",
        "how far that is still so.",
        "",
    ]
    return "\n".join(lines)


def _rows(name: str, roles: Mapping[str, Mapping[str, Measure]]) -> list[str]:
    return [
        f"| {name} | {role} | {' | '.join(_cell(measures.get(metric)) for metric in _SHOWN)} | {_count(measures)} |"
        for role, measures in sorted(roles.items())
    ]


def _cell(measure: Measure | None) -> str:
    if measure is None:
        return ""
    interval = "" if measure.low is None else f" [{measure.low:.3f}, {measure.high:.3f}]"
    return f"{measure.value:.3f}{interval}"


def _count(measures: Mapping[str, Measure]) -> int:
    return max((measure.rows for measure in measures.values()), default=0)

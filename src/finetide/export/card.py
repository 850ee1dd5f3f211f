"""The model card: what a person should know before using the bundle, from the run's own figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from finetide.contracts.bundle import Parity
from finetide.contracts.metrics import Measure, Metrics

_CLASSES = ("accuracy", "macro_f1", "ece", "ece_calibrated")
_HOLD = "The figures hold for data like the test rows; `finetide run` measures on new data"
_ELSE = f"else gets one of them too. {_HOLD}"
_ANSWERS = ("exact_match", "f1", "ece", "ece_calibrated")


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
    """Markdown. Args: labels: () where a model gives none. data: rows by ``role/split``. training: the training
    report's sentence. limit, stranger: see `finetide.task.Preprocessing`."""
    shown = _CLASSES if labels else _ANSWERS
    what, same = ("a logit", "labels") if labels else ("a logit of start or end", "answers")
    lines = [
        f"# {model}",
        "",
        f"Task: {task}. Base model: `{base}`; its licence applies to these weights.",
        "",
        *([f"**Labels ({len(labels)}).** {_named(labels)}", ""] if labels else []),
        "## Data",
        "",
        "| rows | count |",
        "|---|---|",
        *(f"| {name} | {count} |" for name, count in sorted(data.items())),
        "",
        "## Results on the test rows",
        "",
        "| model | rows of | " + " | ".join(shown) + " | rows |",
        "|---" * (len(shown) + 3) + "|",
        *_rows("fine-tuned", metrics.roles, shown),
        *(line for name, roles in sorted(metrics.baselines.items()) for line in _rows(name, roles, shown)),
        "",
        f"Training: {training}. Scores are calibrated with temperature {temperature:.3f}, fitted on validation rows.",
        "",
        "## Export",
        "",
        f"ONNX against torch on {parity.rows} test rows: largest difference of {what} {parity.max_abs_error:.1e}, "
        f"{parity.agreement:.2%} same {same}. int8: {parity.int8.reason if parity.int8 else 'not tried'}.",
        "",
        "## Limits",
        "",
        *(
            [f"{limit} The model knows the labels above and no other: {stranger}", _ELSE]
            if labels
            else [f"{limit} {stranger}", _HOLD]
        ),
        "how far that is still so.",
        "",
    ]
    return "\n".join(lines)


def _named(labels: tuple[str, ...]) -> str:
    return ", ".join(labels) if len(labels) <= 40 else f"{', '.join(labels[:40])} and {len(labels) - 40} more"


def _rows(name: str, roles: Mapping[str, Mapping[str, Measure]], shown: Sequence[str]) -> list[str]:
    return [
        f"| {name} | {role} | {' | '.join(_cell(measures.get(metric)) for metric in shown)} | {_count(measures)} |"
        for role, measures in sorted(roles.items())
    ]


def _cell(measure: Measure | None) -> str:
    if measure is None:
        return ""
    interval = "" if measure.low is None else f" [{measure.low:.3f}, {measure.high:.3f}]"
    return f"{measure.value:.3f}{interval}"


def _count(measures: Mapping[str, Measure]) -> int:
    return max((measure.rows for measure in measures.values()), default=0)

"""What stands in the report's tables and charts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from finetide.contracts.metrics import (
    MAIN,
    METRIC_NAMES,
    AnswerEvaluation,
    Evaluation,
    KindReport,
    Measure,
    main_metric,
)
from finetide.contracts.rows import ROLES, SPLITS
from finetide.report import charts
from finetide.report.gather import Facts
from finetide.report.words import BASELINE_NAMES, OF_ALL, OF_LABELS, ROLE_NAMES, interval, percent, tiny


def headline(facts: Facts) -> list[tuple[str, str, str]]:
    """What one wants to know first: (name, value, what stands below it)."""
    found = []
    if facts.metrics:
        for role in ROLES:
            measures = facts.metrics.roles.get(role, {})
            name = main_metric(measures)
            if name:
                value = measures[name]
                found.append(
                    (
                        f"{METRIC_NAMES[name]}, {role}",
                        percent(value.value),
                        f"{interval(value)} · {value.rows} test rows",
                    )
                )
    if facts.judge and facts.judge.difference is not None:
        verdict = facts.judge
        ends = f"{verdict.low:+.3f} to {verdict.high:+.3f}" if verdict.low is not None else ""
        found.append(("against the champion", f"{verdict.difference:+.3f}", f"{METRIC_NAMES[verdict.metric]} · {ends}"))
    if facts.shift:
        p = "no incoming rows" if facts.shift.incoming_rows == 0 else "too few rows to compare"
        if facts.shift.p is not None:
            p = f"combined p = {facts.shift.p:.2g} at α = {facts.shift.alpha:.3g}"
        found.append(("shift", facts.shift.verdict, p))
    if facts.parity:
        agreement = f"{percent(facts.parity.agreement)} of {facts.parity.rows} rows agree"
        found.append(("ONNX error", tiny(facts.parity.max_abs_error), agreement))
    return found


def data_table(facts: Facts) -> dict[str, Any]:
    """Rows by label (None: unlabelled), the most frequent first, with a column a role and split that occurs."""
    columns = [(r, s) for r in ROLES for s in SPLITS if any(key[:2] == (r, s) for key in facts.counts)]
    rows = [
        (name, [facts.counts[(role, split, name)] for role, split in columns])
        for name in {label for _, _, label in facts.counts}
    ]
    rows.sort(key=lambda row: (-sum(row[1]), row[0] or ""))
    return {
        "columns": columns,
        "rows": rows,
        "totals": [sum(cells[i] for _, cells in rows) for i in range(len(columns))],
        "most": max((sum(cells) for _, cells in rows), default=1),
    }


def score_table(facts: Facts) -> list[tuple[str, str, dict[str, Measure]]]:
    """(role, who, measures), our model before its baselines in each role."""
    if facts.metrics is None:
        return []
    found = []
    for role in role_order(facts.metrics.roles):
        found.append((role, BASELINE_NAMES["model"], facts.metrics.roles[role]))
        for name in baseline_order(facts.metrics.baselines):
            if role in facts.metrics.baselines[name]:
                found.append((role, BASELINE_NAMES.get(name, name), facts.metrics.baselines[name][role]))
    return found


def metric_names(facts: Facts) -> dict[str, str]:
    """Of the measures that there are, and of those of labels where there are none: name → as it is written."""
    of_answers = is_of_answers(facts)
    return {name: said for name, said in METRIC_NAMES.items() if of_answers != (name in OF_LABELS) or name in OF_ALL}


def training_charts(facts: Facts) -> list[Markup]:
    """Loss, accuracy and what tells of overfitting, by step."""
    steps = facts.curve.get("step")
    if steps is None:
        return []
    boundaries = phase_starts(facts)
    adapted = [phase.index for phase in facts.training.phases if phase.kind == "adapt"] if facts.training else []
    curve = of_labels(facts.curve, adapted)
    drawn = []
    for title, part, share in (("Loss", "loss", False), (_learned(facts), "accuracy", True)):
        series = {name.replace("_", " "): values for name, values in curve.items() if part in name}
        drawn.append(charts.curves(title, steps, series, boundaries=boundaries, percent=share))
    gap = "F1 gap" if is_of_answers(facts) else "accuracy gap"
    watched = {gap: "gap", "ECE of validation": "validation_ece"}
    series = {name: curve[column] for name, column in watched.items() if column in curve}
    drawn.append(charts.curves("Overfitting", steps, series, boundaries=boundaries, percent=True))
    return [chart for chart in drawn if chart]


def is_of_answers(facts: Facts) -> bool:
    """Whether what is predicted are answers, not labels."""
    return isinstance(facts.evaluation, AnswerEvaluation)


def _learned(facts: Facts) -> str:
    """What the curve's columns of accuracy hold."""
    return "F1" if is_of_answers(facts) else "Accuracy"


def of_labels(
    curve: Mapping[str, Sequence[float | None]], adapted: Collection[int]
) -> dict[str, Sequence[float | None]]:
    """The curve without what an adapt phase measured: its loss and accuracy are of masked words, on another scale.

    Args: adapted: indices of the adapt phases.
    """
    phases = curve.get("phase", [])
    return {
        name: values
        if name in ("step", "epoch", "phase", "learning_rate")
        else [None if phase in adapted else value for value, phase in zip(values, phases, strict=True)]
        for name, values in curve.items()
    }


def phase_starts(facts: Facts) -> dict[str, float]:
    """Phase → the step at which it begins: where the curve's phase before it ended."""
    kinds = {phase.index: phase.kind for phase in facts.training.phases} if facts.training else {}
    starts: dict[int, float] = {}
    reached = 0.0
    for step, phase in zip(facts.curve.get("step", []), facts.curve.get("phase", []), strict=False):
        if step is None or phase is None:
            continue
        starts.setdefault(int(phase), reached)
        reached = max(reached, step)
    moved = {phase for phase, start in starts.items() if start > 0 or len(starts) == 1 or phase == max(starts)}
    return {f"phase {phase + 1}, {kinds.get(phase, '')}": start for phase, start in starts.items() if phase in moved}


def score_charts(facts: Facts) -> list[Markup]:
    """Accuracy with intervals beside the baselines, a chart a role."""
    if facts.metrics is None:
        return []
    drawn = []
    for role in [role for role in ROLES if role in facts.metrics.roles] or role_order(facts.metrics.roles):
        named = {BASELINE_NAMES["model"]: facts.metrics.roles[role]}
        for name in baseline_order(facts.metrics.baselines):
            named[BASELINE_NAMES.get(name, name)] = facts.metrics.baselines[name].get(role, {})
        metric = main_metric(facts.metrics.roles[role]) or MAIN[0]
        known = {name: found[metric] for name, found in named.items() if metric in found}
        title = METRIC_NAMES[metric]
        drawn.append(charts.bars(f"{title[:1].upper()}{title[1:]}, {ROLE_NAMES.get(role, role)}", known))
    return drawn


def label_table(facts: Facts) -> dict[str, Any]:
    """(label, report, F1 by role) over all roles together, the worst F1 first; no roles where there is but one."""
    role = widest(facts.evaluation.per_label) if isinstance(facts.evaluation, Evaluation) else None
    if not isinstance(facts.evaluation, Evaluation) or role is None:
        return {"roles": [], "rows": []}
    reports = facts.evaluation.per_label
    roles = [one for one in role_order(reports) if one != role]
    rows = [
        (label, report, [reports[one][label].f1 if label in reports[one] else None for one in roles])
        for label, report in reports[role].items()
    ]
    return {"roles": roles, "rows": sorted(rows, key=lambda row: (row[1].f1, row[0]))}


def kind_table(facts: Facts) -> list[tuple[str, KindReport]]:
    """(kind of question, report) over all roles together, the worst F1 first; empty where labels are predicted."""
    if not isinstance(facts.evaluation, AnswerEvaluation):
        return []
    role = widest(facts.evaluation.kinds)
    found = facts.evaluation.kinds[role] if role else {}
    return sorted(found.items(), key=lambda item: (item[1].f1, item[0]))


def confusion_chart(facts: Facts) -> Markup:
    role = widest(facts.evaluation.confusion) if isinstance(facts.evaluation, Evaluation) else None
    if not isinstance(facts.evaluation, Evaluation) or role is None:
        return Markup("")
    matrix, labels = facts.evaluation.confusion[role], facts.evaluation.labels
    used = [i for i in range(len(labels)) if sum(matrix[i]) or sum(row[i] for row in matrix)]
    part = [[matrix[i][j] for j in used] for i in used]
    return charts.heat_map(f"Confusion, {ROLE_NAMES.get(role, role)}", [labels[i] for i in used], part)


def confused_pairs(facts: Facts) -> list[tuple[str, str, int, int]]:
    """(actual, predicted, rows, rows of the actual label) of the confusions that occur most."""
    role = widest(facts.evaluation.confusion) if isinstance(facts.evaluation, Evaluation) else None
    if not isinstance(facts.evaluation, Evaluation) or role is None:
        return []
    labels, matrix = facts.evaluation.labels, facts.evaluation.confusion[role]
    pairs = [
        (labels[i], labels[j], rows, sum(row))
        for i, row in enumerate(matrix)
        for j, rows in enumerate(row)
        if i != j and rows
    ]
    return sorted(pairs, key=lambda pair: (-pair[2], pair[0], pair[1]))[:8]


def calibration_chart(facts: Facts) -> Markup:
    role = widest(facts.evaluation.reliability) if facts.evaluation else None
    if facts.evaluation is None or role is None:
        return Markup("")
    return charts.reliability(f"Reliability, {ROLE_NAMES.get(role, role)}", facts.evaluation.reliability[role])


def role_order(roles: Mapping[str, object]) -> list[str]:
    return [*[role for role in (*ROLES, "all") if role in roles], *sorted(set(roles) - {*ROLES, "all"})]


def baseline_order(baselines: Mapping[str, object]) -> list[str]:
    return [*[name for name in BASELINE_NAMES if name in baselines], *sorted(set(baselines) - set(BASELINE_NAMES))]


def widest(roles: Mapping[str, object]) -> str | None:
    """The role that holds most: all, else the last one there is."""
    order: Sequence[str] = role_order(roles)
    return order[-1] if order else None

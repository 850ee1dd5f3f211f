"""Numbers and names as the report writes them."""

from __future__ import annotations

from markupsafe import Markup

from finetide.contracts.metrics import METRIC_NAMES, Measure, Metrics

ROLE_NAMES = {"reference": "reference", "incoming": "incoming", "all": "both together"}
BASELINE_NAMES = {
    "model": "this model",
    "tf-idf": "TF-IDF + logistic regression",
    "probe": "logistic regression on the frozen base",
    "probe-reference-only": "the same, reference rows only",
    "zero-shot": "zero-shot",
    "majority": "most frequent label",
    "lexical": "sentence with most of the words",
    "no answer": "no answer, always",
}
# An expected calibration error that grew by less is noise of the binning.
WORSE = 0.005
# Which of them labels have, and which every family.
OF_LABELS = ("accuracy", "macro_f1", "balanced_accuracy", "auroc", "nll")
OF_ALL = ("ece", "ece_calibrated")
# Errors and likelihoods are no shares of rows.
AS_NUMBERS = ("ece", "ece_calibrated", "nll")


def count(value: int) -> str:
    return f"{value:,}"


def percent(value: float) -> str:
    return f"{value:.1%}".replace("%", " %")


def number(value: float | None, digits: int = 3) -> str:
    if value is None:
        return "–"
    return f"{value:.{digits}f}" if value == 0 or abs(value) >= 10**-digits else f"{value:.1e}"


def tiny(value: float) -> str:
    """Of errors, whose power of ten is what matters."""
    return f"{value:.1e}"


def interval(value: Measure) -> str:
    return "" if value.low is None or value.high is None else f"{value.low * 100:.1f} to {value.high * 100:.1f}"


def measure(value: Measure | None, name: str) -> Markup:
    """A cell: the value, its interval smaller behind it."""
    if value is None:
        return Markup('<span class="faint">–</span>')
    if name in AS_NUMBERS:
        return Markup("{}").format(number(value.value))
    return Markup('{} <span class="interval">{}</span>').format(percent(value.value), interval(value))


def worse_calibration(metrics: Metrics) -> list[str]:
    """The roles on whose test rows temperature scaling made the scores worse, with both errors."""
    found = []
    for role, values in metrics.roles.items():
        raw, scaled = values.get("ece"), values.get("ece_calibrated")
        if raw is not None and scaled is not None and scaled.value - raw.value >= WORSE:
            found.append(f"{ROLE_NAMES.get(role, role)}: ECE {number(raw.value)} → {number(scaled.value)}")
    return found


def sentence(words: str) -> str:
    """With a capital and a full stop."""
    return words[:1].upper() + words[1:] + ("" if words.endswith((".", "!", "?")) else ".")


def named(metric: str) -> str:
    return METRIC_NAMES[metric]


def short(hash_: str | None) -> str:
    return "–" if hash_ is None else hash_.removeprefix("sha256:")[:12]

"""shift.json and recipe.json"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from finetide.contracts.base import Contract

ShiftWord = Literal["none", "harmless", "adapt", "halt", "cannot-tell"]
# The test of what the champion gets right on either side; its effect is what was lost.
ACCURACY = "champion's accuracy"
Cause = Literal["covariate", "label", "concept", "new-labels"]


class Statistic(Contract):
    """One test. ``p`` is (k+1)/(n+1) over ``draws`` permutations, ``adjusted`` is p corrected for all the tests.

    ``effect`` is in the unit that ``unit`` names, with its 95 % interval; ``expected`` is its mean without a shift,
    ``critical`` what is significant for this test alone, and ``detectable`` the effect that it finds in 80 % of windows
    of these sizes. ``incoming_rows`` and ``reference_rows``: what it was computed on.
    """

    name: str
    p: float
    adjusted: float
    draws: int
    effect: float
    unit: str
    low: float
    high: float
    expected: float
    critical: float
    detectable: float
    incoming_rows: int
    reference_rows: int
    note: str


class MovedRow(Contract):
    """An incoming row that looks least like the reference. ``unlike``: the share of reference rows that look less like
    incoming ones than it does, by a classifier that did not see it. ``value`` is cut."""

    row_id: str
    file: str
    line: int
    value: str
    label: str | None
    unlike: float


class ShiftSlice(Contract):
    """Incoming rows of one label, file, length or group. ``effect``: domain AUC, with its 95 % interval, against the
    reference rows of the same slice, or against all of them where the slice has too few."""

    slice: str
    incoming_rows: int
    reference_rows: int
    incoming_share: float
    reference_share: float
    effect: float
    low: float
    high: float
    against: Literal["slice", "all"]


class LabelShare(Contract):
    """How often a label comes, of the labelled rows of each side. ``estimated``: of all incoming rows, by what the
    champion predicts and how it errs (BBSE), with its 95 % interval; null without a champion that can tell."""

    label: str
    reference: float
    incoming: float | None
    estimated: float | None
    low: float | None
    high: float | None


class AccuracyEstimate(Contract):
    """The champion's accuracy on incoming rows without their labels, with the 95 % interval of its sampling.

    ``reference``: on ``held_rows`` held-out reference rows; ``estimated``: the mean of ``by_threshold`` (ATC) and
    ``by_agreement`` (of heads made alike; null where there were too few rows to make them); ``by_confidence``: another
    one (DoC); ``labelled``: on the incoming rows that are labelled, null without any. ``trusted`` is false where
    ``reason`` says why it may not hold.
    """

    reference: float
    estimated: float
    low: float
    high: float
    by_threshold: float
    by_agreement: float | None
    by_confidence: float
    held_rows: int
    labelled: float | None
    trusted: bool
    reason: str


class ShiftVerdict(Contract):
    """``p`` is the combined p-value at ``alpha``. ``sentence`` says the verdict as a person would; ``reasons`` has a
    line for each cause. ``rows_needed``: incoming rows that would do where the verdict is cannot-tell. ``overlap``: the
    share of themselves that the reference rows count as once they are weighted to look like incoming ones (Kish's
    effective sample size); near 0 hardly any looks like them."""

    schema_version: Literal[1] = 1
    verdict: ShiftWord
    sentence: str
    alpha: float
    p: float | None
    reference_rows: int
    incoming_rows: int
    compared_reference: int
    compared_incoming: int
    rows_needed: int | None
    labelled_share: float
    causes: tuple[Cause, ...]
    reasons: tuple[str, ...]
    statistics: tuple[Statistic, ...]
    moved: tuple[MovedRow, ...]
    slices: tuple[ShiftSlice, ...]
    labels: tuple[LabelShare, ...]
    accuracy: AccuracyEstimate | None
    overlap: float | None = None


StepKind = Literal["prior-correction", "grow-head", "adapt", "weigh", "balance", "lower-rate", "blocks", "labels"]


class RecipeStep(Contract):
    """One thing that the causes ask for, and why."""

    kind: StepKind
    reason: str


class Recipe(Contract):
    """What train does with the verdict. ``replay`` is the share of reference training rows mixed in (1.0: all).

    The other fields are followed only where ``followed`` says so (params.yaml, train.recipe). ``start``: the champion's
    weights, whatever the window says. ``priors``: of each label its frequency among incoming rows by that among
    reference rows, for a correction without training. ``weight_clip``: weights of reference rows lie between 1/this and
    this; 1: all alike. ``incoming_weight``: the most that a labelled incoming row counts for, a reference row being 1.
    ``rate_factor``: of the tune phases' learning rate. ``adapt_epochs``: passes over the incoming texts before the
    phases. ``blocks``: which ones a hint to ``auto`` names. ``forgetting_margin``: accuracy on reference validation
    rows that may be lost against the champion; null: not looked at.
    """

    schema_version: Literal[1] = 1
    verdict: ShiftWord
    replay: float
    reason: str
    followed: bool = False
    steps: tuple[RecipeStep, ...] = ()
    start: Literal["window", "champion"] = "window"
    priors: dict[str, float] = Field(default_factory=dict)
    weight_clip: float = 1.0
    incoming_weight: float = 1.0
    rate_factor: float = 1.0
    adapt_epochs: int = 0
    blocks: Literal["early", "late"] | None = None
    forgetting_margin: float | None = None

    @property
    def corrects(self) -> bool:
        """Whether train tries the champion's weights with new priors first."""
        return self.followed and any(step.kind == "prior-correction" for step in self.steps)

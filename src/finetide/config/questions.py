"""params.yaml of a question answering model: the sections in which it differs from a text model."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from finetide.config.base import PositiveInt, Section, Share
from finetide.config.evaluate import MeasureParams
from finetide.config.judge import JudgeParams
from finetide.config.train import LearnParams, Phase

# Special tokens of a pair: three of BERT, four of RoBERTa.
SPECIAL = 4


class QuestionColumnParams(Section):
    """Which column of a table is what; SQuAD's JSON needs none but ``group``, which may be ``title``."""

    id: str | None = Field(min_length=1, description="column with the question's own id, unique in a file; null: none")
    question: str = Field(min_length=1, description="column that holds the question")
    context: str = Field(min_length=1, description="column that holds the text in which the answer stands")
    answers: str = Field(
        min_length=1,
        description="column with the answers: a list of {text, answer_start}, as JSON in CSV; []: there is none",
    )
    split: str | None = Field(min_length=1, description="column that says train, validation or test; null: we split")
    group: str | None = Field(min_length=1, description="rows that share it stay on one side of the split; null: none")


class QuestionIngestParams(Section):
    columns: QuestionColumnParams
    encoding: Literal["auto", "utf-8", "utf-16", "latin-1", "cp1252"] = Field(
        description="text encoding of CSV, JSONL and JSON files; auto: byte-order mark, else UTF-8"
    )


class QuestionValidateParams(Section):
    min_context_length: PositiveInt = Field(description="a context of fewer characters is a warning")
    near_duplicate_similarity: Share = Field(
        description="Jaccard similarity of character 5-grams from which two contexts count as near duplicates"
    )
    max_quarantine_share: Share = Field(
        description="bad rows up to this share go to the quarantine file; more of them is critical; 0: never quarantine"
    )

    @property
    def labels(self) -> None:
        """Whether there is an answer is no label that settings name."""

    @property
    def min_rows_per_label(self) -> int:
        return 1


class QuestionTrainParams(LearnParams):
    pooling: Literal["mean", "cls"] = Field(
        description="how token vectors become the one by which shift and zero-shot compare; the head sees all tokens"
    )
    max_length: Annotated[int, Field(ge=16, le=8192)] = Field(
        description="tokens of a window: the question and a part of its context"
    )
    stride: PositiveInt = Field(description="tokens of the context that two windows share")
    max_question: PositiveInt = Field(description="tokens kept of a question")
    max_answer: PositiveInt = Field(description="tokens of the longest answer that is given")
    batch_tokens: PositiveInt = Field(description="padded tokens a forward pass; larger batches are accumulated")

    @property
    def batch_cost(self) -> int:
        return self.batch_tokens

    @property
    def extra(self) -> dict[str, float]:
        return {"stride": self.stride, "max_question": self.max_question, "max_answer": self.max_answer}

    @model_validator(mode="after")
    def _windows_move_on(self) -> Self:
        room = self.max_length - self.max_question - SPECIAL
        if self.stride >= room:
            raise ValueError(
                f"windows of {self.max_length} tokens leave {room} for the context after a question of "
                f"{self.max_question}: stride {self.stride} must be below that"
            )
        if self.max_answer > self.stride:
            raise ValueError(
                f"an answer of max_answer {self.max_answer} tokens may lie in no window whole where windows share "
                f"stride {self.stride}: write a stride of at least max_answer"
            )
        return self

    @field_validator("phases")
    @classmethod
    def _only_descent(cls, phases: list[Phase]) -> list[Phase]:
        for place, phase in enumerate(phases):
            if phase.kind in ("probe", "adapt"):
                why = "fits one label a row" if phase.kind == "probe" else "has no objective for questions"
                raise ValueError(f"phase {place + 1} is a {phase.kind} phase, which {why}; leave it out")
        return phases


class QuestionEvaluateParams(MeasureParams):
    pass


class QuestionJudgeParams(JudgeParams):
    metric: Literal["f1", "exact_match"] = Field(  # type: ignore[assignment]
        description="what challenger and champion are compared by"
    )
    slice_margin: float = Field(
        ge=0.0, allow_inf_nan=False, description="loss on one role or kind of question that is still accepted"
    )
    label_floor: Share = Field(description="the metric that every judged role and kind of question must reach")

"""The whole of params.yaml, for those who look at everything (check, init). Stages read their own sections only,
so that a knob of one stage never makes another stage's code stale."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag

from finetide.config.base import NAME_PATTERN, Section
from finetide.config.common import BaseParams, Seed, TaskName
from finetide.config.evaluate import EvaluateParams
from finetide.config.export import ExportParams
from finetide.config.images import ImageEvaluateParams, ImageIngestParams, ImageTrainParams, ImageValidateParams
from finetide.config.ingest import IngestParams
from finetide.config.judge import JudgeParams
from finetide.config.load import PARAMS_FILE, check, read_yaml
from finetide.config.policy import PolicyParams
from finetide.config.questions import (
    QuestionEvaluateParams,
    QuestionIngestParams,
    QuestionJudgeParams,
    QuestionTrainParams,
    QuestionValidateParams,
)
from finetide.config.schedule import ScheduleParams
from finetide.config.shift import ShiftParams
from finetide.config.split import SplitParams
from finetide.config.train import TrainParams
from finetide.config.validate import ValidateParams

ModelName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


class ModelParams(Section):
    """Of a text model."""

    task: TaskName = Field(description="kind of model")
    seed: Seed
    base: BaseParams
    ingest: IngestParams
    validation: ValidateParams = Field(alias="validate")
    split: SplitParams
    shift: ShiftParams
    train: TrainParams
    evaluate: EvaluateParams
    export: ExportParams
    judge: JudgeParams
    policy: PolicyParams
    schedule: ScheduleParams


class ImageModelParams(Section):
    task: TaskName = Field(description="kind of model")
    seed: Seed
    base: BaseParams
    ingest: ImageIngestParams
    validation: ImageValidateParams = Field(alias="validate")
    split: SplitParams
    shift: ShiftParams
    train: ImageTrainParams
    evaluate: ImageEvaluateParams
    export: ExportParams
    judge: JudgeParams
    policy: PolicyParams
    schedule: ScheduleParams


class QuestionModelParams(Section):
    task: TaskName = Field(description="kind of model")
    seed: Seed
    base: BaseParams
    ingest: QuestionIngestParams
    validation: QuestionValidateParams = Field(alias="validate")
    split: SplitParams
    shift: ShiftParams
    train: QuestionTrainParams
    evaluate: QuestionEvaluateParams
    export: ExportParams
    judge: QuestionJudgeParams
    policy: PolicyParams
    schedule: ScheduleParams


OTHER_TASKS: dict[str, type[Section]] = {
    "image-classification": ImageModelParams,
    "question-answering": QuestionModelParams,
}
# Text where nothing else is said, so that an unknown task is named as what is wrong.
AnyModelParams = Annotated[
    Annotated[ModelParams, Tag("policy-text")]
    | Annotated[ImageModelParams, Tag("policy-image_classification")]
    | Annotated[QuestionModelParams, Tag("policy-question_answering")],
    Discriminator(lambda value: "policy-text" if (tag := _tag(value)) is None else tag),
]


def _tag(value: Any) -> str | None:
    task = value.get("task") if isinstance(value, dict) else getattr(value, "task", None)
    return f"policy-{task.replace('-', '_')}" if isinstance(task, str) and task in OTHER_TASKS else None


class Params(Section):
    schema_version: Literal[1] = Field(alias="schema")
    models: dict[ModelName, AnyModelParams] = Field(min_length=1)


def model_params(root: Path, model: str) -> ModelParams | ImageModelParams | QuestionModelParams:
    """All settings of one model. Raises: ConfigError with every problem of params.yaml."""
    return check(read_yaml(root / PARAMS_FILE), Params, file=PARAMS_FILE).models[model]

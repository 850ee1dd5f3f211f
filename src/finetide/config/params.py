"""The whole of params.yaml, for those who look at everything (check, init). Stages read their own sections only,
so that a knob of one stage never makes another stage's code stale."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from finetide.config.base import NAME_PATTERN, Section
from finetide.config.common import BaseParams, Seed, TaskName
from finetide.config.evaluate import EvaluateParams
from finetide.config.export import ExportParams
from finetide.config.ingest import IngestParams
from finetide.config.judge import JudgeParams
from finetide.config.policy import PolicyParams
from finetide.config.shift import ShiftParams
from finetide.config.split import SplitParams
from finetide.config.train import TrainParams
from finetide.config.validate import ValidateParams

ModelName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


class ModelParams(Section):
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


class Params(Section):
    schema_version: Literal[1] = Field(alias="schema")
    models: dict[ModelName, ModelParams] = Field(min_length=1)

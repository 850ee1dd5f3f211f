"""params.yaml: models.MODEL.schedule. No stage reads it; `finetide up` hands it to Prefect."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from finetide.config.base import HIDDEN, NOTICE_PATTERN, Section
from finetide.config.times import check_cron, check_rrule, check_zone

Kind = Literal["failed", "halted", "approval-wanted", "promoted", "rolled-back", "crashed", "worker-gone"]

# Beyond them the server's dates overflow, or its table of runs does.
SHORTEST_MINUTES, LONGEST_MINUTES, LONGEST_HOURS, LONGEST_SECONDS = 0.1, 5_256_000.0, 87_600.0, 86_400.0
Every = Annotated[float, Field(ge=SHORTEST_MINUTES, le=LONGEST_MINUTES, allow_inf_nan=False)]
Late = Annotated[float, Field(gt=0.0, le=LONGEST_MINUTES, allow_inf_nan=False)]
Minutes = Annotated[float, Field(ge=0.0, le=LONGEST_MINUTES, allow_inf_nan=False)]
Hours = Annotated[float, Field(gt=0.0, le=LONGEST_HOURS, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0.0, le=LONGEST_SECONDS, allow_inf_nan=False)]
_BUCKET = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/.*)?)")


class TimesParams(Section):
    """When one kind of run is due."""

    cron: str | None = Field(description="five fields: minute, hour, day of the month, month, day of the week")
    every_minutes: Every | None = Field(description="minutes from one run to the next, in place of cron")
    rrule: str | None = Field(description='RFC 5545, e.g. "FREQ=WEEKLY;BYDAY=MO;BYHOUR=3;BYMINUTE=0", in place of cron')
    missed: Literal["latest-only", "all", "skip"] = Field(
        description="runs that were due while the one before was at work, or while no worker was up: `latest-only` "
        "makes one run of them, `all` runs them one after the other, `skip` none of them"
    )

    @model_validator(mode="after")
    def _at_most_one(self) -> Self:
        if sum(given is not None for given in (self.cron, self.every_minutes, self.rrule)) > 1:
            raise ValueError("give at most one of cron, every_minutes and rrule, and null for the others")
        return self

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, cron: str | None) -> str | None:
        if cron is not None:
            check_cron(cron)
        return cron

    @field_validator("rrule")
    @classmethod
    def _is_rrule(cls, rrule: str | None) -> str | None:
        if rrule is not None:
            check_rrule(rrule)
        return rrule

    def said(self, timezone: str) -> str:
        """For a person, e.g. ``15 3 * * * Europe/Berlin``."""
        if self.every_minutes is not None:
            return f"every {self.every_minutes:g} minutes"
        if self.cron is None and self.rrule is None:
            return "by hand or by an event only"
        return f"{self.cron or self.rrule} {timezone}"


class NotifyParams(Section):
    """Whom the server tells what. docs/on-call.md says what each kind means."""

    blocks: list[Annotated[str, Field(pattern=NOTICE_PATTERN)]] = Field(
        description="notification blocks of the Prefect server, TYPE/NAME each, e.g. slack-webhook/ops; [] tells nobody"
    )
    about: list[Kind] = Field(description="what notices are sent about; each kind has its section in docs/on-call.md")
    again_minutes: Minutes = Field(
        description="what was told is told again only after so long, where it still stands or happens again"
    )

    @field_validator("blocks", "about")
    @classmethod
    def _once(cls, listed: list[str]) -> list[str]:
        if twice := next((one for one in listed if listed.count(one) > 1), None):
            raise ValueError(f"names {twice!r} twice")
        return listed


class ScheduleParams(Section):
    timezone: str = Field(description="time zone of cron and rrule, as the IANA names it, e.g. Europe/Berlin")
    retrain: TimesParams
    monitor: TimesParams
    late_after_minutes: Late = Field(description="a run that begins this long after it was due counts as missed")
    cool_down_minutes: Minutes = Field(
        description="after a shift event started a retraining, further ones start none for so long"
    )
    drop: str = Field(
        min_length=1,
        description="where new files are put: a folder, relative to the project, or `s3://BUCKET/PREFIX` (with the "
        "extra s3; endpoint and keys by the AWS variables or profile); nothing there is deleted",
    )
    quiet_seconds: Seconds = Field(
        description="a dropped file is taken in once its size and time are the same over two looks this far apart; on "
        "S3 nobody waits, an object appears whole"
    )
    approval_hours: Hours = Field(description="how long a run waits for a person before it ends as failed")
    notify: NotifyParams

    @field_validator("timezone")
    @classmethod
    def _is_zone(cls, timezone: str) -> str:
        check_zone(timezone)
        return timezone

    @field_validator("drop")
    @classmethod
    def _is_place(cls, drop: str) -> str:
        if "://" in drop and "@" in drop:  # not shown: it may be a secret
            raise PydanticCustomError(HIDDEN, "must hold no keys: the AWS variables or ~/.aws/credentials have them")
        if "://" in drop and bucket_of(drop) is None:
            raise ValueError("must be a folder, or s3://BUCKET/PREFIX")
        return drop


def bucket_of(drop: str) -> tuple[str, str] | None:
    """Bucket and prefix of ``s3://BUCKET/PREFIX``, the prefix without slashes around it; None of a folder."""
    found = _BUCKET.fullmatch(drop)
    return (found[1], found[2].strip("/")) if found else None

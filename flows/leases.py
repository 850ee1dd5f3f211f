"""A run holds its place among those of its deployment by a lease, which Prefect's engine renews every few minutes.

Where that fails for minutes, because the server is away, the engine ends the run and hours of training. Ours go on:
what must not happen twice at a time is excluded by locks of our own (`place.workplace`).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

from prefect import flow_engine
from prefect.concurrency._leases import maintain_concurrency_lease


def _lenient(
    lease: UUID, seconds: float, raise_on_lease_renewal_failure: bool = False, suppress_warnings: bool = False
) -> AbstractContextManager[None]:
    return maintain_concurrency_lease(lease, seconds, False, suppress_warnings)


def outlive_the_server() -> None:
    """For all runs of this process. Prefect has no setting for it."""
    engine: Any = flow_engine
    engine.maintain_concurrency_lease = _lenient

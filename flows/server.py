"""Prefect's server on SQLite, whose automations lose no event: `python -m finetide_flows.server OPTIONS`
is `prefect server start OPTIONS`.

Prefect counts an event for an automation in a transaction that reads first and then writes. SQLite refuses the write
at once, without waiting, when anything else was written in between; four such refusals, which take a tenth of a second
while a run changes its state, and the event is thrown away: the events after it wait for it for 15 minutes, a notice
among them. Here the transaction takes its place among the writers before it reads, and so waits for its turn. On
Postgres nothing changes.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from prefect.server.database import provide_database_interface
from prefect.server.events import triggers


@asynccontextmanager
async def _writing(begin_transaction: bool = False) -> AsyncIterator[Any]:
    opened = provide_database_interface().session_context(
        begin_transaction=begin_transaction, with_for_update=begin_transaction
    )
    async with opened as session:
        yield session


def lose_no_event() -> None:
    """For all automations of this process. Prefect has no setting for it."""
    evaluating: Any = triggers
    evaluating.automations_session = _writing


if __name__ == "__main__":
    from prefect.cli import app

    lose_no_event()
    sys.argv[1:1] = ["server", "start"]
    app()

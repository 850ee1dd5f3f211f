"""Prefect's settings for a project: its state stays in the project's folder and nothing is reported anywhere."""

from __future__ import annotations

import os
import re
from pathlib import Path

# Runs tell the server this often that they live; the automation of flows/automations.py waits three times as long.
HEARTBEAT_SECONDS = 30
# Prefect takes these one by one too; one setting decides (database.py), and only the server is to know a password.
_DATABASE = re.compile("PREFECT_(SERVER|API)_DATABASE_(CONNECTION_URL|DRIVER|HOST|PORT|USER|NAME|PASSWORD)")


def folder(root: Path) -> Path:
    """Where database, logs and the record of what is up lie."""
    return root / ".finetide" / "prefect"


def defaults(root: Path) -> dict[str, str]:
    """What is set unless the environment sets it already."""
    return {
        "PREFECT_HOME": str(folder(root)),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        # A temporary server migrates its database on the first start, which takes longer than the 20 s allowed.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    }


def of_server(root: Path, api: str, database: str | None = None, *, sealed: bool) -> dict[str, str]:
    """The whole environment of a server of ours: its database is the project's, and it asks nobody for anything.

    Args:
        api: its address; the dashboard, which runs in the browser, would ask port 4200 whatever the server's is.
        database: SQLAlchemy's URL of a Postgres, password included; None is SQLite in the project's folder.
        sealed: it sends no notices, so that nothing it does has to leave this machine.
    """
    env = {**_without_database(), **defaults(root)}
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE"):
        env.pop(name, None)
    if database is not None:
        env["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database
    env.update(PREFECT_SERVER_UI_API_URL=api, PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT="false")
    env.update(NO_COLOR="1")
    # In memory, as by default, a server that is killed forgets who holds a slot: a training would be ended for it, and
    # the slot never be free again.
    env.update(PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE="prefect.server.concurrency.lease_storage.filesystem")
    if sealed:  # it would fetch a list of worker types from GitHub, and has a copy for when it cannot (docs/privacy.md)
        env.update(HTTPS_PROXY="http://127.0.0.1:9", NO_PROXY="127.0.0.1,localhost")
    return env


def of_client(root: Path, api: str) -> dict[str, str]:
    """The whole environment of a worker, or of whoever else talks to the server at ``api``."""
    env = {**defaults(root), **_without_database(), "NO_COLOR": "1"}
    env.update(PREFECT_HOME=str(folder(root)), PREFECT_API_URL=api)
    env.pop("FINETIDE_RUN", None)  # a flow that the worker starts belongs to no run of ours
    return env


def _without_database() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not _DATABASE.fullmatch(name)}

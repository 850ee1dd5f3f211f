"""Where the Prefect server of `finetide up` keeps its state: SQLite in the project's folder, or a Postgres database.

One setting decides: PREFECT_SERVER_DATABASE_CONNECTION_URL, as Prefect names it. The password in it is never printed
and stands in no file of ours.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Any

from finetide.contracts.operate import SQLITE, Running
from finetide.errors import InputError, ToolError

if TYPE_CHECKING:
    from sqlalchemy import URL

NAME = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
OLD_NAME = "PREFECT_API_DATABASE_CONNECTION_URL"
SECONDS = 5.0
_FORM = "postgresql://USER:PASSWORD@HOST:5432/DATABASE; in the password write @ as %40, / as %2F, % as %25"
# SQLSTATE → what it means for the person, and what helps (PostgreSQL's manual, appendix A).
_STATES = {
    "28P01": ("refuses this user with this password", f"correct the password in {NAME}"),
    "28000": ("refuses this user", f"correct the user in {NAME}; pg_hba.conf of the server says who may come"),
    "3D000": ("has no such database", "create it: createdb --owner=USER DATABASE"),
    "42501": ("does not let this user connect", "GRANT CONNECT ON DATABASE … TO …"),
    "53300": ("has no free connection", "raise max_connections there, or end other clients"),
    "57P03": ("is starting or stopping", "try again in a moment"),
}
# Prefect's migrations make tables, and the index of its search by name needs this extension.
_ASK = """
select current_setting('server_version_num')::int,
       coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),
       exists (select from pg_available_extensions where name = 'pg_trgm'),
       exists (select from pg_extension where extname = 'pg_trgm')
         or has_database_privilege(current_database(), 'CREATE')
"""


def wanted() -> URL | None:
    """The Postgres database that the environment names; None where it names none, which means SQLite.

    Raises: InputError for what is no address of a Postgres database. No part of it is shown: any may be the password.
    """
    name = NAME if os.environ.get(NAME) else OLD_NAME
    text = os.environ.get(name, "")
    if not text:
        return None
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        url = None
    if url is not None and url.get_backend_name() not in ("postgresql", "postgres"):
        raise InputError(
            "is no address of a Postgres database", where=name, found=f"{url.drivername}://…",
            fix=f"{_FORM}; or unset it: without it the server keeps its state in .finetide/prefect",
        )  # fmt: skip
    if url is None or not url.database or not url.username or "@" in (url.host or ""):
        raise InputError("is no address of a Postgres database", where=name, fix=_FORM)
    return url.set(drivername="postgresql+asyncpg")


def said(url: URL | None) -> str:
    """The database without its password, to be shown and remembered."""
    if url is None:
        return SQLITE
    host = url.host or url.query.get("host") or "localhost"
    return f"postgresql://{url.username}@{host}:{url.port or 5432}/{url.database}"


def agree(before: Running | None) -> URL | None:
    """What the environment names, where that is the database of the last time.

    Args: before: the record of a server of ours.

    Raises: InputError where it is another one: runs and schedules would seem lost.
    """
    url = wanted()
    if before is None or before.database == said(url):
        return url
    raise InputError(
        f"the server of this project keeps its state in {before.database}", where=NAME, found=said(url),
        fix=f"{'set' if url is None else 'unset or correct'} {NAME}; or, to begin anew there: finetide down, then "
        "delete .finetide/prefect/up.json",
    )  # fmt: skip


def check(url: URL) -> None:
    """Connect as the server will. Raises: ToolError that says what the database lacks."""
    try:
        version, tables, known, may = asyncio.run(_ask(url))
    except Exception as error:  # of asyncpg, of SQLAlchemy around it, of the system: told apart below, or raised again
        told = _told(error)
        if told is None:
            # Not chained: the driver's words may quote what it was given.
            raise ToolError(f"cannot be used: {type(error).__name__}", where=said(url), fix=_FORM) from None
        raise ToolError(told[0], where=said(url), fix=told[1]) from None
    if version < 140000:
        raise ToolError("is too old", where=said(url), found=version // 10000, fix="Prefect needs PostgreSQL 14")
    if not tables:
        raise ToolError(
            "does not let this user make tables", where=said(url), fix="GRANT CREATE ON SCHEMA public TO …, or make "
            "the user the database's owner",
        )  # fmt: skip
    if not known or not may:
        raise ToolError(
            "lacks the extension pg_trgm, which Prefect needs", where=said(url),
            fix="install the server's contrib package" if not known else "as its owner: CREATE EXTENSION pg_trgm",
        )  # fmt: skip


async def _ask(url: URL) -> Any:
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    engine = create_async_engine(url, poolclass=NullPool, connect_args={"timeout": SECONDS})
    try:
        async with asyncio.timeout(2 * SECONDS), engine.connect() as connection:
            return (await connection.execute(text(_ASK))).one()
    finally:
        await engine.dispose()


def _told(error: BaseException) -> tuple[str, str] | None:
    """What and fix for an error, whoever wrapped it; None for one that we do not know."""
    seen: BaseException | None = error
    while seen is not None:
        if told := _STATES.get(str(getattr(seen, "sqlstate", None))):
            return told
        if isinstance(seen, socket.gaierror):
            return "the name of its machine is not known", f"correct the host in {NAME}"
        if isinstance(seen, TimeoutError):
            return f"did not answer within {SECONDS:.0f} s", "look whether a firewall stands between, or it is down"
        if isinstance(seen, OSError):
            return "does not answer", "start it, or correct host and port"
        seen = getattr(seen, "orig", None) or seen.__cause__ or seen.__context__
    return None

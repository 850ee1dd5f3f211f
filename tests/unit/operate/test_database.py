"""The one setting that names a Postgres: what it may say, and each way a real one refuses, without the password."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from finetide.contracts.operate import SQLITE, Running
from finetide.errors import FinetideError, InputError
from finetide.operate import database, environment
from support.postgres import ESCAPED, PASSWORD, Postgres, binaries, postgres

needs_postgres = pytest.mark.skipif(binaries() is None, reason="no `postgres` on this machine (apt install postgresql)")


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    folder = binaries()
    assert folder is not None
    with postgres(folder) as found:
        yield found


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(database.NAME, raising=False)
    monkeypatch.delenv(database.OLD_NAME, raising=False)


def refusal(monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    """What a person reads; it comes within seconds and holds no password."""
    monkeypatch.setenv(database.NAME, url)
    begun = time.monotonic()

    def ask() -> None:
        found = database.wanted()
        assert found is not None
        database.check(found)

    with pytest.raises(FinetideError) as caught:
        ask()
    assert time.monotonic() - begun < 8
    error: BaseException | None = caught.value
    while error is not None:  # also where somebody prints the whole chain
        assert not any(part in str(error) for part in (PASSWORD, ESCAPED, "secret", "s3cret")), error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return str(caught.value)


def test_without_the_setting_it_is_sqlite() -> None:
    assert database.wanted() is None
    assert database.said(None) == SQLITE == "SQLite in .finetide/prefect"


@pytest.mark.parametrize("name", [database.NAME, database.OLD_NAME])
@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
def test_prefects_names_and_the_usual_schemes(name: str, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, f"{scheme}://tide:{ESCAPED}@db.example:5433/prefect")
    url = database.wanted()
    assert url is not None
    assert (url.drivername, url.password) == ("postgresql+asyncpg", PASSWORD)
    assert database.said(url) == "postgresql://tide@db.example:5433/prefect"


@pytest.mark.parametrize(
    "text",
    ["secret", "postgresql://", "postgresql://tide:s3cret/x", "postgresql://tide:s3cret@host:s3cret/x",
     "postgresql://tide:secret@secret@host/x", "postgresql://host/x", "postgresql://tide:secret@host"],
)  # fmt: skip
def test_what_is_no_address_is_not_shown(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = refusal(monkeypatch, text)
    assert said.startswith(f"{database.NAME}: is no address of a Postgres database\n  fix: postgresql://USER:PASSWORD@")


def test_another_kind_of_database(monkeypatch: pytest.MonkeyPatch) -> None:
    said = refusal(monkeypatch, "sqlite+aiosqlite:////tmp/secret.db")
    assert "is no address of a Postgres database (found 'sqlite+aiosqlite://…')" in said
    assert "or unset it: without it the server keeps its state in .finetide/prefect" in said


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        said = refusal(monkeypatch, f"postgresql://tide:{ESCAPED}@127.0.0.1:{port}/prefect")
    assert (
        said
        == f"postgresql://tide@127.0.0.1:{port}/prefect: does not answer\n  fix: start it, or correct host and port"
    )


def test_who_listens_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        said = refusal(monkeypatch, f"postgresql://tide:{ESCAPED}@127.0.0.1:{mute.getsockname()[1]}/prefect")
    assert "did not answer within 5 s\n  fix: look whether a firewall stands between, or it is down" in said


def test_a_machine_that_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:  # what a resolver says, without asking one
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    said = refusal(monkeypatch, f"postgresql://tide:{ESCAPED}@no-such-host.invalid/prefect")
    assert "postgresql://tide@no-such-host.invalid:5432/prefect: the name of its machine is not known" in said


@needs_postgres
class TestARealOne:
    def test_takes_who_may(self, server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(database.NAME, server.url())
        url = database.wanted()
        assert url is not None
        database.check(url)

    def test_a_wrong_password(self, server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
        said = refusal(monkeypatch, server.url(password="secret"))
        assert "refuses this user with this password\n  fix: correct the password in PREFECT_SERVER_DATABASE" in said

    def test_no_such_database(self, server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
        said = refusal(monkeypatch, server.url("nowhere"))
        assert said.endswith("/nowhere: has no such database\n  fix: create it: createdb --owner=USER DATABASE")

    def test_a_user_who_may_not_connect(self, server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
        server.sql("CREATE ROLE guest LOGIN PASSWORD 'secret'", "CREATE DATABASE closed")
        server.sql("REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
        said = refusal(monkeypatch, server.url("closed", "guest", "secret"))
        assert "does not let this user connect\n  fix: GRANT CONNECT ON DATABASE" in said

    def test_a_user_who_may_not_make_tables(self, server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
        server.sql("CREATE ROLE reader LOGIN PASSWORD 'secret'")
        said = refusal(monkeypatch, server.url("prefect", "reader", "secret"))
        assert "does not let this user make tables\n  fix: GRANT CREATE ON SCHEMA public TO" in said

    def test_a_database_without_the_extension(self, server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
        server.sql("CREATE ROLE maker LOGIN PASSWORD 'secret'", "CREATE DATABASE bare")
        server.sql("GRANT CREATE ON SCHEMA public TO maker", database="bare")
        said = refusal(monkeypatch, server.url("bare", "maker", "secret"))
        assert "lacks the extension pg_trgm, which Prefect needs\n  fix: as its owner: CREATE EXTENSION pg_trgm" in said
        server.sql("CREATE EXTENSION pg_trgm", database="bare")
        url = database.wanted()
        assert url is not None
        database.check(url)


def test_the_database_of_the_last_time_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Running(api="http://127.0.0.1:4200/api", database="postgresql://a@b:5432/c", pool="finetide", server=None,
                   worker=None, deployed=None)  # fmt: skip
    with pytest.raises(InputError) as caught:
        database.agree(here)
    assert str(caught.value) == (
        "PREFECT_SERVER_DATABASE_CONNECTION_URL: the server of this project keeps its state in postgresql://a@b:5432/c "
        "(found 'SQLite in .finetide/prefect')\n  fix: set PREFECT_SERVER_DATABASE_CONNECTION_URL; or, to begin anew "
        "there: finetide down, then delete .finetide/prefect/up.json"
    )
    monkeypatch.setenv(database.NAME, "postgresql://a:secret@b/c")
    assert database.agree(here) is not None
    with pytest.raises(InputError, match="fix: unset or correct PREFECT_SERVER_DATABASE_CONNECTION_URL"):
        database.agree(here.model_copy(update={"database": SQLITE}))


def test_only_the_server_knows_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONNECTION_URL", "PASSWORD", "HOST"):
        monkeypatch.setenv(f"PREFECT_SERVER_DATABASE_{name}", "secret")
        monkeypatch.setenv(f"PREFECT_API_DATABASE_{name}", "secret")
    assert "secret" not in environment.of_client(tmp_path, "http://127.0.0.1:1/api").values()
    assert "secret" not in environment.of_server(tmp_path, "http://127.0.0.1:1/api", sealed=True).values()
    told = environment.of_server(tmp_path, "http://127.0.0.1:1/api", "postgresql+asyncpg://a:b@c/d", sealed=True)
    assert [key for key, value in told.items() if "_DATABASE_" in key] == [database.NAME]
    assert told[database.NAME] == "postgresql+asyncpg://a:b@c/d"


def test_an_unknown_fault_is_told_by_its_kind_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(url: object) -> None:
        raise RuntimeError(f"cannot take {PASSWORD}")

    monkeypatch.setattr(database, "_ask", broken)
    said = refusal(monkeypatch, f"postgresql://tide:{ESCAPED}@host/x")
    assert said.startswith("postgresql://tide@host:5432/x: cannot be used: RuntimeError\n")

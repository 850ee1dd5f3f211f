"""A real Postgres for tests, from the machine's own package, on loopback, with a folder of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PASSWORD = "s3cret-wörd@x/y%z"  # what an address has to escape
ESCAPED = "s3cret-w%C3%B6rd%40x%2Fy%25z"


@dataclass(frozen=True)
class Postgres:
    """``port`` on loopback; the superuser is ``tide``, with PASSWORD."""

    binaries: Path
    data: Path
    port: int

    def url(self, database: str = "prefect", user: str = "tide", password: str = ESCAPED) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def sql(self, *commands: str, database: str = "postgres") -> str:
        asked = [part for command in commands for part in ("-c", command)]
        return subprocess.run(
            [str(self.binaries / "psql"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "tide", "-d", database,
             "-v", "ON_ERROR_STOP=1", "-At", *asked],
            env={**os.environ, "PGPASSWORD": PASSWORD}, check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip


def binaries() -> Path | None:
    """Where ``postgres`` lies; None where there is none."""
    if found := shutil.which("postgres"):
        return Path(found).resolve().parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return debian[-1].parent if debian else None


@contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """Args: folder: its programs, see `binaries`."""
    home = Path(tempfile.mkdtemp(prefix="finetide-postgres-"))
    user = None
    if os.geteuid() == 0:  # Postgres refuses to run as root
        entry = pwd.getpwnam("nobody")
        os.chown(home, entry.pw_uid, entry.pw_gid)
        user = entry.pw_uid
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    secret, data = home / "secret", home / "data"
    secret.write_text(PASSWORD, encoding="utf-8")
    secret.chmod(0o644)

    def call(*command: str) -> None:
        subprocess.run(command, user=user, cwd=home, check=True, capture_output=True)

    try:
        call(str(folder / "initdb"), "-D", str(data), "-U", "tide", "--auth=scram-sha-256", f"--pwfile={secret}",
             "-E", "UTF8", "--locale=C")  # fmt: skip
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c fsync=off -k {home}"
        call(str(folder / "pg_ctl"), "-D", str(data), "-o", options, "-l", str(home / "log"), "-w", "start")
        try:
            found = Postgres(folder, data, port)
            found.sql("CREATE DATABASE prefect")
            yield found
        finally:
            call(str(folder / "pg_ctl"), "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)

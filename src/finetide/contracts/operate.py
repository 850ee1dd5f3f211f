"""What belongs to this machine and not to the project: what `finetide up` started, what was dropped, what waits."""

from __future__ import annotations

from typing import Literal

from finetide.contracts.base import Contract

SQLITE = "SQLite in .finetide/prefect"


class ProcessRecord(Contract):
    """``started``: seconds since 1970, as the system has it; with ``pid`` it names one process for good."""

    pid: int
    started: float


class Running(Contract):
    """.finetide/prefect/up.json. ``server`` is null where PREFECT_API_URL named one that is not ours.
    ``api``: its address, with ``/api``. ``database``: where our server keeps its state, without a password; null where
    it is not ours. ``pool``: the work pool of the worker. ``deployed``: hash of the settings that the deployments were
    made from. ``sealed``: the server was started so that it reaches nobody outside."""

    schema_version: Literal[1] = 1
    api: str
    database: str | None = SQLITE  # records of before the setting lack it
    pool: str
    server: ProcessRecord | None
    worker: ProcessRecord | None
    deployed: str | None
    sealed: bool = True


class Seen(Contract):
    """What became of one dropped file. ``modified``: nanoseconds since 1970, as the file system has it; of an object on
    S3 0, and ``etag`` stands for its content. One that changes after it was taken or refused is looked at again."""

    name: str
    size: int
    modified: int
    etag: str | None = None  # files have none, nor have records of before
    sha256: str
    outcome: Literal["taken", "refused", "duplicate"]
    why: str


class DropRecord(Contract):
    """.finetide/drop/MODEL.json. Without it every file is looked at anew, and nothing comes in twice."""

    schema_version: Literal[1] = 1
    files: tuple[Seen, ...]


class RemoteRecord(Contract):
    """.finetide/remote/MODEL.json. ``pending``: hashes of bundles that were promoted here and are not in the DVC remote
    yet, in the order they were promoted; ``problem``: why the last push failed."""

    schema_version: Literal[1] = 1
    pending: tuple[str, ...]
    problem: str | None


class Waiting(Contract):
    """.finetide/waiting/MODEL.json: a scheduled run that waits for a person. ``verdict_hash``: what a decision is
    about, as in an approval; ``flow_run``: the suspended run on the server at ``api``."""

    schema_version: Literal[1] = 1
    model: str
    about: Literal["gate", "promotion"] = "gate"  # records of before promotions were asked about lack it
    verdict_hash: str
    reason: str
    flow_run: str
    api: str

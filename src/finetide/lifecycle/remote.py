"""Takes what was promoted to the DVC remote: outputs, training weights and raw files of the run, by its run commit.

A promotion is written down here before the ledger has it, and crossed out once the remote has its bytes. So a remote
that is away, or a kill, holds no promotion up and loses none: the next run pushes what is left (docs/adr/0011).
"""

from __future__ import annotations

import configparser
from contextlib import suppress
from pathlib import Path

from finetide.contracts.ledger import LedgerEntry
from finetide.contracts.operate import RemoteRecord
from finetide.errors import FinetideError
from finetide.lifecycle import restore
from finetide.lifecycle.isolate import home_of
from finetide.pipeline import dvc
from finetide.registry import history, ledger

_CONNECT_SECONDS = 10


def intend(root: Path, model: str, bundle_hash: str) -> None:
    """Write down that a bundle is to be pushed, before the ledger acknowledges it."""
    record = _read(root, model)
    if bundle_hash not in record.pending:
        _write(root, model, RemoteRecord(pending=(*record.pending, bundle_hash), problem=record.problem))


def push(root: Path, model: str) -> list[str]:
    """Push what waits, the newest first. Never raises for what the remote does.

    Args: root: the checkout's project, or its worktree.

    Returns: a line for each version that is in the remote now, and one for what went wrong. None without a remote.
    """
    home = home_of(root)
    record, remote = _read(root, model), default_remote(home)
    if not record.pending or remote is None:
        return []
    entries = ledger.read(home, model)
    lines: list[str] = []
    left: list[str] = []
    problem = None
    for digest in reversed(record.pending):
        entry = history.promotion(entries, digest)
        if entry is None:  # refused, or killed before the ledger had it
            continue
        problem = problem or _push(home, model, entry, remote)
        if problem:
            left.insert(0, digest)
        else:
            lines.append(f"pushed {entry.version} to the DVC remote {remote}")
    _write(root, model, RemoteRecord(pending=tuple(left), problem=problem))
    return [*lines, *([waiting_line(root, model)] if problem else [])]


def waiting_line(root: Path, model: str) -> str:
    """What is not in the remote yet, and why; empty when nothing waits."""
    record = _read(root, model)
    if record.problem is None:
        return ""
    promoted = (history.promotion(ledger.read(root, model), digest) for digest in record.pending)
    versions = ", ".join(entry.version or "" for entry in promoted if entry)
    return f"not in the DVC remote yet: {versions}; the next run tries again ({record.problem})"


def default_remote(home: Path) -> str | None:
    """The name of the default remote in the project's DVC settings; read from the files, because each call of DVC takes
    half a second and an idle run asks."""
    return _settings(home).get("core", "remote", fallback=None)


def _settings(folder: Path) -> configparser.ConfigParser:
    found = configparser.ConfigParser(strict=False, interpolation=None)
    with suppress(configparser.Error, UnicodeDecodeError):  # DVC itself says what is wrong with it
        found.read([folder / ".dvc" / "config", folder / ".dvc" / "config.local"], encoding="utf-8")
    return found


def _push(home: Path, model: str, entry: LedgerEntry, remote: str) -> str | None:
    """Push one promoted version out of its run commit. Returns: what went wrong, in one line."""
    try:
        with restore.unpacked(home, model, ledger.run_commit(home, model, entry.sequence)) as folder:
            _be_brief(folder, remote)
            stages = restore.stages_of(folder, model)
            pointers = [path.relative_to(folder).as_posix() for path in folder.glob("data/**/*.dvc")]
            # Not --quiet: it would keep the reason of a failure to itself.
            outcome = dvc.call(folder, ["push", "--remote", remote, *stages, *pointers])
    except FinetideError as error:
        return " ".join(str(error).split())
    return None if outcome.code == 0 else dvc.said(outcome.output)


def _be_brief(folder: Path, remote: str) -> None:
    """An S3 server that does not answer is given up after seconds, where the person has not said otherwise."""
    settings, section = _settings(folder), f"'remote \"{remote}\"'"
    is_s3 = settings.get(section, "url", fallback="").startswith("s3://")
    if is_s3 and not settings.has_option(section, "connect_timeout"):
        dvc.checked(folder, ["config", "--local", f"remote.{remote}.connect_timeout", str(_CONNECT_SECONDS)])


def _path(root: Path, model: str) -> Path:
    return home_of(root) / ".finetide" / "remote" / f"{model}.json"


def _read(root: Path, model: str) -> RemoteRecord:
    try:
        return RemoteRecord.read(_path(root, model))
    except (FileNotFoundError, FinetideError):
        return RemoteRecord(pending=(), problem=None)


def _write(root: Path, model: str, record: RemoteRecord) -> None:
    record.write(_path(root, model))

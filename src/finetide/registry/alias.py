"""serving/MODEL/champion.json: the one file that a server reads to know what is in service. Replaced atomically."""

from __future__ import annotations

from pathlib import Path

from finetide.contracts.ledger import Alias, LedgerEntry
from finetide.errors import IntegrityError
from finetide.registry import store

ALIAS_FILE = "champion.json"


def alias_path(root: Path, model: str) -> Path:
    return store.model_folder(root, model) / ALIAS_FILE


def read_alias(root: Path, model: str) -> Alias | None:
    """None before the first promotion. Raises: IntegrityError when it is torn."""
    path = alias_path(root, model)
    if not path.exists():
        return None
    if not path.is_file():
        raise IntegrityError("is no file", where=str(path), fix=f"move it away; finetide run {model} writes it anew")
    try:
        return Alias.read(path)
    except IntegrityError as error:
        raise IntegrityError(error.what, where=error.where, fix=f"finetide run {model} writes it anew") from error


def write_alias(root: Path, alias: Alias) -> None:
    alias.write(alias_path(root, alias.model))


def alias_of(move: LedgerEntry) -> Alias:
    """Args: move: a promotion or rollback."""
    digest = move.bundle_hash or ""
    return Alias(
        model=move.model,
        version=move.version or "",
        hash=digest,
        bundle=f"serving/{move.model}/{digest}/bundle",
        since=move.time,
        entry=move.sequence,
    )

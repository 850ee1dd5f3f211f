"""The tree of a run commit: what is checked out, with the files that decide a run as they are on disk.

Made with an index of its own, so that the user's branch, index and work tree stay as they are.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from finetide.registry.git import Repository

FIXED = ("dvc.yaml", "dvc.lock", "params.yaml", "finetide.lock")
_SCOPE = re.compile(r"data/.*\.dvc|data/[^/]+/(window|suite)\.json|approvals/([^/]+/)*([^./][^/]*|\.gitkeep)")
# No hook of the user's may see our index, and no index of ours may leave files beside theirs.
_QUIET = ("-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false", "-c", "core.splitIndex=false")
_CHUNK = 500


def run_files(root: Path) -> list[str]:
    """The files that decide a run, POSIX, relative to ``root``, sorted."""
    found = {name for name in FIXED if (root / name).is_file()}
    for folder in ("data", "approvals"):
        for path in (root / folder).rglob("*"):
            name = path.relative_to(root).as_posix()
            if in_scope(name) and path.is_file():
                found.add(name)
    return sorted(found)


def in_scope(name: str) -> bool:
    return name in FIXED or _SCOPE.fullmatch(name) is not None


def write_tree(repository: Repository, head: str | None) -> str:
    """Hash of the tree: that of the commit ``head``, with `run_files` added, replaced or (if gone from disk) taken out.

    Args: head: None before the first commit.
    """
    files = run_files(repository.folder)
    with tempfile.TemporaryDirectory(prefix="finetide-index-") as temporary:
        env = {"GIT_INDEX_FILE": str(Path(temporary) / "index")}
        if head:
            repository.git(*_QUIET, "read-tree", head, env=env)
        listed = repository.git(*_QUIET, "ls-files", "-z", env=env).decode(errors="surrogateescape").split("\0")
        gone = [name for name in listed if name and in_scope(name) and name not in set(files)]
        lines = [f"0 {'0' * len(head or '')}\t{repository.prefix}{name}" for name in gone]
        for name, blob in _write_blobs(repository, files).items():
            lines.append(f"100644 {blob}\t{repository.prefix}{name}")
        stdin = "".join(f"{line}\0" for line in lines).encode(errors="surrogateescape")
        repository.git(*_QUIET, "update-index", "--replace", "-z", "--index-info", stdin=stdin, env=env)
        return repository.line(*_QUIET, "write-tree", env=env)


def _write_blobs(repository: Repository, files: list[str]) -> dict[str, str]:
    """File → blob. Without filters: the commit holds the very bytes that DVC hashed."""
    blobs: dict[str, str] = {}
    for start in range(0, len(files), _CHUNK):
        chunk = files[start : start + _CHUNK]
        hashes = repository.line("hash-object", "-w", "--no-filters", "--", *chunk).split()
        blobs.update(zip(chunk, hashes, strict=True))
    return blobs

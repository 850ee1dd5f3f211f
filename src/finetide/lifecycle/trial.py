"""Before a file of late labels is pinned: can they be joined with the window's rows? Once there, it never changes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from finetide.contracts.window import Window, WindowFile
from finetide.data.kinds import Source
from finetide.data.payload import STORE
from finetide.errors import InputError
from finetide.files import sha256_file


def join(window: Window, raw: Path, new: Mapping[str, Path], source: Source, params: Any) -> None:
    """Ingest, on trial, what is in ``window`` and what is ``new``, into a folder that goes again.

    Args: raw: data/MODEL/raw, with every file of the window; new: by the name that it is to have there.

    Raises: DataError about one of ``new``. What is wrong with the others is left to the run, which stops there.
    """
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "raw"
        paths = {file.path: raw / file.path for file in window.files if file.role != "excluded"} | dict(new)
        for name, path in paths.items():
            link = folder / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())
        given = [WindowFile(path=name, sha256=sha256_file(path), role="incoming") for name, path in new.items()]
        files = (*(file for file in window.files if file.path not in new), *given)
        try:
            source.ingest(window.model_copy(update={"files": files}), folder, params, Path(scratch) / STORE)
        except InputError as error:
            # "late.csv" or "late.csv, line 3", and not the "late.csv.gz" that is in the window already.
            if any(f"{error.where}, ".startswith(f"{name}, ") for name in new):
                raise

"""Before any stage runs: take in what is new, pin it, and bring back what is missing on disk."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from finetide import base
from finetide.config.graph import stage_files
from finetide.config.load import PARAMS_FILE, read_yaml
from finetide.config.params import model_params
from finetide.contracts.window import Start, Window
from finetide.errors import ConfigError, ProjectError
from finetide.files import sha256_file, sweep, write_text
from finetide.lifecycle import isolate, locks, outputs, remote
from finetide.lifecycle.catch_up import catch_up
from finetide.lifecycle.restore import restore
from finetide.pipeline import codelock, dvc
from finetide.pipeline.graph import Graph
from finetide.pipeline.run import dirty, modified
from finetide.registry import history, ledger, raw, service
from finetide.registry.alias import alias_path
from finetide.registry.window import advance, read_window, window_path
from finetide.registry.window import repin as window_repin


def prepare(root: Path, model: str) -> list[str]:
    """Everything that a run needs; one line for each thing that was done. Doing it twice changes nothing.

    Raises: ConfigError, BaseModelError: before anything is touched, not in the stage that would read it.
    """
    params = model_params(root, model)
    folder = base.resolve(params.base, root)
    length = params.train.max_length
    base.check_length(folder, length, where=f"{PARAMS_FILE}: models.{model}.train.max_length")
    for stage in outputs.STAGES:  # one that is missing would be found hours later
        stage_files(root, stage, model)
    _check_suite(root / stage_files(root, "validate", model).deps["suite.json"])
    _check_pointers(raw.raw_folder(root, model))
    for swept in (root, window_path(root, model).parent, raw.raw_folder(root, model), alias_path(root, model).parent):
        sweep(swept)
    lines = _restore_champion(root, model)
    lines += _healed_alias(root, model)
    lines += remote.push(root, model)
    lines += locks.bring_back(root, model)
    lines += advance_window(root, model, ())
    lines += _fetch_raw(root, model)
    pinned = Window.read(window_path(root, model)).champion
    if pinned is not None:  # the judge scores it
        lines += restore(root, model, pinned.hash)
    lines += [f"finetide.lock: {line}" for line in codelock.refresh(root)]
    keep = root / stage_files(root, "gate", model).deps[model] / ".gitkeep"
    if not keep.exists():
        write_text(keep, "")
    return lines


def repin(root: Path, model: str, graph: Graph) -> tuple[list[str], set[str]]:
    """A champion went into service since the window was pinned, and now a setting or the code has changed: what is
    trained from here on has to be judged against that champion.

    Returns: a line for each thing that changed, and the stages of ``graph`` that are stale now.
    """
    stale = dirty(root, graph)
    lines = _repinned(root, model, graph, stale)
    return lines, dirty(root, graph) if lines else stale


def _repinned(root: Path, model: str, graph: Graph, stale: set[str]) -> list[str]:
    entries = ledger.read(root, model)
    champion = history.champion(entries)
    pinned = read_window(root, model).champion
    if champion is None or (pinned is not None and pinned.hash == champion.bundle_hash):
        return []
    if not stale:
        verdict = outputs.judge(root, model)
        if verdict is None or verdict.challenger_hash == champion.bundle_hash:
            return []
        if outputs.is_withdrawn(root, model, entries, verdict):
            return []
    elif not modified(root, graph):
        return []
    return window_repin(root, model, model_params(root, model).train.start)


def advance_window(root: Path, model: str, files: Sequence[Path]) -> list[str]:
    """Copy FILES in, compute the roles anew, version new files with DVC.

    Raises: DataError for a new file that ingest could not read; nothing is taken in then.
    """
    params = model_params(root, model)
    if any(path.is_dir() or path.suffix.lower() in (".csv", ".tsv") for path in files):
        from finetide.data import kinds

        source = kinds.source(params.task)
        with TemporaryDirectory() as scratch:
            packed = [source.pack(path, Path(scratch)) for path in files]
            if packed != list(files):
                return _advance(root, model, packed, params.train.start)
    return _advance(root, model, files, params.train.start)


def _advance(root: Path, model: str, files: Sequence[Path], start: Start) -> list[str]:
    folder = raw.raw_folder(root, model)
    told = _examine_new(root, model, files)
    known = catch_up(root, model)
    _, lines = advance(root, model, files, start)
    lines = [*known, *lines, *told]
    fresh = [folder / name for name in raw.listing(folder) if raw.pointer(folder, name) is None]
    if fresh:
        dvc.checked(root, ["add", *[str(path.relative_to(root)) for path in fresh]])
        lines += [f"dvc add {path.relative_to(root)}" for path in fresh]
        lines.append(f"commit when you like: {folder.relative_to(root)}, {window_path(root, model).relative_to(root)}")
    return lines


def _examine_new(root: Path, model: str, files: Sequence[Path]) -> list[str]:
    """Read what is given as FILES, or was dropped into the folder since the last window. Returns what is odd."""
    folder = raw.raw_folder(root, model)
    raw.check(folder, files)
    known = {file.path for file in read_window(root, model).files}
    new = [*files, *(folder / name for name in raw.listing(folder) if name not in known)]
    if not new:
        return []
    from finetide.data import kinds  # with pandas, which an idle run need not wait for

    params = model_params(root, model)
    source = kinds.source(params.task)
    examined = {path: source.examine(path, str(path), params.ingest) for path in new}
    lines = [line for one in examined.values() for line in one.told]
    if any(one.late for one in examined.values()):
        from finetide.lifecycle import trial

        names = {
            path: path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name for path in new
        }
        lines += [*catch_up(root, model), *_fetch_raw(root, model)]
        barred = history.excluded(ledger.read(root, model))
        given = {names[path]: path for path in new if sha256_file(path) not in barred}
        trial.join(read_window(root, model), folder, given, source, params.ingest)
    return lines


def _check_pointers(folder: Path) -> None:
    """DVC answers a torn one with "unexpected error - 'path'".

    Raises: ProjectError for a ``.dvc`` file that names no file with its hash.
    """
    for path in sorted(folder.rglob("*.dvc")):
        again = shlex.join(["git", "-C", str(path.parent), "checkout", path.name])
        fix = f"{again}; or delete it while the file itself is there, and it is written anew"
        try:
            found = read_yaml(path)
        except ConfigError as error:
            raise ProjectError(error.what, where=str(path), fix=fix) from error
        outs = found.get("outs") if isinstance(found, dict) else None
        if not isinstance(outs, list) or not all(isinstance(out, dict) and "path" in out for out in outs):
            raise ProjectError("is no pointer of DVC, or a torn one", where=str(path), fix=fix)


def exclude_file(root: Path, model: str, file: str, why: str) -> str:
    """Window and ledger; the file's bytes stay where they are. One that only scheduled runs know is excluded there."""
    service.exclude(isolate.place_of_file(root, model, file), model, file, reason=why)
    return f"{model}: {file} is excluded from this and all later windows ({why})"


def _fetch_raw(root: Path, model: str) -> list[str]:
    """Bring raw files back that are pinned and not on disk: from DVC's cache, else from the remote."""
    path = window_path(root, model)
    window = Window.read(path)
    folder = raw.raw_folder(root, model)
    wanted = [folder / file.path for file in window.files if file.role != "excluded"]
    missing = [file for file in wanted if not file.exists()]
    pointers = [f"{file.relative_to(root)}.dvc" for file in missing if Path(f"{file}.dvc").exists()]
    if not pointers:
        return []
    if dvc.call(root, ["checkout", "--quiet", *pointers]).code != 0:
        fix = "put the file back, or name a remote that has it: dvc remote add --default NAME URL"
        dvc.checked(root, ["pull", *pointers], fix=fix)
    return [f"fetched {pointer.removesuffix('.dvc')} (DVC)" for pointer in pointers]


def _check_suite(path: Path) -> None:
    """A torn one makes validate stale, and then the window would be pinned anew before validate can say so."""
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        from finetide.data.expectations import check_suite  # with pandas

        check_suite(path)


def _healed_alias(root: Path, model: str) -> list[str]:
    """After a kill between ledger and alias, or when somebody tore it."""
    path = alias_path(root, model)
    before = path.read_bytes() if path.is_file() else b""
    alias = service.reconcile(root, model)
    if alias is None or not before or path.read_bytes() == before:
        return []
    return [f"repaired: {path.relative_to(root)} says again what the ledger says: {alias.version} is in service"]


def _restore_champion(root: Path, model: str) -> list[str]:
    """In a fresh clone the ledger's tags are there and the store is empty: what is in service comes back first."""
    champion = history.champion(ledger.read(root, model))
    return [] if champion is None or not champion.bundle_hash else restore(root, model, champion.bundle_hash)

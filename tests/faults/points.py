"""Where a process kills itself: named points, or the n-th step that changes a file or starts a process.

Loaded into the forking process; the environment of a run says what is to happen in it:
``FT_POINT=NAME`` strikes at a named point the first time it is reached; ``FT_STEP=N`` strikes before the N-th step of
the whole run, counted over its processes in the file that ``FT_COUNT`` names. ``FT_STRUCK`` names the file that takes
down the place. Nothing of this is in the product: it is laid around the product's functions after the fork.
"""

from __future__ import annotations

import builtins
import mmap
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

STEPS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "subprocess.Popen")
WRITING = os.O_WRONLY | os.O_RDWR


def strike(place: str) -> NoReturn:
    """Take down where, and die as by SIGKILL from outside."""
    with Path(os.environ["FT_STRUCK"]).open("a") as stream:
        stream.write(place + "\n")
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def on_start(role: str) -> None:
    """In every process just after the fork."""
    name = os.environ.get("FT_POINT")
    if name and not Path(os.environ["FT_STRUCK"]).exists():
        POINTS[name](role)
    if "FT_COUNT" in os.environ:
        _count_steps(role)


def _count_steps(role: str) -> None:
    wanted = int(os.environ.get("FT_STEP", "0"))
    with open(os.environ["FT_COUNT"], "r+b") as stream:
        shared = mmap.mmap(stream.fileno(), 8)
    root = os.environ["FT_ROOT"]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not isinstance(path, str) or not flags or not (flags & WRITING) or not path.startswith(root):
                return
            what = f"open {path}"
        elif event in STEPS:
            what = f"{event} {arguments[0]}"
        else:
            return
        # One process of a run works at a time, so that no lock is needed.
        number = int.from_bytes(shared[:8], "little") + 1
        shared[:8] = number.to_bytes(8, "little")
        if number == wanted:
            strike(f"{role}: before {what.replace(root, '.')}"[:160])

    sys.addaudithook(hook)


def _after(module: str, name: str, place: str) -> Callable[[str], None]:
    """Strike when the function has returned."""

    def install(role: str) -> None:
        def strike_after(original: Any, *args: Any, **kwargs: Any) -> Any:
            original(*args, **kwargs)
            strike(f"{role}: {place}")

        _wrap(module, name, strike_after)

    return install


def _before(module: str, name: str, place: str) -> Callable[[str], None]:
    def install(role: str) -> None:
        _wrap(module, name, lambda _original, *_args, **_kwargs: strike(f"{role}: {place}"))

    return install


def _wrap(module: str, name: str, around: Callable[..., Any]) -> None:
    from importlib import import_module

    holder: Any = import_module(module)
    *path, last = name.split(".")
    for part in path:
        holder = getattr(holder, part)
    original = getattr(holder, last)
    setattr(holder, last, lambda *args, **kwargs: around(original, *args, **kwargs))


def _torn(suffix: str, share: float) -> Callable[[str], None]:
    """Strike when a share of a file that ends with ``suffix`` has been written in place by DVC."""

    def install(role: str) -> None:
        original = builtins.open

        def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            stream = original(file, mode, *args, **kwargs)
            torn = "w" in mode and str(file).endswith(suffix)
            return _Tearing(stream, role, str(file), share) if torn else stream

        builtins.open = opened  # type: ignore[assignment]

    return install


class _Tearing:
    """A stream that collects what is written, writes a share of it on closing, and strikes."""

    def __init__(self, stream: Any, role: str, path: str, share: float) -> None:
        self._stream, self._role, self._path, self._share = stream, role, path, share
        self._parts: list[str] = []

    def write(self, text: Any) -> int:
        self._parts.append(text if isinstance(text, str) else text.decode())
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> _Tearing:
        self._stream.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        text = "".join(self._parts)
        self._stream.write(text[: int(len(text) * self._share)])
        self._stream.flush()
        strike(f"{self._role}: {Path(self._path).name} written to {self._share:.0%}")


def _in_copy(role: str) -> None:
    """Strike with half of a file copied into DVC's cache."""
    import dvc_objects.fs.local as local

    original = local.copyfile

    def copied(source: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
        data = Path(source).read_bytes()
        if "/cache/" not in str(target) or len(data) < 2:
            return original(source, target, *args, **kwargs)
        Path(target).write_bytes(data[: len(data) // 2])
        strike(f"{role}: half of a file copied into DVC's cache")

    local.copyfile = copied


def _only(wanted: str, install: Callable[[str], None]) -> Callable[[str], None]:
    return lambda role: install(role) if role == wanted else None


POINTS: dict[str, Callable[[str], None]] = {
    "dvc.lock empty": _torn("dvc.lock", 0.0),
    "dvc.lock half": _torn("dvc.lock", 0.5),
    "rwlock empty": _torn("rwlock", 0.0),
    "rwlock half": _torn("rwlock", 0.5),
    "after the command, before commit": _only("dvc", _after("dvc.stage.run", "cmd_run", "after the stage's command")),
    "before dvc.lock": _only("dvc", _before("dvc.dvcfile", "ProjectFile._dump_lockfile", "before dvc.lock")),
    "cache copy": _only("dvc", _in_copy),
    "probe done": _only("train", _after("finetide.engine.probe", "fit", "after the probe")),
    "checkpoint begun": _only("train", _before("finetide.engine.checkpoint", "save_file", "checkpoint begun")),
    "checkpoint unmarked": _only("train", _after("finetide.engine.checkpoint", "save_file", "checkpoint not marked")),
    "checkpoint kept": _only("train", _after("finetide.engine.checkpoint", "Checkpoints.save", "checkpoint kept")),
    "weights written": _only("train", _after("finetide.tasks.text_classification", "save_file", "weights written")),
    "onnx written": _only("export", _after("finetide.export.onnx_file", "save", "ONNX file, no bundle yet")),
    "bundle unsealed": _only("export", _before("finetide.export.pack", "Manifest", "bundle without manifest")),
    "store filled": _only("run", _after("finetide.registry.store", "_fill", "store filled, not renamed")),
    "ledger objects": _only("run", _before("finetide.registry.ledger", "_publish", "ledger objects without a tag")),
    "ledger written": _only("run", _after("finetide.registry.ledger", "_publish", "ledger entry, alias behind")),
    "alias begun": _only("run", _before("finetide.registry.service", "write_alias", "before the alias")),
    "alias written": _only("run", _after("finetide.registry.service", "write_alias", "alias written")),
}

"""A disk that is full from some moment on, until a file is removed: what would take space fails with ENOSPC.

Loaded into the forking process. ``FT_FULL_FROM=N``: the N-th step of the run that would take space below ``FT_ROOT``,
counted over its processes in the file ``FT_FULL_COUNT``, and all after it, fail while the file ``FT_FULL`` is there.
Steps are those that Python makes (a file opened to be written, a folder, a link); git and compiled writers do not take
part, nor what writes on into a file that is open.
"""

from __future__ import annotations

import errno
import mmap
import os
import sys
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR
MAKING = ("os.mkdir", "os.link", "os.symlink")


def on_start(role: str) -> None:
    """In every process just after the fork."""
    if "FT_FULL_COUNT" not in os.environ:
        return
    wanted, flag, root = int(os.environ["FT_FULL_FROM"]), os.environ["FT_FULL"], os.environ["FT_ROOT"]
    spared = os.path.join(root, ".finetide", "prefect")
    with open(os.environ["FT_FULL_COUNT"], "r+b") as stream:
        shared = mmap.mmap(stream.fileno(), 8)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not isinstance(path, str) or not flags or not flags & WRITING:
                return
        elif event in MAKING:
            path = arguments[0] if event == "os.mkdir" else arguments[1]  # of a link its own name, not its target
        else:
            return
        if not isinstance(path, str) or not path.startswith(root) or path.startswith(spared):
            return
        if event == "open" and not flags & os.O_TRUNC and os.path.exists(path):
            return  # a lock, or a log of which the last block has room
        number = int.from_bytes(shared[:8], "little") + 1
        shared[:8] = number.to_bytes(8, "little")
        if number >= wanted and os.path.exists(flag):
            _note(f"{role}: {event} {path.replace(root, '.')}")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    sys.addaudithook(hook)


def _note(place: str) -> None:
    struck = os.environ["FT_FULL"] + ".struck"
    if not os.path.exists(struck):
        with open(struck, "w") as stream:
            stream.write(place)

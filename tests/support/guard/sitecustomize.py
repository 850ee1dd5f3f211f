"""Put on the path of every process that the tests start: a connection that leaves this machine fails, and is noted.

`FT_NETWORK_LOG` names the file of notes; a library that swallows the error does not get away with it.
A Prefect worker with `FT_FLOW_SHIM` starts that script in place of Python.
"""

import os
import sys

LOOPBACK = ("127.", "::1", "localhost", "::ffff:127.")


def leaves(address: object) -> bool:
    """Whether an address of socket.connect is off this machine. Unix sockets and numbers of other families are not."""
    host = address[0] if isinstance(address, tuple) and address else None
    return isinstance(host, str) and host not in ("", "0.0.0.0", "::") and not host.startswith(LOOPBACK)


def guard(event: str, arguments: tuple) -> None:
    if event in ("socket.connect", "socket.sendto"):
        target = arguments[1]
        refused = leaves(target)
    elif event == "socket.getaddrinfo":
        target = arguments[:2]
        host = target[0].decode(errors="replace") if isinstance(target[0], bytes) else target[0]
        refused = leaves((host,)) and host != os.uname().nodename
    else:
        return
    if refused:
        note = f"{event} {target!r} by {' '.join(sys.orig_argv)[:200]}\n"
        if log := os.environ.get("FT_NETWORK_LOG"):
            with open(log, "a", encoding="utf-8") as stream:
                stream.write(note)
        raise PermissionError(f"a test must not leave this machine: {note}")


if "FT_NETWORK_LOG" in os.environ:
    sys.addaudithook(guard)

if "FT_FLOW_SHIM" in os.environ and sys.orig_argv[1:5] == ["-m", "prefect", "worker", "start"]:
    sys.executable = os.environ["FT_FLOW_SHIM"]  # support.flow_forks: what it starts is forked

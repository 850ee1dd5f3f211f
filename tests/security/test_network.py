"""The guard over all tests works: in this process and in those that tests start."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

NAME = "finetide-guard-test.invalid"


def test_this_process_cannot_leave_the_machine() -> None:
    with pytest.raises(PermissionError, match="a test must not leave this machine"):
        socket.getaddrinfo(NAME, 80)


def test_a_child_cannot_either() -> None:
    code = f"import socket; socket.create_connection(({NAME!r}, 80), timeout=1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "a test must not leave this machine" in done.stderr


def test_loopback_is_open() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        socket.create_connection(server.getsockname(), timeout=5).close()

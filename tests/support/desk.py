"""Where notices arrive: an HTTP server on loopback that keeps what a webhook posts."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

# So long after the last expected notice no other one may come: the server sends within a second or two.
SETTLE_SECONDS = 4.0


class Desk:
    """A context manager. ``heard``: subject and body of each notice, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                heard.append((said["subject"], said["body"]))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/notices"

    def __enter__(self) -> Desk:
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def take(self, count: int, seconds: float = 180.0) -> list[tuple[str, str]]:
        """Exactly ``count`` notices, which are then forgotten; more or fewer are a failure."""
        end = time.monotonic() + seconds
        while len(self.heard) < count and time.monotonic() < end:
            time.sleep(0.2)
        time.sleep(SETTLE_SECONDS)
        found = list(self.heard)
        self.heard.clear()
        assert len(found) == count, found
        return found

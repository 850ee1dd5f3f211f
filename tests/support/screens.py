"""Pictures of the dashboard by headless Chromium, for the manual: only where FT_SCREENSHOTS names a folder."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from websockets.sync.client import connect
from websockets.sync.connection import Connection

SIZE = (1440, 1000)
PAGE_SECONDS = 60.0
SETTLE_SECONDS = 8.0
# The innermost visible one with this very text: tabs are list items here, and buttons hold a span.
CLICK = """
(() => {
  const found = [...document.querySelectorAll('body *')].filter(
    one => one.textContent.trim() === %s && one.offsetParent !== null).pop()
  if (found) found.click()
  return Boolean(found)
})()
"""


def take(url: str, name: str, *, size: tuple[int, int] = SIZE, clicks: Sequence[str] = ()) -> Path | None:
    """Writes NAME.png; None where nobody asked for pictures. Nothing but the loopback is reached.

    Args: clicks: texts of buttons or tabs, pressed in order before the picture is taken.
    Raises: AssertionError without Chromium, without such a button, or when the picture is empty.
    """
    folder = os.environ.get("FT_SCREENSHOTS")
    if not folder:
        return None
    path = Path(folder).resolve() / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ft-screens-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(_command(Path(profile), size), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with connect(_page(Path(profile)), max_size=None, compression=None) as page:
                path.write_bytes(_picture(page, url, clicks))
        finally:
            process.terminate()
            process.wait(30)
    assert path.stat().st_size > 10_000, f"{path} is empty"
    return path


def _command(profile: Path, size: tuple[int, int]) -> list[str]:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    assert browser, "FT_SCREENSHOTS is set and no Chromium is installed"
    return [
        browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        "--disable-background-networking", "--proxy-server=http://127.0.0.1:9", "--proxy-bypass-list=127.0.0.1",
        f"--user-data-dir={profile}", "--remote-debugging-port=0", f"--window-size={size[0]},{size[1]}", "about:blank",
    ]  # fmt: skip


def _page(profile: Path) -> str:
    """The address at which the browser's one page takes commands."""
    port = _until(lambda: (profile / "DevToolsActivePort").read_text().split()[0], "the browser's port")
    with urlopen(Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT"), timeout=60) as answer:
        return str(json.load(answer)["webSocketDebuggerUrl"])


def _picture(page: Connection, url: str, clicks: Sequence[str]) -> bytes:
    _ask(page, "Page.enable")
    _ask(page, "Page.navigate", url=url)
    time.sleep(SETTLE_SECONDS)
    for text in clicks:
        _until(partial(_click, page, text), f"a button {text}")
        time.sleep(SETTLE_SECONDS)
    return base64.b64decode(_ask(page, "Page.captureScreenshot", format="png")["data"])


def _click(page: Connection, text: str) -> bool:
    return bool(_ask(page, "Runtime.evaluate", expression=CLICK % json.dumps(text))["result"]["value"])


def _ask(page: Connection, method: str, **params: Any) -> Any:
    number = time.monotonic_ns() % 2**31
    page.send(json.dumps({"id": number, "method": method, "params": params}))
    while (said := json.loads(page.recv(PAGE_SECONDS))).get("id") != number:
        pass  # an event of the page
    assert "error" not in said, said["error"]
    return said["result"]


def _until(ready: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + PAGE_SECONDS
    while time.monotonic() < end:
        try:
            if found := ready():
                return found
        except (OSError, IndexError):
            pass
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {PAGE_SECONDS:.0f} s")

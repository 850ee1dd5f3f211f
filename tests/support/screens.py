"""Pictures of the dashboard by headless Chromium, for the manual: only where FT_SCREENSHOTS names a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SIZE = "1440,1000"
PAGE_MILLISECONDS = 20_000


def take(url: str, name: str, *, size: str = SIZE) -> Path | None:
    """Writes NAME.png; None where nobody asked for pictures. Nothing but the loopback is reached.

    Raises: AssertionError without Chromium, or when it wrote nothing.
    """
    folder = os.environ.get("FT_SCREENSHOTS")
    if not folder:
        return None
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    assert browser, "FT_SCREENSHOTS is set and no Chromium is installed"
    path = Path(folder).resolve() / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    options = (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking",
        "--proxy-server=http://127.0.0.1:9", "--proxy-bypass-list=127.0.0.1", f"--window-size={size}",
        f"--virtual-time-budget={PAGE_MILLISECONDS}", f"--screenshot={path}",
    )  # fmt: skip
    subprocess.run([browser, *options, url], check=True, capture_output=True, timeout=300)
    assert path.stat().st_size > 10_000, f"{path} is empty"
    return path

"""The site builds without a warning and opens from the disk, without the network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
LOADS = {"script": "src", "img": "src", "source": "src", "iframe": "src", "video": "src", "audio": "src"}
OF_LINK = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload", "manifest"}


class Loaded(HTMLParser):
    """What a browser would fetch for a page; where a reader may go by a click is not among it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in LOADS:
            self.found.append(values.get(LOADS[tag]) or "")
        if tag == "link" and OF_LINK & set((values.get("rel") or "").split()):
            self.found.append(values.get("href") or "")
        self.found += re.findall(r"url\(([^)]+)\)", values.get("style") or "")


def loaded(page: str) -> list[str]:
    parser = Loaded()
    parser.feed(page)
    return parser.found


def is_remote(address: str) -> bool:
    return re.match(r"\s*[\"']?(https?:)?//", address) is not None


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        remote = [address for address in loaded(page.read_text(encoding="utf-8")) if is_remote(address)]
        assert not remote, f"{page.relative_to(site)}: {remote}"


def test_styles_load_nothing_from_elsewhere(site: Path) -> None:
    for style in site.rglob("*.css"):
        found = re.findall(r"(?:url\(|@import\s+)([^);]+)", style.read_text(encoding="utf-8"))
        remote = [address for address in found if is_remote(address)]
        assert not remote, f"{style.relative_to(site)}: {remote}"


def test_what_a_page_loads_is_there(site: Path) -> None:
    for page in site.rglob("*.html"):
        for address in loaded(page.read_text(encoding="utf-8")):
            if page.name != "404.html" and not address.startswith("data:"):  # 404.html is for a server
                assert (page.parent / address.partition("?")[0]).exists(), f"{page.relative_to(site)}: {address}"


def test_a_remote_script_is_found() -> None:
    """The check itself, on cases that must fail."""
    page = '<script src="https://a.b/c.js"></script><link rel="stylesheet" href="//a.b/c.css"><a href="https://a.b">'
    assert [is_remote(address) for address in loaded(page)] == [True, True]
    assert not is_remote("../assets/x.css")


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_search_works_from_the_disk(site: Path, tmp_path: Path) -> None:
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}",
        "--virtual-time-budget=20000", "--dump-dom", f"{(site / 'index.html').as_uri()}?q=rollback",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=180)
    results = re.search(r'<ol class="md-search-result__list".*?</ol>', done.stdout, flags=re.DOTALL)
    assert results
    assert "how-to/roll-back.html" in results[0]

"""The picture of the documentation: its front page, as `make docs` builds it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from playwright.sync_api import Browser, Playwright

from scripts.screenshot_kit import ROOT, desk, take

PICTURES: Final = ("docs.png",)


def take_all(playwright: Playwright, chromium: Path, browser: Browser) -> None:
    """Build the pages, the other pictures in them, and take the picture."""
    with TemporaryDirectory() as built:
        command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "docs", built]
        subprocess.run(command, cwd=ROOT, check=True)
        context = browser.new_context(**desk(1280, 860))
        page = context.new_page()
        page.goto((Path(built) / "index.html").as_uri())
        page.wait_for_timeout(300)
        take(page, "docs.png")
        context.close()

"""Take the pictures that README and the documentation use: `make screenshots`.

`python -m scripts.screenshot chat observer` takes those of these subjects only. Each starts what is
to be seen on a free port, has something happen in it, in a real browser, and ends all of it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from playwright.sync_api import Browser, Playwright, sync_playwright

from scripts import screenshot_chat, screenshot_dashboard, screenshot_docs, screenshot_observer
from tests.conftest import PARTS, find_chromium
from tests.e2e.browser import open_browser

Taker: TypeAlias = Callable[[Playwright, Path, Browser], None]


class Subject(NamedTuple):
    """Something to take pictures of."""

    take_all: Taker
    pictures: Sequence[str]


SUBJECTS: Final = {
    "chat": Subject(screenshot_chat.take_all, screenshot_chat.PICTURES),
    "observer": Subject(screenshot_observer.take_all, screenshot_observer.PICTURES),
    "dashboard": Subject(screenshot_dashboard.take_all, screenshot_dashboard.PICTURES),
    # The last, because it shows some of the others.
    "docs": Subject(screenshot_docs.take_all, screenshot_docs.PICTURES),
}


def main(chosen: Sequence[str]) -> None:
    """Take the pictures of these subjects, of all of them if none is chosen."""
    chromium = find_chromium()
    if chromium is None:
        sys.exit(f"no Chromium was found: {PARTS['chromium'].install}")
    with sync_playwright() as playwright:
        for name, subject in SUBJECTS.items():
            if name in chosen or not chosen:
                with open_browser(playwright, chromium) as browser:
                    subject.take_all(playwright, chromium, browser)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m scripts.screenshot", description=__doc__)
    parser.add_argument("subjects", nargs="*", choices=[[], *SUBJECTS], metavar="SUBJECT")
    main(parser.parse_args().subjects)

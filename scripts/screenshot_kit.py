"""What the scripts that take pictures share: who looks, how large, and where the picture goes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from playwright.sync_api import Page

ROOT: Final = Path(__file__).parents[1]
IMAGES: Final = ROOT / "docs" / "images"

LARGEST: Final = 300_000
"""Bytes: a page with three pictures is read on a phone too."""

Scheme: TypeAlias = Literal["light", "dark"]

PHONE: Final[dict[str, Any]] = {
    "viewport": {"width": 390, "height": 844},
    "color_scheme": "dark",
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}


def desk(width: int, height: int) -> dict[str, Any]:
    """Return the options of a browser window of this size, in light."""
    return {"viewport": {"width": width, "height": height}, "color_scheme": "light"}


def take(page: Page, name: str, *, scheme: Scheme | None = None) -> None:
    """Take the picture of a page, as it stands; `scheme` has it be light or dark for that.

    Exits if the file is too large.
    """
    if scheme is not None:
        page.emulate_media(color_scheme=scheme)
    page.mouse.move(0, 0)
    IMAGES.mkdir(parents=True, exist_ok=True)
    path = IMAGES / name
    page.screenshot(path=path, caret="hide")
    size = path.stat().st_size
    print(f"docs/images/{name}: {size // 1000} kB", flush=True)
    if size > LARGEST:
        sys.exit(f"{name} is larger than {LARGEST // 1000} kB")

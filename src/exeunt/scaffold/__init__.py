"""New projects: `python -m exeunt new NAME` writes one that runs, and has its tests.

The project is what stands in `template`, which runs as it is, with the name put in.
"""

from __future__ import annotations

import keyword
import sys
from pathlib import Path

_TEMPLATE = Path(__file__).parent / "template"

# What the template is called, where the name is to be.
_PLACE = "my_app"

# Names of files that would mean something where the template stands.
_RENAMED = {"gitignore": ".gitignore"}


class CannotCreate(Exception):
    """The project cannot be written; the message says why, and what can be done."""


def create(name: str, where: Path) -> list[Path]:
    """Write a new project into the directory `where / name`; return its files.

    Raises `CannotCreate` if the name will not do for a package, or the directory is there already;
    nothing is written then.
    """
    _check(name)
    top = where / name
    if top.exists():
        raise CannotCreate(f"{top} is there already: choose another name, or move it away")
    files: list[Path] = []
    try:
        for source in sorted(_TEMPLATE.rglob("*")):
            if not source.is_file() or "__pycache__" in source.parts:
                continue
            parts = [_RENAMED.get(part, part) for part in source.relative_to(_TEMPLATE).parts]
            target = top.joinpath(*(name if part == _PLACE else part for part in parts))
            target.parent.mkdir(parents=True, exist_ok=True)
            text = source.read_text(encoding="utf-8").replace(_PLACE, name)
            target.write_text(text, encoding="utf-8")
            files.append(target)
    except OSError as error:
        raise CannotCreate(f"{top} cannot be written: {error}") from error
    return files


def _check(name: str) -> None:
    if not (name.isidentifier() and name.isascii() and name.islower()):
        raise CannotCreate(
            f"{name!r} is no name for a package: small letters, digits and _, a letter first"
        )
    if keyword.iskeyword(name):
        raise CannotCreate(f"{name!r} is a word of Python's own: choose another name")
    if name in sys.stdlib_module_names or name in ("exeunt", "tests", "trio"):
        raise CannotCreate(f"a package called {name!r} would hide another one: choose another name")


__all__ = ["CannotCreate", "create"]

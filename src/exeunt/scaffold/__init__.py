"""New projects: `python -m exeunt new NAME` writes one that runs, and has its tests.

The project is what stands in `template`, which runs as it is, with the name put in; and phoenix.js
for its page, of which the observer has a copy.
"""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_TEMPLATE = Path(__file__).parent / "template"
_VENDOR = Path(__file__).parents[1] / "observer" / "static" / "vendor"

# What the template is called, where the name is to be.
_PLACE = "my_app"

# Names of files that would mean something where the template stands.
_RENAMED = {"gitignore": ".gitignore"}

LONGEST_NAME: Final = 60
"""Characters of the longest name: it is that of directories too."""

# What the project needs, whether it is installed here or not, and what its files would stand for.
_TAKEN = frozenset({"conftest", "exeunt", "pip", "pytest", "pytest_trio", "rich", "tests", "trio"})


class CannotCreate(Exception):
    """The project cannot be written; the message says why, and what can be done."""


def create(name: str, where: Path) -> list[Path]:
    """Write a new project into the directory `where / name`; return its files.

    Raises `CannotCreate` if the name will not do for a package, or the directory is there already,
    or cannot be written. Whatever was written by then is taken away again.
    """
    _check(name)
    top = where / name
    if os.path.lexists(top):
        raise CannotCreate(f"{top} is there already: choose another name, or move it away")
    try:
        top.mkdir(parents=True)
        try:
            return list(_write(name, top))
        except BaseException:
            shutil.rmtree(top, ignore_errors=True)
            raise
    except OSError as error:
        raise CannotCreate(f"{top} cannot be written: {error}") from error


def _write(name: str, top: Path) -> Iterator[Path]:
    for source in _files(_TEMPLATE):
        parts = [_RENAMED.get(part, part) for part in source.relative_to(_TEMPLATE).parts]
        target = top.joinpath(*(name if part == _PLACE else part for part in parts))
        target.parent.mkdir(parents=True, exist_ok=True)
        text = source.read_text(encoding="utf-8").replace(_PLACE, name)
        target.write_text(text, encoding="utf-8")
        yield target
    for source in _files(_VENDOR):
        target = top / name / "static" / "vendor" / source.relative_to(_VENDOR)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        yield target


def _files(top: Path) -> list[Path]:
    found = (one for one in sorted(top.rglob("*")) if one.is_file())
    return [one for one in found if "__pycache__" not in one.parts]


def _check(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise CannotCreate(
            f"{name!r} is no name for a package: small letters, digits and _, a letter first"
        )
    if len(name) > LONGEST_NAME:
        raise CannotCreate(f"the name has {len(name)} characters; {LONGEST_NAME} are the most")
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise CannotCreate(f"{name!r} is a word of Python's own: choose another name")
    if name in sys.stdlib_module_names or name in _TAKEN or _is_installed(name):
        raise CannotCreate(f"a package called {name!r} would hide another one: choose another name")


def _is_installed(name: str) -> bool:
    """Tell whether a module of that name is here; a mere directory is none."""
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return found is not None and found.origin is not None


__all__ = ["CannotCreate", "create"]

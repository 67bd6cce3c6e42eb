"""Write the reference page of public names: what can be imported from where, and what it is.

`python -m scripts.name_tables DIRECTORY` writes `names.md` there. A user imports `send` from
`exeunt`; its documentation stands under the module that defines it. This page leads from the one to
the other.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final

import exeunt

SOURCE: Final = Path(exeunt.__file__).parent

PACKAGES: Final = (
    "exeunt",
    "exeunt.channels",
    "exeunt.channels.client",
    "exeunt.testing",
    "exeunt.observer",
)
"""From these, users import; what they have in `__all__` is public."""


@dataclass(frozen=True, slots=True)
class PublicName:
    """A name to import, where it is defined, and what it is."""

    package: str
    name: str
    home: str
    value: object

    @property
    def target(self) -> str:
        """What the reference knows it by."""
        return f"{self.home}.{self.name}"

    @property
    def summary(self) -> str:
        """The first sentence of its documentation."""
        first = " ".join(documentation(self).partition("\n\n")[0].split())
        return re.split(r"(?<=\.)\s", first, maxsplit=1)[0]


def public_names() -> Iterator[PublicName]:
    """Yield all public names, package by package, as they are listed there."""
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in sorted(module.__all__, key=str.lower):
            value = getattr(module, name)
            yield PublicName(package, name, home_of(name, value), value)


def home_of(name: str, value: object) -> str:
    """Return the module that defines a public name."""
    for module, tree in _modules():
        if module.__dict__.get(name) is value and name in _defined(tree):
            return module.__name__
    raise LookupError(f"no module defines {name!r}")


def documentation(public: PublicName) -> str:
    """Return the docstring of a name, also of a constant or of an alias of a type."""
    for module, tree in _modules():
        if module.__name__ == public.home and public.name not in _functions_and_classes(tree):
            return _text_below(tree, public.name)
    return inspect.getdoc(public.value) or ""


@cache
def _modules() -> tuple[tuple[ModuleType, ast.Module], ...]:
    found = []
    for one in pkgutil.walk_packages([str(SOURCE)], "exeunt."):
        if "__main__" in one.name or ".template" in one.name:
            continue
        module = importlib.import_module(one.name)
        assert module.__file__ is not None
        found.append((module, ast.parse(Path(module.__file__).read_text(encoding="utf-8"))))
    return tuple(found)


def _defined(tree: ast.Module) -> set[str]:
    return _functions_and_classes(tree) | {
        name for name in map(_assigned, _statements(tree)) if name
    }


def _functions_and_classes(tree: ast.Module) -> set[str]:
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in _statements(tree) if isinstance(node, kinds)}


def _assigned(node: ast.stmt) -> str:
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
        case _:
            return ""


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    for node in tree.body:
        if isinstance(node, ast.If):
            yield from (*node.body, *node.orelse)
        else:
            yield node


def _text_below(tree: ast.Module, name: str) -> str:
    """Return the string that stands below an assignment: its docstring, as Sphinx has it."""
    before = ""
    for node in _statements(tree):
        match node:
            case ast.Expr(ast.Constant(value=str(text))) if before == name:
                return inspect.cleandoc(text)
            case _:
                before = _assigned(node)
    return ""


OPENING: Final = """\
# Public names

Everything that can be imported, from where, and in one sentence what it is. The name leads to its
documentation, which stands under the module that defines it. What is not listed here is not
public: it may change at any time, even where it has a page.
"""


def page() -> str:
    """Return the page."""
    lines = [OPENING.rstrip("\n")]
    package = ""
    for one in public_names():
        if one.package != package:
            package = one.package
            lines += ["", f"## from {package}", "", "| name | |", "| --- | --- |"]
        summary = one.summary.replace("|", "\\|")
        lines.append(f"| {{py:obj}}`{one.name} <{one.target}>` | {summary} |")
    return "\n".join(lines) + "\n"


def main(directory: Path) -> None:
    """Write the page."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "names.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

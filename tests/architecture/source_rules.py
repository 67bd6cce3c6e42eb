"""Rules that the source of exeunt keeps, and the checker that reads them out of a module's text.

The three rooms are worth their walls only as long as nobody reaches through one. A linter knows
nothing of these rooms, so the rules stand here as tables, and `violations` says which of them a
module breaks. It works on text, so that the tests can also show it a module that is wrong.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

PACKAGE = "exeunt"

# Room -> the rooms that it may import from, besides itself. "" is the package's own face,
# exeunt/__init__.py: no room may go through it, and it must not load the web part.
ROOMS: Mapping[str, frozenset[str]] = {
    "": frozenset({"kernel", "otp"}),
    "kernel": frozenset(),
    "otp": frozenset({"kernel"}),
    "channels": frozenset({"kernel", "otp"}),
    "observer": frozenset({"kernel", "otp", "channels"}),
    "testing": frozenset({"kernel", "otp", "channels", "observer"}),
    # The command line, and the projects that it begins.
    "__main__": frozenset({"scaffold"}),
    "scaffold": frozenset(),
}

# What a user of processes alone does not pay for.
WEB_DEPENDENCIES = frozenset({"trio_websocket", "wsproto", "h11", "itsdangerous", "msgspec"})
ROOMS_WITHOUT_WEB = frozenset({"", "kernel", "otp"})

# The only module that touches private names of trio.
TRIO_SEAM = "exeunt.kernel.trio_seam"

# Modules that hold rules as plain data and functions. Neither they nor what they import at run time
# may import any of IMPURE_IMPORTS; they themselves also do without IMPURE_CALLS and `async`.
PURE_MODULES = frozenset(
    {
        "exeunt.channels.client.errors",
        "exeunt.channels.client.frames",
        "exeunt.channels.client.presence",
        "exeunt.channels.client.retry",
        "exeunt.channels.paths",
        "exeunt.channels.presence_state",
        "exeunt.channels.wire",
        "exeunt.kernel.signals",
        "exeunt.otp.backoff",
        "exeunt.otp.strategy",
    }
)
EVENT_LOOPS = frozenset({"trio", "trio_websocket", "outcome", "anyio", "asyncio"})
IMPURE_IMPORTS = EVENT_LOOPS | frozenset(
    {"io", "multiprocessing", "os", "pathlib", "random", "select", "selectors", "shutil", "signal"}
    | {"socket", "ssl", "subprocess", "tempfile", "threading", "time", "urllib", "uuid"}
)
IMPURE_CALLS = frozenset({"input", "open", "print"})


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module or name: `target` is absolute, `line` is where it stands."""

    target: str
    line: int
    is_typing_only: bool

    def is_from(self, *packages: str) -> bool:
        return any(self.target == name or self.target.startswith(name + ".") for name in packages)


@dataclass(frozen=True, slots=True)
class Module:
    """A module's dotted name, its parsed text, and whether it is a package's __init__."""

    name: str
    tree: ast.Module
    is_package: bool = False

    @classmethod
    def parse(cls, name: str, source: str, *, is_package: bool = False) -> Module:
        return cls(name, ast.parse(source), is_package)

    @property
    def room(self) -> str:
        """The room this module is in: "" for the package's own __init__."""
        return self.name.partition(".")[2].partition(".")[0]


def imports_of(module: Module) -> Iterator[Import]:
    """Yield all that a module imports, wherever in it: in functions, for typing, by a string.

    `from a import b` counts as an import of `a.b`, which may be a module or a name in `a`.
    """
    yield from _imports_below(module, module.tree, is_typing_only=False)


def _imports_below(module: Module, node: ast.AST, *, is_typing_only: bool) -> Iterator[Import]:
    match node:
        case ast.Import(names=names):
            for alias in names:
                yield Import(alias.name, node.lineno, is_typing_only)
        case ast.ImportFrom(names=names):
            source = _absolute(module, node.module or "", node.level)
            for alias in names:
                target = source if alias.name == "*" else f"{source}.{alias.name}"
                yield Import(target, node.lineno, is_typing_only)
        case ast.Call(
            func=ast.Name("__import__" | "import_module") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(value=str(target)), *_],
        ):
            level = len(target) - len(target.lstrip("."))
            absolute = _absolute(module, target[level:], level)
            yield Import(absolute, node.lineno, is_typing_only)
        case ast.If(test=ast.Name("TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
            for statement in node.body:
                yield from _imports_below(module, statement, is_typing_only=True)
            for statement in node.orelse:
                yield from _imports_below(module, statement, is_typing_only=is_typing_only)
            return
        case _:
            pass
    for child in ast.iter_child_nodes(node):
        yield from _imports_below(module, child, is_typing_only=is_typing_only)


def _absolute(module: Module, target: str, level: int) -> str:
    if level == 0:
        return target
    parts = module.name.split(".")
    package = parts[: len(parts) - level + (1 if module.is_package else 0)]
    return ".".join([*package, target] if target else package)


def violations(module: Module, others: Mapping[str, Module] | None = None) -> list[str]:
    """Return every rule that a module breaks, one "module:line: what" each.

    `others` are the modules of the package by name; through them the imports of a module that must
    be pure are followed. Without them only the module's own imports are looked at.
    """
    found = [*_direction(module), *_purity(module, others or {})]
    if module.name != TRIO_SEAM:
        found += _private_names_of_trio(module)
    return [f"{module.name}:{line}: {what}" for line, what in sorted(found)]


def _direction(module: Module) -> Iterator[tuple[int, str]]:
    if module.room not in ROOMS:
        yield 1, f"is in no room that ROOMS knows: {', '.join(filter(None, ROOMS))}"
        return
    allowed = ROOMS[module.room] | {module.room}
    for an_import in imports_of(module):
        if an_import.is_from(PACKAGE):
            room = an_import.target.partition(".")[2].partition(".")[0]
            if room not in ROOMS:
                # A name such as exeunt.GenServer: it comes from the package's own face.
                room = ""
            if room not in allowed:
                place = room or "the package's own face"
                yield an_import.line, f"{module.room or PACKAGE} must not import from {place}"
        elif module.room in ROOMS_WITHOUT_WEB and an_import.is_from(*WEB_DEPENDENCIES):
            yield an_import.line, f"imports {an_import.target}, which is for channels alone"


def _private_names_of_trio(module: Module) -> Iterator[tuple[int, str]]:
    bound: set[str] = set()  # the names that stand for trio, or for a thing out of it
    for node in ast.walk(module.tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    if alias.name.partition(".")[0] == "trio":
                        bound.add(alias.asname or "trio")
            case ast.ImportFrom(module=str(source), names=names, level=0):
                if source.partition(".")[0] == "trio":
                    bound.update(alias.asname or alias.name for alias in names)
            case _:
                pass
    for an_import in imports_of(module):
        if an_import.is_from("trio") and any(map(_is_private, an_import.target.split("."))):
            yield an_import.line, f"imports the private name {an_import.target}"
    for node in ast.walk(module.tree):
        match node:
            case ast.Attribute(attr=attr, value=value) if _is_private(attr):
                while isinstance(value, ast.Attribute):
                    value = value.value
                if isinstance(value, ast.Name) and value.id in bound:
                    yield node.lineno, f"touches the private name {ast.unparse(node)} of trio"
            case ast.Call(
                func=ast.Name("getattr" | "setattr" | "hasattr" | "delattr"),
                args=[ast.Name(name), ast.Constant(value=str(attr)), *_],
            ) if name in bound and _is_private(attr):
                yield node.lineno, f"touches the private name {name}.{attr} of trio"
            case _:
                pass


def _is_private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def _purity(module: Module, others: Mapping[str, Module]) -> Iterator[tuple[int, str]]:
    if module.name not in PURE_MODULES:
        return
    for an_import in imports_of(module):
        if an_import.is_from(*IMPURE_IMPORTS):
            yield an_import.line, f"imports {an_import.target}, but is to be plain data"
        elif not an_import.is_typing_only:
            for way in _ways_to_impurity(an_import.target, others, set()):
                yield an_import.line, f"is to be plain data, but imports {' -> '.join(way)}"
    for node in ast.walk(module.tree):
        match node:
            case ast.Call(func=ast.Name(name)) if name in IMPURE_CALLS:
                yield node.lineno, f"calls {name}(), but is to be plain data"
            case ast.AsyncFunctionDef() | ast.AsyncWith() | ast.AsyncFor() | ast.Await():
                yield node.lineno, "is asynchronous, but is to be plain data"
            case _:
                pass


def _ways_to_impurity(
    target: str, others: Mapping[str, Module], seen: set[str]
) -> Iterator[list[str]]:
    module = others.get(target) or others.get(target.rpartition(".")[0])
    if module is None or module.name in seen or module.name == PACKAGE:
        return
    seen.add(module.name)
    for an_import in imports_of(module):
        if an_import.is_typing_only:
            continue
        if an_import.is_from(*EVENT_LOOPS):
            yield [module.name, an_import.target]
        for way in _ways_to_impurity(an_import.target, others, seen):
            yield [module.name, *way]

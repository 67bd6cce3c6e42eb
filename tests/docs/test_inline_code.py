"""A call that a page writes in passing, `name(…, key=…)`, takes what it is given.

Listings are run; the code between two backticks is not. So what it calls is looked up among the
public names, and its arguments are held against the signature: `…` stands for any that are missing.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from exeunt import ChildSpec, GenServer, Registry
from scripts.name_tables import public_names

ROOT: Final = Path(__file__).parents[2]

PAGES: Final = {
    str(path.relative_to(ROOT)): path
    for path in (
        *sorted((ROOT / "docs").rglob("*.md")),
        ROOT / "README.md",
        ROOT / "examples" / "README.md",
    )
    if "_build" not in path.parts
}

OF_OTHERS: Final = {"emit", "future.get"}
"""What is called in the libraries that pages tell how to move from."""

PUBLIC: Final[dict[str, list[Any]]] = {}
for _one in public_names():
    if _one.value not in PUBLIC.setdefault(_one.name, []):
        PUBLIC[_one.name].append(_one.value)

STARTING: Final = {"child", "start", "start_link"}
"""What hands its arguments on to the `init` of a server."""


def spans(text: str) -> Iterator[str]:
    """Find the code between two backticks that has a call with an argument by name."""
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose):
        if "\n\n" not in span and re.search(r"\w\([^()]*.*?\b\w+=[^=]", span, re.DOTALL):
            yield " ".join(span.split())


def parsed(span: str) -> ast.AST:
    """Read a span as Python; raise SyntaxError if it is none."""
    code = span.replace("…", "...")
    if code.startswith("."):
        code = f"spec{code}"
    for form in (code, f"{code}: ..."):
        try:
            return ast.parse(form)
        except SyntaxError:
            pass
    # A message with a call in it: from that on, it is code.
    return ast.parse(re.sub(r"^.*?([\w.]+\()", r"\1", code))


def calls(tree: ast.AST) -> Iterator[tuple[ast.expr, list[ast.expr], list[ast.keyword]]]:
    """Find what is called, and with what; a class that is defined is called by its base."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node.func, node.args, node.keywords
        elif isinstance(node, ast.ClassDef) and node.keywords:
            [base] = node.bases
            yield ast.Attribute(base, "__init_subclass__", ast.Load()), [], node.keywords


def candidates(called: ast.expr) -> list[Callable[..., Any]]:
    """Return what may be meant: the public names of that spelling, or their methods."""
    match called:
        case ast.Name(id=name):
            found = PUBLIC.get(name, [])
            if not found and hasattr(trio, name):
                found = [getattr(trio, name)]
            return [_made_by(one) for one in found]
        case ast.Attribute(value=ast.Name(id="trio"), attr=name):
            return [getattr(trio, name)]
        case ast.Attribute(value=ast.Attribute(value=ast.Name(id="trio"), attr=module), attr=name):
            return [getattr(getattr(trio, module), name)]
        case ast.Attribute(attr="replace"):
            return [_replace]
        case ast.Attribute(
            value=ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="named")), attr=method
        ):
            return [_method(one, method) for one in PUBLIC.get(name, [])]
        case ast.Attribute(value=ast.Name(id=name), attr="__init_subclass__"):
            return [_options(one) for one in PUBLIC.get(name, [])]
        case ast.Attribute(value=ast.Name(id=name), attr=method) if name in PUBLIC:
            return [_method(one, method) for one in PUBLIC[name]]
        case ast.Attribute(value=ast.Name(id="ROOMS"), attr=method):
            # In the pages that is a registry.
            return [_bound(getattr(Registry, method))]
        case _:
            return []


def _bound(function: Callable[..., Any]) -> Callable[..., Any]:
    def taking(*args: Any, **kwargs: Any) -> None: ...

    signature = inspect.signature(function)
    taking.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=list(signature.parameters.values())[1:]
    )
    return taking


def _made_by(value: Any) -> Callable[..., Any]:
    """Return what takes the arguments of a call: of a server it is `init`."""
    if inspect.isclass(value) and issubclass(value, GenServer):
        return _bound(value.init)
    called: Callable[..., Any] = value
    return called


def _method(owner: Any, name: str) -> Callable[..., Any]:
    given = inspect.getattr_static(owner, name)
    if inspect.isclass(owner) and issubclass(owner, GenServer) and name in STARTING:
        own = getattr(owner, name)
        takes_anything = any(
            one.kind is one.VAR_KEYWORD for one in inspect.signature(own).parameters.values()
        )
        return _bound(owner.init) if takes_anything else own
    found: Callable[..., Any] = getattr(owner, name)
    return _bound(found) if inspect.isfunction(given) and inspect.isclass(owner) else found


def _options(kind: type) -> Callable[..., Any]:
    """Return what takes the options of a class: those that are named, and not any that come."""

    def taking(**options: Any) -> None: ...

    found = inspect.signature(kind.__init_subclass__).parameters.values()
    taking.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [one for one in found if one.kind is one.KEYWORD_ONLY]
    )
    return taking


def _replace(**changes: Any) -> None: ...


_replace.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
        for name in inspect.signature(ChildSpec).parameters
    ]
)


def problems(span: str) -> list[str]:
    """Return what is wrong with the calls in a span."""
    found: list[str] = []
    for called, args, keywords in calls(parsed(span)):
        if not keywords:
            continue
        shown = ast.unparse(called)
        if shown in OF_OTHERS:
            continue
        meant = candidates(called)
        if not meant:
            found.append(f"{shown} is nothing that is known")
            continue
        given = [one for one in args if not _is_ellipsis(one)]
        is_partial = len(given) < len(args)
        names = {one.arg: None for one in keywords if one.arg is not None}
        errors: list[str] = []
        for one in meant:
            try:
                inspect.signature(one).bind_partial(*(() if is_partial else given), **names)
            except TypeError as error:
                errors.append(str(error))
        if len(errors) == len(meant):
            found.append(f"{shown}: {errors[0]}")
    return found


def _is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


SPANS: Final = sorted(
    {(name, span) for name, path in PAGES.items() for span in spans(path.read_text("utf-8"))}
)


@pytest.mark.parametrize(("page", "span"), SPANS)
def test_a_call_in_passing_takes_what_it_is_given(page: str, span: str) -> None:
    assert problems(span) == []


def test_the_pages_have_such_calls() -> None:
    assert len({span for page, span in SPANS if "generated" not in page}) >= 30


@pytest.mark.parametrize(
    "wrong",
    [
        'child(import_orders, restart="transient")',
        "Mount(…, time_out=3)",
        "Watcher.child(fiel=1)",
        'Watcher.named("watcher").child(fiel="chat.roll")',
        "Supervisor(restarts=…)",
        "open_node(kill_grave=…)",
        "demonitor(ref, True, flush=True)",
        "Task.shutdown(budge=…)",
        ".replace(restarts=1)",
        "Endpoint.child(…, limits=Limits(body=…))",
        "class Log(GenServer, mail_box=Bound(1000))",
        "trio.to_thread.run_sync(shrink, abandon=True)",
        "nobody_knows(this=1)",
    ],
)
def test_a_wrong_call_is_seen(wrong: str) -> None:
    assert list(spans(f"Say `{wrong}` there.")) == [wrong]
    assert problems(wrong)

"""What a payload may hold: decided here, once, before anything is encoded.

msgspec encodes more than JSON has: a date becomes a string, a set a list, `NaN` a null, and the
receiver never learns that it got something else than what was sent. So a payload is checked
first. The check of a payload of builtins is short and costs about as much as msgspec's encoding;
only when it fails is the payload walked again, slowly, either to find it good after all
(dataclasses, structs, subclasses) or to name the path to the culprit.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
from math import isfinite
from typing import TypeAlias, cast

import msgspec

from exeunt.channels.errors import PayloadError

__all__ = ["JSON", "check_object", "check_value", "explain", "to_builtin"]

JSON: TypeAlias = "dict[str, JSON] | list[JSON] | tuple[JSON, ...] | str | int | float | None"
"""A JSON value: what a payload consists of (`bool` is an `int`)."""

_LEAVES = frozenset({str, int, bool, type(None)})
_are_leaves = _LEAVES.issuperset


def check_object(payload: object, name: str) -> None:
    """Check the payload of a push or a broadcast: a JSON object, whose values are JSON.

    An object is a dict with string keys (so a TypedDict too), a dataclass instance or a
    `msgspec.Struct` that is not array-like. Raises `PayloadError`, a `TypeError`, that names the
    path to what is wrong, beginning with `name`.
    """
    if not _is_object(payload):
        raise PayloadError(
            f"{name} must be a JSON object: a dict with string keys, a dataclass or a msgspec "
            f"Struct, got {_describe(payload)}; wrap it, as in {{'value': ...}}"
        )
    check_value(payload, name)


def check_value(value: object, name: str) -> None:
    """Check that `value` is JSON: str, int, finite float, bool, None, and lists, tuples, objects.

    Raises `PayloadError` as `check_object` does. Lone surrogates are not found here, but when the
    value is encoded.
    """
    try:
        if not _is_plain(value):
            explain(value, name)
    except RecursionError:
        raise PayloadError(f"{name} is nested too deeply, or contains itself") from None


def explain(value: object, path: str) -> None:
    """Walk `value` and raise `PayloadError` for the first thing in it that is not JSON, if any."""
    try:
        _explain(value, path)
    except RecursionError:
        raise PayloadError(f"{path} is nested too deeply, or contains itself") from None


def to_builtin(value: object) -> object:
    """Return `value`, an instance of a subclass of str, int or float, as that builtin itself.

    msgspec calls this for every type that it does not know. Raises `PayloadError` for others.
    """
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    raise PayloadError(f"{_describe(value)} is not JSON")


def _is_plain(value: object) -> bool:
    kind = type(value)
    if kind is dict:
        for key, item in cast("dict[object, object]", value).items():
            if type(key) is not str:
                return False
            if type(item) not in _LEAVES and not _is_plain(item):
                return False
        return True
    if kind is list or kind is tuple:
        items = cast("list[object]", value)
        if _are_leaves(map(type, items)):
            return True
        # No generator: that would take half of the depth that there is.
        for item in items:
            if type(item) in _LEAVES:
                continue
            if not _is_plain(item):
                return False
        return True
    if kind is float:
        return isfinite(cast(float, value))
    return kind in _LEAVES


def _explain(value: object, path: str) -> None:
    if isinstance(value, enum.Enum):
        if not isinstance(value, (str, int)):
            raise PayloadError(f"{path} is {_describe(value)}, which is not JSON: send its value")
        _explain(value.value, path)
    elif isinstance(value, str):
        _explain_text(value, path)
    elif value is None or isinstance(value, int):
        pass
    elif isinstance(value, float):
        if not isfinite(value):
            raise PayloadError(f"{path} is {value!r}, which JSON does not have: send None")
    elif isinstance(value, dict):
        for key, item in cast("dict[object, object]", value).items():
            if not isinstance(key, str):
                raise PayloadError(
                    f"{path} has the key {key!r} ({type(key).__name__}): keys must be strings"
                )
            _explain_text(key, f"a key of {path}")
            _explain(item, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(cast("list[object]", value)):
            _explain(item, f"{path}[{index}]")
    elif isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            item = getattr(value, field)
            if item is not msgspec.UNSET:
                _explain(item, f"{path}.{field}")
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for attribute in dataclasses.fields(value):
            _explain(getattr(value, attribute.name), f"{path}.{attribute.name}")
    else:
        raise PayloadError(f"{path} is {_describe(value)}, which is not JSON{_advice(value)}")


def _explain_text(value: str, path: str) -> None:
    try:
        str.encode(value)
    except UnicodeEncodeError:
        raise PayloadError(f"{path} holds a lone surrogate, which UTF-8 does not have") from None


def _is_object(value: object) -> bool:
    if type(value) is dict:
        return True
    if isinstance(value, msgspec.Struct):
        return not value.__struct_config__.array_like
    return isinstance(value, dict) or (
        dataclasses.is_dataclass(value) and not isinstance(value, type)
    )


def _describe(value: object) -> str:
    return f"{value!r:.60} ({type(value).__name__})"


def _advice(value: object) -> str:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return ": send Binary(...) as the whole payload, or base64"
    if isinstance(value, (set, frozenset)):
        return ": send a sorted list"
    if inspect.iscoroutine(value):
        value.close()
        return ": is an `await` missing?"
    if hasattr(value, "isoformat"):
        return ": send its isoformat()"
    return ": send strings, numbers, lists and dicts"

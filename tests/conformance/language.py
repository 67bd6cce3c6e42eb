"""What the language of the scenarios has: which operations, and which fields each of them may have.

An executor looks at the fields it knows. One that it does not know would go unnoticed, and the
scenario be taken for another; so a scenario is read through once before it is run.
"""

from __future__ import annotations

from typing import Any, Final

from tests.conformance.terms import ScenarioError
from tests.conformance.traces import Json

_SIGNALS: Final = {
    "spawn": "by as how ref",
    "link": "by to",
    "unlink": "by to",
    "monitor": "by to ref",
    "demonitor": "by ref flush",
    "trap": "by on",
    "exit_signal": "by to reason",
    "exit": "by reason",
    "raise": "by kind",
    "return": "by",
    "send": "by to msg",
    "register": "by name pid",
    "unregister": "by name",
    "whereis": "name",
    "alive": "pid",
    "recv": "by match",
    "send_after": "by to msg ms ref",
    "cancel_timer": "by ref",
    "batch": "by ops",
}

# Every operation of this family may have a label, too.
_GENSERVER: Final = {
    "start": "by link name timeout spec",
    "call": "by to do timeout uncaught",
    "cast": "by to do",
    "info": "by to do msg",
    "reply": "to value",
    "stop": "by to reason timeout",
    "signal": "by to reason",
    "suspend": "by to",
    "resume": "by to",
    "get_state": "by to",
    "replace_state": "by to value",
    "burst": "to msgs",
    **{
        op: _SIGNALS[op] for op in ("exit", "trap", "link", "unlink", "monitor", "whereis", "alive")
    },
}

_SUPERVISOR: Final = {
    "start": "",
    "exit_child": "child reason",
    "raise_child": "child kind",
    "signal": "to reason from",
    "terminate_child": "sup child",
    "restart_child": "sup child",
    "delete_child": "sup child",
    "start_child": "sup spec",
    "which_children": "sup",
    "count_children": "sup",
    "stop": "sup reason",
    "wait": "ms",
}

_OPERATIONS: Final = {
    "genserver": {op: f"as {fields}" for op, fields in _GENSERVER.items()},
    "signals": _SIGNALS,
    "supervisor": _SUPERVISOR,
}

_SCRIPT: Final = "tag add effects reply stop raise exit bad_return then"
_CHILD: Final = "id type restart shutdown significant"

_CHILDREN: Final = {
    "worker": f"{_CHILD} trap starts terminate",
    "supervisor": f"{_CHILD} strategy max_restarts max_seconds auto_shutdown children",
    "dynamic": f"{_CHILD} max_restarts max_seconds max_children",
}


def check_language(scenario: dict[str, Any]) -> None:
    """Raise `ScenarioError` where a scenario has what the language does not."""
    family = scenario["family"]
    for op in scenario["ops"]:
        _check_op(family, op)
    if "tree" in scenario:
        _check_child(scenario["tree"])


def _check_op(family: str, op: Json) -> None:
    operations = _OPERATIONS[family]
    if op.get("op") not in operations:
        raise ScenarioError(f"not an operation of this family: {op}")
    # Whoever does it may be named where it makes no difference, too.
    _check_fields("the operation " + op["op"], op, "op by " + operations[op["op"]])
    for inner in (*op.get("ops", ()), *op.get("msgs", ())):
        _check_op(family, inner)
    if "do" in op:
        _check_script(op["do"])
    if "spec" in op:
        (_check_child if family == "supervisor" else _check_server)(op["spec"])


def _check_server(spec: Json) -> None:
    _check_fields("a server", spec, "init terminate on_info")
    _check_script(spec.get("init", {}), "state ignore hang")
    _check_fields("terminate", spec.get("terminate", {}), "raise exit hang")
    _check_fields("on_info", spec.get("on_info", {}), "timeout EXIT DOWN msg")
    for script in spec.get("on_info", {}).values():
        _check_script(script)


def _check_script(script: Json, more: str = "") -> None:
    _check_fields("a script", script, f"{_SCRIPT} {more}")
    inner = [
        effect[-1]
        for effect in script.get("effects", [])
        if effect[0] in ("send_self", "cast_self", "call") and isinstance(effect[-1], dict)
    ]
    match script.get("then"):
        case ["continue", following]:
            inner.append(following)
        case _:
            pass
    for one in inner:
        # A script may come to itself again.
        if one is not script:
            _check_script(one)


def _check_child(spec: Json) -> None:
    kind = spec.get("type", "worker")
    if kind not in _CHILDREN:
        raise ScenarioError(f"no type of a child: {kind!r}")
    _check_fields(f"a child of the type {kind}", spec, _CHILDREN[kind])
    for child in spec.get("children", []):
        _check_child(child)


def _check_fields(what: str, given: Json, allowed: str) -> None:
    for field in given:
        if field not in allowed.split():
            raise ScenarioError(f"{what} has no field {field!r}")

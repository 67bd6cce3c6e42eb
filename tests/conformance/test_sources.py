"""Corners that no recorded scenario reaches, with what the sources of OTP and Elixir say of them.

Each test names the function that decides. The scenarios are in the language of the recorded ones.
"""

from __future__ import annotations

from typing import Any

from tests.conformance.replay import run_scenario
from tests.conformance.traces import Json

START: dict[str, Any] = {"op": "start", "by": "c0", "as": "s0", "spec": {"init": {}}}
HANGING: dict[str, Any] = {**START, "spec": {"init": {"hang": True}}}


def servers(*ops: dict[str, Any]) -> list[Json]:
    procs = [{"p": "c0"}, {"p": "c1"}, {"p": "c2"}]
    return run_scenario({"family": "genserver", "name": "", "procs": procs, "ops": [*ops]})


def dynamic(*specs: dict[str, Any]) -> list[Json]:
    """Return what happens when a dynamic supervisor with these children is stopped."""
    tree = {"id": "root", "type": "supervisor", "children": [{"id": "d", "type": "dynamic"}]}
    ops: list[dict[str, Any]] = [{"op": "start"}]
    ops += [{"op": "start_child", "sup": "d", "spec": spec} for spec in specs]
    ops.append({"op": "stop", "sup": "d", "reason": "normal"})
    *_, last = run_scenario({"family": "supervisor", "name": "", "tree": tree, "ops": ops})
    assert last["result"] == "ok"
    events: list[Json] = last["events"]
    end = events.index(["exit", "d", "normal"])
    assert events[end + 1 :] == [
        ["report", "root", "child_terminated", "d", "normal"],
        ["start", "d"],
    ]
    return events[:end]


# -- gen_server ---------------------------------------------------------------------------------


def test_a_reply_with_a_stop_goes_out_even_if_terminate_fails() -> None:
    # gen_server:handle_msg/6: try terminate(…) after reply(From, Reply) end.
    start = {**START, "spec": {"init": {}, "terminate": {"raise": "Oops"}}}
    call = {"op": "call", "by": "c1", "to": "s0", "do": {"stop": "boom", "reply": 1}}
    assert servers(start, call)[1] == {
        "result": ["ok", 1],
        "events": {
            "s0": [
                ["handle_call", None, 0],
                ["terminate", "boom", 0],
                ["report", ["error", "Oops"]],
                ["exit", ["error", "Oops"]],
            ]
        },
    }


def test_a_reply_with_a_stop_is_lost_if_the_server_is_killed_in_terminate() -> None:
    start = {**START, "spec": {"init": {}, "terminate": {"hang": True}}}
    call = {"op": "call", "by": "c1", "as": "k0", "to": "s0", "do": {"stop": "boom", "reply": 1}}
    kill = {"op": "signal", "by": "c2", "to": "s0", "reason": "kill"}
    assert servers(start, call, kill)[1:] == [
        {
            "result": "pending",
            "events": {"s0": [["handle_call", None, 0], ["terminate", "boom", 0]]},
        },
        {
            "result": "ok",
            "done": {"k0": ["exit", "killed"]},
            "events": {"s0": [["exit", "killed"]]},
        },
    ]


def test_stop_of_nobody_fails_also_if_the_reason_is_noproc() -> None:
    # proc_lib:stop/3 monitors, and exits noproc when there is nobody.
    stop = {"op": "stop", "by": "c1", "to": "s0", "reason": "noproc"}
    _, first, second = servers(START, stop, stop)
    assert first["result"] == "ok"
    assert second == {"result": ["exit", "noproc"]}


def test_a_server_outlives_a_starter_that_dies_before_it_is_up() -> None:
    # proc_lib:sync_start/2 only waits; nothing but a link ties the server to its starter.
    signal = {"op": "signal", "by": "c1", "to": "c0", "reason": "boom"}
    alive = {"op": "alive", "pid": "s0"}
    _, died, lives = servers(HANGING, signal, alive)
    assert died == {"result": "ok", "changes": {"c0": {"exit": "boom"}}, "done": {"s0": "died"}}
    assert lives["result"] is True


def test_a_server_dies_of_the_link_with_a_starter_that_dies_before_it_is_up() -> None:
    signal = {"op": "signal", "by": "c1", "to": "c0", "reason": "boom"}
    _, died = servers({**HANGING, "link": True}, signal)
    assert died == {
        "result": "ok",
        "changes": {"c0": {"exit": "boom"}},
        "done": {"s0": "died"},
        "events": {"s0": [["exit", "boom"]]},
    }


def test_the_request_of_a_caller_that_has_died_is_handled_all_the_same() -> None:
    # gen:do_call/4 sends a message, which nobody takes out of the queue again.
    suspend = {"op": "suspend", "by": "c0", "to": "s0"}
    call = {"op": "call", "by": "c1", "as": "k0", "to": "s0", "do": {"add": 5, "reply": 1}}
    kill = {"op": "signal", "by": "c0", "to": "c1", "reason": "kill"}
    resume = {"op": "resume", "by": "c0", "to": "s0"}
    state = {"op": "get_state", "by": "c0", "to": "s0"}
    *_, resumed, seen = servers(START, suspend, call, kill, resume, state)
    assert resumed == {"result": "ok", "events": {"s0": [["handle_call", None, 0]]}}
    assert seen == {"result": ["ok", 5]}


def test_a_suspended_server_that_traps_exits_heeds_its_parent() -> None:
    # sys:suspend_loop_hib/8 handles system messages and the EXIT of the parent.
    start = {**START, "link": True, "spec": {"init": {"effects": [["trap", True]]}}}
    suspend = {"op": "suspend", "by": "c1", "to": "s0"}
    stranger = {"op": "signal", "by": "c2", "to": "s0", "reason": "boom"}
    parent = {"op": "signal", "by": "c0", "to": "s0", "reason": "normal"}
    assert servers(start, suspend, stranger, parent)[2:] == [
        {"result": "ok"},
        {"result": "ok", "events": {"s0": [["terminate", "normal", 0], ["exit", "normal"]]}},
    ]


# -- DynamicSupervisor --------------------------------------------------------------------------


def test_a_dynamic_supervisor_takes_shutdown_with_a_detail_for_an_orderly_end() -> None:
    # DynamicSupervisor.wait_child/4: {:shutdown, _} whatever the restart type; but for a permanent
    # child not :normal.
    assert dynamic(
        {"id": "x", "trap": True, "terminate": ["exit", ["shutdown", "x"]]},
        {"id": "y", "trap": True, "terminate": ["exit", "normal"], "restart": "transient"},
        {"id": "z", "trap": True, "terminate": ["exit", "normal"]},
    ) == [
        ["terminate", "x", "shutdown"],
        ["exit", "x", ["shutdown", "x"]],
        ["terminate", "y", "shutdown"],
        ["exit", "y", "normal"],
        ["terminate", "z", "shutdown"],
        ["exit", "z", "normal"],
        ["report", "d", "shutdown_error", "z", "normal"],
    ]


def test_a_dynamic_supervisor_reports_when_all_its_children_are_down() -> None:
    # DynamicSupervisor.terminate_children/2: wait_children, then report_error for each.
    assert dynamic(
        {"id": "x", "trap": True, "terminate": ["exit", "bad"]},
        {"id": "y", "trap": True, "terminate": ["sleep", 200]},
    ) == [
        ["terminate", "x", "shutdown"],
        ["exit", "x", "bad"],
        ["terminate", "y", "shutdown"],
        ["exit", "y", "shutdown"],
        ["report", "d", "shutdown_error", "x", "bad"],
    ]

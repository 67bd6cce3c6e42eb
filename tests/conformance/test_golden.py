"""All recorded scenarios give the traces of the BEAM, and the comparison would notice if not."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.__main__ import main
from tests.conformance.model import trace_of
from tests.conformance.replay import (
    WITHDRAWN,
    BadFile,
    Case,
    as_in_otp_26,
    compare,
    read,
    replay,
    run_scenario,
)
from tests.conformance.terms import ScenarioError
from tests.conformance.traces import canonical

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.jsonl"))


def case_named(name: str) -> Case:
    found = [case for path in GOLDEN for case in read(path) if case.name == name]
    assert len(found) == 1
    return found[0]


@pytest.mark.slow
@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_recorded_traces_are_reproduced(path: Path) -> None:
    cases = read(path)
    assert len(cases) >= 100
    outcomes = [replay(case) for case in cases]
    assert [one.known for one in outcomes if one.known is not None] == []
    found = [divergence for one in outcomes for divergence in one.divergences]
    if found:
        shown = "\n".join(map(str, found[:20]))
        pytest.fail(f"{len(found)} steps diverge, the first are\n{shown}", pytrace=False)


def test_every_change_of_a_recorded_step_is_noticed() -> None:
    case = case_named("monitors_stack_and_fire_once")
    steps = replay(case).steps
    assert compare(case, steps) == []
    assert any("changes" in step for step in steps)
    for index, step in enumerate(steps):
        for key in step:
            altered = copy.deepcopy(steps)
            altered[index][key] = {"something": "else"}
            assert [one.index for one in compare(case, altered)] == [index]


def test_a_divergence_names_the_scenario_the_step_and_both_outcomes() -> None:
    case = case_named("unlink_then_die_sends_nothing")
    steps = replay(case).steps
    (divergence,) = compare(case, [{"result": "other"}, *steps[1:]])
    assert str(divergence).splitlines() == [
        'unlink_then_die_sends_nothing, step 0: {"by":"p0","op":"link","to":"p1"}',
        '  expected {"changes":{"p0":{"links":["p1"]},"p1":{"links":["p0"]}},"result":"ok"}',
        '  got      {"result":"other"}',
    ]


def test_otp_26_differs_from_25_in_nothing_but_the_exit_message_of_a_failed_start() -> None:
    case = case_named("start_link_with_a_failing_init_leaves_an_exit_message")
    recorded = case.trace["steps"]
    expected = copy.deepcopy(recorded)
    for step in expected:
        del step["changes"]
    assert as_in_otp_26(case.scenario["ops"], recorded) == expected
    other = case_named("start_link_with_a_failing_init_kills_the_starter")
    same = other.trace["steps"]
    assert as_in_otp_26(other.scenario["ops"], same) == same
    # What a trace has to be without the tag is what was recorded.
    untagged = Case("", {**case.scenario, "tags": []}, case.trace)
    assert compare(case, expected) == []
    assert compare(untagged, recorded) == []
    assert [one.index for one in compare(untagged, expected)] == [0, 1]


def test_messages_of_one_step_stand_in_order_of_sender_and_notices_in_order_of_text() -> None:
    mailbox: list[tuple[int, str, Any]] = [
        (0, "p3", ["msg", "p3", 1]),
        (1, "p2", ["EXIT", "p2", "boom"]),
        (1, "p2", ["DOWN", "m0", "p2", "boom"]),
        (1, "p1", ["msg", "p1", 2]),
        (1, "p1", ["msg", "p1", 1]),
        (1, "p1", ["EXIT", "p1", "x"]),
        (1, "p1", ["msg", "p1", 0]),
    ]
    assert canonical(mailbox) == [
        ["msg", "p3", 1],
        ["msg", "p1", 2],
        ["msg", "p1", 1],
        ["EXIT", "p1", "x"],
        ["msg", "p1", 0],
        ["DOWN", "m0", "p2", "boom"],
        ["EXIT", "p2", "boom"],
    ]


def test_a_scenario_without_an_end_is_stopped() -> None:
    script: dict[str, Any] = {}
    script["effects"] = [["send_self", script]]
    scenario = {
        "family": "genserver",
        "name": "endless",
        "procs": [{"p": "c0"}],
        "ops": [
            {"op": "start", "by": "c0", "as": "s0", "spec": {"init": {}}},
            {"op": "info", "by": "c0", "to": "s0", "do": script},
        ],
    }
    with pytest.raises(ScenarioError, match="has not come to its end after 200 steps"):
        run_scenario(scenario, steps=200)


def test_a_request_that_is_taken_back_is_a_known_difference_and_nothing_else_is() -> None:
    ops = [
        {"op": "start", "by": "c0", "as": "s0", "spec": {"init": {}}},
        {"op": "suspend", "by": "c0", "to": "s0"},
        {"op": "call", "by": "c1", "as": "k0", "to": "s0", "do": {"add": 5}, "timeout": 30},
        {"op": "resume", "by": "c0", "to": "s0"},
        {"op": "get_state", "by": "c0", "to": "s0"},
    ]
    scenario = {
        "family": "genserver",
        "name": "queued",
        "procs": [{"p": "c0"}, {"p": "c1"}],
        "ops": ops,
    }
    here: list[Any] = [
        {"result": ["ok", "s0"], "events": {"s0": [["init", None, 0]]}},
        {"result": "ok"},
        {"result": ["exit", "timeout"]},
        {"result": "ok"},
        {"result": ["ok", 0]},
    ]
    in_otp = copy.deepcopy(here)
    in_otp[3]["events"] = {"s0": [["handle_call", None, 0]]}
    in_otp[4]["result"] = ["ok", 5]
    outcome = replay(Case("", scenario, {"steps": in_otp}))
    assert (outcome.divergences, outcome.known) == ([], WITHDRAWN)
    assert outcome.steps == here
    in_otp[4]["result"] = ["ok", 6]
    outcome = replay(Case("", scenario, {"steps": in_otp}))
    assert [one.index for one in outcome.divergences] == [3, 4]
    assert outcome.known is None


def test_a_scenario_that_makes_no_sense_diverges_and_says_why() -> None:
    scenario = {
        "family": "signals",
        "name": "senseless",
        "procs": [{"p": "p0"}],
        "ops": [{"op": "fly", "by": "p0"}],
    }
    (divergence,) = replay(Case("", scenario, {"steps": [{"result": "died"}]})).divergences
    assert "not an operation of this family" in str(divergence)


def test_one_is_not_true_be_it_in_a_message_or_in_a_trace() -> None:
    ops: list[dict[str, Any]] = [
        {"op": "send", "by": "p0", "to": "p0", "msg": True},
        {"op": "recv", "by": "p0", "match": ["msg", "p0", 1]},
        {"op": "recv", "by": "p0", "match": ["msg", "p0", True]},
    ]
    scenario = {"family": "signals", "name": "true", "procs": [{"p": "p0"}], "ops": ops}
    steps = run_scenario(scenario)
    assert [one["result"] for one in steps][1:] == ["empty", ["msg", "p0", True]]
    assert trace_of(scenario) == steps
    altered = copy.deepcopy(steps)
    altered[2]["result"] = ["msg", "p0", 1]
    assert [one.index for one in compare(Case("", scenario, {"steps": steps}), altered)] == [2]


SERVER: dict[str, Any] = {"op": "start", "by": "c0", "as": "s0", "spec": {"init": {}}}


@pytest.mark.parametrize(
    ("family", "op", "complaint"),
    [
        ("signals", {"op": "suspend", "by": "p0", "to": "p0"}, "not an operation of this family"),
        ("signals", {"op": "link", "by": "p0", "to": "p0", "twice": True}, "no field 'twice'"),
        ("signals", {"op": "batch", "by": "p0", "ops": [{"op": "fly"}]}, "not an operation"),
        ("genserver", {**SERVER, "spec": {"start": {}}}, "a server has no field 'start'"),
        ("genserver", {**SERVER, "spec": {"init": {"sleep": 5}}}, "a script has no field 'sleep'"),
        ("genserver", {**SERVER, "spec": {"terminate": {"stop": "x"}}}, "no field 'stop'"),
        ("genserver", {**SERVER, "spec": {"on_info": {"cast": {}}}}, "no field 'cast'"),
        (
            "genserver",
            {"op": "cast", "by": "c0", "to": "s0", "do": {"effects": [["send_self", {"x": 1}]]}},
            "a script has no field 'x'",
        ),
        (
            "genserver",
            {"op": "cast", "by": "c0", "to": "s0", "do": {"then": ["continue", {"x": 1}]}},
            "a script has no field 'x'",
        ),
        (
            "supervisor",
            {"op": "start_child", "sup": "root", "spec": {"id": "a", "strategy": "one_for_one"}},
            "a child of the type worker has no field 'strategy'",
        ),
        (
            "supervisor",
            {"op": "start_child", "sup": "root", "spec": {"id": "a", "type": "port"}},
            "no type of a child: 'port'",
        ),
    ],
)
def test_what_the_language_does_not_have_is_refused(
    family: str, op: dict[str, Any], complaint: str
) -> None:
    ops = [{"op": "start"}, op] if family == "supervisor" else [op]
    scenario = {
        "family": family,
        "name": "foreign",
        "procs": [{"p": "p0"}, {"p": "c0"}],
        "tree": {"id": "root", "type": "supervisor"},
        "ops": ops,
    }
    with pytest.raises(ScenarioError, match=complaint):
        run_scenario(scenario)


def test_a_later_exit_of_a_server_that_did_not_start_is_in_the_trace_of_otp_26_too() -> None:
    # OTP 25 tells a starter that traps exits of the server's end; a link to the dead tells it anew.
    start = {"op": "start", "by": "c0", "as": "s0", "link": True}
    failing = {**start, "spec": {"init": {"stop": "bad"}}}
    link = {"op": "link", "by": "c0", "to": "s0"}
    first, second = ["EXIT", "s0", "bad"], ["EXIT", "s0", "noproc"]
    events = {"s0": [["init", None, 0], ["exit", "bad"]]}
    recorded: list[Any] = [
        {
            "result": ["error", "bad"],
            "changes": {"c0": {"mailbox": [first]}},
            "events": events,
        },
        {"result": "ok", "changes": {"c0": {"mailbox": [first, second]}}},
    ]
    expected: list[Any] = [
        {"result": ["error", "bad"], "events": events},
        {"result": "ok", "changes": {"c0": {"mailbox": [second]}}},
    ]
    assert as_in_otp_26([failing, link], recorded) == expected
    scenario = {
        "family": "genserver",
        "name": "told_twice",
        "procs": [{"p": "c0", "trap": True}],
        "ops": [failing, link],
        "tags": ["otp25"],
    }
    assert replay(Case("", scenario, {"steps": recorded})).divergences == []


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "line 1 column 2"),
        ("[]", "expected an object with a scenario"),
        ('{"scenario": {"family": "signals", "name": "x", "ops": []}}', "expected an object"),
        (
            '{"scenario": {"family": "ports", "name": "x", "ops": []}, "trace": {"steps": []}}',
            "no such family: 'ports'",
        ),
        (
            '{"scenario": {"family": "signals", "name": "x", "ops": [1]}, "trace": {"steps": []}}',
            "expected an object",
        ),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_line(
    tmp_path: Path, line: str, complaint: str
) -> None:
    path = tmp_path / "some.jsonl"
    path.write_text(f"\n{line}\n", encoding="utf-8")
    with pytest.raises(BadFile, match=r"some\.jsonl:2") as refused:
        read(path)
    assert complaint in str(refused.value)


def test_the_exit_status_tells_what_came_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = case_named("return_from_the_body_is_exit_normal")
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    entry = {"scenario": case.scenario, "trace": case.trace}
    good.write_text(json.dumps(entry) + "\n", encoding="utf-8")
    wrong = copy.deepcopy(entry)
    wrong["trace"]["steps"][0]["result"] = "no"
    bad.write_text(f"{json.dumps(entry)}\n{json.dumps(wrong)}\n", encoding="utf-8")

    assert main([str(good)]) == 0
    assert capsys.readouterr().out == "1 scenarios, 0 diverged\n"
    assert main([str(good), str(bad)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "3 scenarios, 1 diverged"
    assert main([str(bad), "--name", "nothing like it"]) == 0
    assert capsys.readouterr().out == "0 scenarios, 0 diverged\n"
    assert main([str(tmp_path / "missing.jsonl")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "missing.jsonl" in captured.err

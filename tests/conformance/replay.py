"""Run scenarios and compare what comes of them with recorded traces."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio
from trio.testing import MockClock

import exeunt
from exeunt import Node, Pid, open_node
from exeunt.kernel.events import Spawned
from tests.conformance.genserver import GenServers
from tests.conformance.language import check_language
from tests.conformance.signals import Signals
from tests.conformance.supervisor import SupervisorFamily
from tests.conformance.terms import ScenarioError
from tests.conformance.traces import Json, text
from tests.conformance.world import DIED, Executor, Op, Step

FAMILIES: Final[dict[str, type[Executor]]] = {
    "genserver": GenServers,
    "signals": Signals,
    "supervisor": SupervisorFamily,
}

MOST_STEPS: Final = 5_000
"""How often the tasks of one scenario may be resumed: thirty times what the longest one takes."""


class BadFile(Exception):
    """A file cannot be read as scenarios with traces; says where and why."""


@dataclass(frozen=True, slots=True)
class Case:
    """A scenario with its recorded trace, and where it stands."""

    place: str
    scenario: dict[str, Any]
    trace: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of the scenario."""
        return str(self.scenario["name"])


WITHDRAWN: Final = "withdrawn requests"
"""A difference that is meant: who stops waiting for an answer takes the request back.

In OTP it stays in the queue and is handled in its turn, the answer being dropped. A scenario has no
other difference if it is as recorded once requests are made by helpers that do not stop waiting.
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has come of a case; `known` names the difference that is meant, if that is all."""

    steps: list[Step]
    divergences: list[Divergence]
    known: str | None = None


@dataclass(frozen=True, slots=True)
class Divergence:
    """A step whose outcome is not the recorded one; `index` is None where all of it went wrong."""

    name: str
    index: int | None
    op: Op | None
    expected: Json
    got: Json

    def __str__(self) -> str:
        if self.index is None:
            return f"{self.name}: {self.got}"
        lines = [f"{self.name}, step {self.index}: {text(self.op)}"]
        expected, got = differences(self.expected, self.got)
        return "\n".join([*lines, f"  expected {text(expected)}", f"  got      {text(got)}"])


def differences(expected: Json, got: Json) -> tuple[Json, Json]:
    """Return two steps without the parts in which they agree."""
    if not (isinstance(expected, dict) and isinstance(got, dict)):
        return expected, got
    keys = [key for key in {**expected, **got} if expected.get(key, ...) != got.get(key, ...)]
    return (
        {key: expected[key] for key in keys if key in expected},
        {key: got[key] for key in keys if key in got},
    )


def read(path: Path) -> list[Case]:
    """Read a file of scenarios with traces; raise `BadFile` if it is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(f"{path}: {error}") from error
    cases: list[Case] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise BadFile(f"{place}: {error}") from error
        cases.append(check(place, entry))
    return cases


def check(place: str, entry: Json) -> Case:
    """Return a line's case; raise `BadFile` where its outline is not that of one."""
    match entry:
        case {
            "scenario": {"family": str(family), "name": str(), "ops": list(ops)} as scenario,
            "trace": {"steps": list()} as trace,
        } if all(isinstance(op, dict) and isinstance(op.get("op"), str) for op in ops):
            if family not in FAMILIES:
                raise BadFile(f"{place}: no such family: {family!r}")
            return Case(place, scenario, trace)
        case _:
            raise BadFile(
                f"{place}: expected an object with a scenario (family, name, ops) and its trace "
                "(steps)"
            )


class Limit(trio.abc.Instrument):
    """Cancels a scenario that goes on without end."""

    def __init__(self, steps: int) -> None:
        self.scope = trio.CancelScope()
        self._left = steps

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count one step of any task."""
        self._left -= 1
        if self._left == 0:
            self.scope.cancel()


def run_scenario(scenario: dict[str, Any], steps: int = MOST_STEPS) -> list[Step]:
    """Run a scenario on a node of its own, in virtual time; return the steps of its trace.

    `steps` is how often its tasks may be resumed, all in all. Raises `ScenarioError` if there is
    something in it that the language of the scenarios does not have.
    """
    check_language(scenario)
    clock, limit = MockClock(), Limit(steps)

    async def main() -> list[Step]:
        with limit.scope:
            async with open_node(signals=False) as node:
                spawned: list[Pid] = []
                node.events.subscribe(lambda event: spawned.append(event.pid), Spawned)
                try:
                    return await steps_of(scenario, node, clock)
                finally:
                    # What hangs is not waited for, and what has to be waited for costs no time.
                    for pid in spawned:
                        exeunt.exit(pid, "kill")
                    clock.autojump_threshold = 0
        raise ScenarioError(f"it has not come to its end after {steps} steps of tasks")

    with silence():
        return trio.run(main, clock=clock, instruments=[limit])


async def steps_of(scenario: dict[str, Any], node: Node, clock: MockClock) -> list[Step]:
    """Do the operations of a scenario, one after the other."""
    executor = FAMILIES[scenario["family"]](node, clock, scenario)
    await executor.begin()
    return [await executor.do(index, op) for index, op in enumerate(scenario["ops"])]


@contextmanager
def silence() -> Generator[None, None, None]:
    """Keep the crashes that scenarios are made of out of the log."""
    logger = logging.getLogger("exeunt")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def compare(case: Case, steps: list[Step]) -> list[Divergence]:
    """Return where a trace is not as recorded.

    Where a scenario depends on the version of OTP, the trace may also be that of OTP 26.
    """
    recorded: list[Step] = case.trace["steps"]
    found = differing(case, recorded, steps)
    if found and "otp25" in case.scenario.get("tags", []):
        return differing(case, as_in_otp_26(case.scenario["ops"], recorded), steps)
    return found


def differing(case: Case, expected: list[Step], steps: list[Step]) -> list[Divergence]:
    """Compare two traces step by step."""
    ops = case.scenario["ops"]
    if not len(ops) == len(expected) == len(steps):
        what = f"{len(ops)} operations, {len(expected)} steps expected, {len(steps)} got"
        return [Divergence(case.name, None, None, None, what)]
    return [
        Divergence(case.name, index, ops[index], wanted, got)
        for index, (wanted, got) in enumerate(zip(expected, steps, strict=True))
        # As text: to Python, but to no JSON, 1 and true are the same.
        if text(wanted) != text(got)
    ]


def as_in_otp_26(ops: list[Op], recorded: list[Step]) -> list[Step]:
    """Return what a recorded trace would be since OTP 26.

    There, a start with a link whose init fails or ignores takes the server's `EXIT` message out of
    the starter's mailbox before it returns. Nobody else is linked to such a server by its start, so
    these messages, and what follows from their being there, are all that goes. A later `EXIT` of
    the same server, of a link to the dead, stays.
    """
    starts = {
        op.get("as", f"op{index}"): (op["by"], op["as"])
        for index, op in enumerate(ops)
        if op["op"] == "start" and op.get("link")
    }
    gone: set[tuple[str, str]] = set()
    shown: dict[str, list[Json]] = {}
    result: list[Step] = []
    for index, (op, step) in enumerate(zip(ops, recorded, strict=False)):
        ended = {op.get("as", f"op{index}"): step["result"], **step.get("done", {})}
        for label, outcome in ended.items():
            failed = outcome == "ignore" or (isinstance(outcome, list) and outcome[0] == "error")
            # A starter that waits no longer has taken the link away first.
            if label in starts and failed and outcome != ["error", "timeout"]:
                gone.add(starts[label])
        changes: dict[str, Json] = {}
        for client, change in step.get("changes", {}).items():
            change = dict(change)
            if "mailbox" in change:
                left = without_first_exits(
                    change["mailbox"], {server for starter, server in gone if starter == client}
                )
                change["mailbox"] = left
                if left == shown.get(client, []):
                    del change["mailbox"]
                shown[client] = left
            if change:
                changes[client] = change
        step = {key: value for key, value in step.items() if key != "changes"}
        result.append({**step, "changes": changes} if changes else step)
    return result


def without_first_exits(mailbox: list[Json], servers: set[str]) -> list[Json]:
    """Return a mailbox without the first `EXIT` message of each of these servers."""
    missing = set(servers)
    left: list[Json] = []
    for message in mailbox:
        if message[0] == "EXIT" and message[1] in missing:
            missing.remove(message[1])
        else:
            left.append(message)
    return left


def replay(case: Case) -> Outcome:
    """Run a case and compare what comes of it with what was recorded."""
    try:
        steps = run_scenario(copy.deepcopy(case.scenario))
        divergences = compare(case, steps)
        if divergences and was_given_up(steps):
            other = run_scenario({**copy.deepcopy(case.scenario), "keeps_requests": True})
            if not compare(case, other):
                return Outcome(steps, [], WITHDRAWN)
        return Outcome(steps, divergences)
    except Exception as error:
        failed = f"the scenario could not be run: {type(error).__name__}: {error}"
        return Outcome([], [Divergence(case.name, None, None, None, failed)])


def was_given_up(steps: list[Step]) -> bool:
    """Tell whether some client has stopped waiting for an answer, by a time-out or its death."""
    return any(
        result in (DIED, ["exit", "timeout"])
        for step in steps
        for result in (step["result"], *step.get("done", {}).values())
    )

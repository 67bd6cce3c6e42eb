"""The rules of links, monitors and exit signals, on peers that are no processes at all.

A table for what a signal does, and a state machine that drives any number of peers through any
order of events and looks at the invariants after each.
"""

from __future__ import annotations

from itertools import count
from typing import Any, get_args

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from exeunt import Crash, Down, Exit, NoProcess, Pid, Ref, Shutdown
from exeunt.kernel import signals
from exeunt.kernel.signals import Effect, Peer, effect_of_signal

_numbers = count(1)


class FakePeer(Peer):
    """A peer that notes what happens to it; `run_down` is the end of its clean-up."""

    __slots__ = ("inbox", "reasons")

    def __init__(self, *, traps: bool = False) -> None:
        super().__init__(Pid(0, next(_numbers)))
        self.traps = traps
        self.inbox: list[Any] = []
        self.reasons: list[object] = []

    def deliver(self, message: object) -> None:
        assert self.status == "running", "a message reached a peer that is not running"
        self.inbox.append(message)

    def begin_exit(self, reason: object, *flags: object, **more: object) -> None:
        assert self.status != "dead", "the dead cannot exit"
        self.reasons.append(reason)
        self.status = "exiting"

    def run_down(self, reason: object = "gone") -> None:
        signals.depart(self, self.reasons[-1] if self.reasons else reason)


def make_ref() -> Ref:
    return Ref(0, next(_numbers))


def linked(one: Peer, other: Peer) -> bool:
    assert (other in (one.links or {})) == (one in (other.links or {}))
    return other in (one.links or {})


# -- effect_of_signal: the table of semantics 1.7

OTHERS = ["bye", "shutdown", "killed", "noproc", None, Shutdown("x"), Crash(ValueError())]


@pytest.mark.parametrize("from_itself", [True, False])
@pytest.mark.parametrize("traps", [True, False])
def test_kill_by_hand_kills_whoever_gets_it(traps: bool, from_itself: bool) -> None:
    assert effect_of_signal("kill", traps=traps, from_itself=from_itself) == "die_killed"


@pytest.mark.parametrize(
    ("traps", "from_itself", "effect"),
    [
        (True, False, "message"),
        (False, False, "nothing"),
        (True, True, "message"),
        (False, True, "die"),
    ],
)
def test_normal_by_hand_ends_only_oneself(traps: bool, from_itself: bool, effect: Effect) -> None:
    assert effect_of_signal("normal", traps=traps, from_itself=from_itself) == effect


@pytest.mark.parametrize("from_itself", [True, False])
@pytest.mark.parametrize("reason", OTHERS)
def test_any_other_reason_by_hand_kills_unless_trapped(reason: object, from_itself: bool) -> None:
    assert effect_of_signal(reason, traps=True, from_itself=from_itself) == "message"
    assert effect_of_signal(reason, traps=False, from_itself=from_itself) == "die"


def test_normal_along_a_link_ends_nobody() -> None:
    assert effect_of_signal("normal", traps=True, from_link=True) == "message"
    assert effect_of_signal("normal", traps=False, from_link=True) == "nothing"


@pytest.mark.parametrize("reason", ["kill", *OTHERS])
def test_any_other_reason_along_a_link_kills_unless_trapped_kill_too(reason: object) -> None:
    assert effect_of_signal(reason, traps=True, from_link=True) == "message"
    assert effect_of_signal(reason, traps=False, from_link=True) == "die"


def test_reasons_are_compared_without_asking_them() -> None:
    class Contrary:
        def __eq__(self, other: object) -> bool:
            raise AssertionError("asked")

    assert effect_of_signal(Contrary(), traps=False) == "die"


def test_the_effects_are_a_closed_set() -> None:
    assert set(get_args(Effect)) == {"die", "die_killed", "message", "nothing"}


# -- signal


def test_a_signal_to_the_dead_is_lost() -> None:
    peer = FakePeer(traps=True)
    peer.run_down()
    signals.signal(peer, Pid(0, 0), "kill")
    signals.signal(None, Pid(0, 0), "kill")
    assert peer.inbox == [] and peer.reasons == []


def test_a_trapped_signal_tells_sender_and_reason() -> None:
    one, other = FakePeer(traps=True), FakePeer()
    signals.signal(one, other.pid, "bye")
    assert one.inbox == [Exit(other.pid, "bye")]
    assert one.status == "running"


def test_an_exiting_peer_hears_of_nothing_but_a_kill() -> None:
    peer = FakePeer()
    signals.signal(peer, Pid(0, 0), "first")
    peer.traps = True
    for reason in ("second", "normal", "killed"):
        signals.signal(peer, Pid(0, 0), reason)
    assert peer.reasons == ["first"] and peer.inbox == []
    signals.signal(peer, Pid(0, 0), "kill")
    assert peer.reasons == ["first", "killed"]


# -- link and unlink


def test_a_link_is_symmetric_and_there_is_one() -> None:
    one, other = FakePeer(), FakePeer()
    signals.link(one, other, other.pid)
    signals.link(other, one, one.pid)
    assert linked(one, other)
    signals.unlink(other, one)
    assert not linked(one, other)


def test_to_link_or_unlink_oneself_does_nothing() -> None:
    peer = FakePeer()
    signals.link(peer, peer, peer.pid)
    signals.unlink(peer, peer)
    assert not peer.links and peer.inbox == []


def test_to_unlink_what_is_not_linked_does_nothing() -> None:
    one, other = FakePeer(), FakePeer()
    signals.unlink(one, other)
    signals.unlink(one, None)
    assert not one.links and not other.links


@pytest.mark.parametrize("state", ["unknown", "exiting", "dead"])
def test_a_link_to_what_is_not_running(state: str) -> None:
    target: FakePeer | None = FakePeer()
    assert target is not None
    pid = target.pid
    if state == "unknown":
        target = None
    elif state == "exiting":
        target.begin_exit("bye")
    else:
        target.run_down()
    trapping, plain = FakePeer(traps=True), FakePeer()
    signals.link(trapping, target, pid)
    assert trapping.inbox == [Exit(pid, "noproc")]
    with pytest.raises(NoProcess):
        signals.link(plain, target, pid)
    assert not trapping.links and not plain.links


def test_the_end_of_a_linked_peer_is_a_signal_of_the_same_reason() -> None:
    one, trapping, plain = FakePeer(), FakePeer(traps=True), FakePeer()
    for other in (trapping, plain):
        signals.link(one, other, other.pid)
    one.run_down("bye")
    assert trapping.inbox == [Exit(one.pid, "bye")]
    assert plain.reasons == ["bye"]
    assert not trapping.links and not plain.links and not one.links


def test_a_killed_peer_is_no_kill_for_those_linked_to_it() -> None:
    one, trapping, plain = FakePeer(), FakePeer(traps=True), FakePeer()
    for other in (trapping, plain):
        signals.link(one, other, other.pid)
    signals.signal(one, Pid(0, 0), "kill")
    one.run_down()
    assert trapping.inbox == [Exit(one.pid, "killed")]
    assert plain.reasons == ["killed"]


def test_links_hear_of_an_end_in_the_order_in_which_they_were_made_and_before_monitors() -> None:
    told: list[tuple[str, object]] = []

    class Noting(FakePeer):
        __slots__ = ("label",)

        def deliver(self, message: object) -> None:
            told.append((self.label, type(message)))

    one = FakePeer()
    peers = []
    for label in "abc":
        peer = Noting(traps=True)
        peer.label = label
        peers.append(peer)
        signals.monitor(peer, one, make_ref(), one.pid)
    for peer in peers:
        signals.link(one, peer, peer.pid)
    one.run_down()
    assert told == [("a", Exit), ("b", Exit), ("c", Exit), ("a", Down), ("b", Down), ("c", Down)]


def test_a_ring_of_links_runs_down_once() -> None:
    ring = [FakePeer() for _ in range(4)]
    for index, peer in enumerate(ring):
        signals.link(peer, ring[index - 1], ring[index - 1].pid)
    ring[0].run_down("bye")
    for peer in (ring[1], ring[3], ring[2]):
        assert peer.reasons == ["bye"]
        peer.run_down()
    assert all(peer.reasons == ["bye"] for peer in ring[1:])


# -- monitor and demonitor


def test_monitors_stack_and_each_fires_once() -> None:
    watcher, target = FakePeer(), FakePeer()
    refs = [make_ref() for _ in range(3)]
    for ref in refs:
        signals.monitor(watcher, target, ref, target.pid)
    target.run_down("normal")
    assert watcher.inbox == [Down(ref, target.pid, "normal") for ref in refs]
    assert not watcher.monitors and not target.watchers


def test_a_monitor_by_name_shows_the_name() -> None:
    watcher, target, ref = FakePeer(), FakePeer(), make_ref()
    signals.monitor(watcher, target, ref, "store")
    target.run_down("bye")
    assert watcher.inbox == [Down(ref, "store", "bye")]


def test_a_monitor_of_the_dead_fires_at_once_with_noproc() -> None:
    watcher, target, ref = FakePeer(), FakePeer(), make_ref()
    target.run_down()
    signals.monitor(watcher, target, ref, target.pid)
    signals.monitor(watcher, None, ref, "nobody")
    assert watcher.inbox == [Down(ref, target.pid, "noproc"), Down(ref, "nobody", "noproc")]
    assert not watcher.monitors


def test_a_monitor_of_the_exiting_fires_with_noproc_when_it_is_dead() -> None:
    watcher, target, ref = FakePeer(), FakePeer(), make_ref()
    target.begin_exit("bye")
    signals.monitor(watcher, target, ref, target.pid)
    assert watcher.inbox == []
    target.run_down()
    assert watcher.inbox == [Down(ref, target.pid, "noproc")]


def test_a_monitor_of_oneself_does_nothing() -> None:
    peer = FakePeer()
    signals.monitor(peer, peer, make_ref(), peer.pid)
    assert not peer.monitors and not peer.watchers and peer.inbox == []


def test_demonitor_says_whether_the_monitor_was_active() -> None:
    watcher, other, target, ref = FakePeer(), FakePeer(), FakePeer(), make_ref()
    signals.monitor(watcher, target, ref, target.pid)
    assert not signals.demonitor(other, ref), "a monitor belongs to who made it"
    assert signals.demonitor(watcher, ref)
    assert not signals.demonitor(watcher, ref)
    target.run_down()
    assert watcher.inbox == []


def test_the_monitors_of_a_dead_watcher_are_gone() -> None:
    watcher, target = FakePeer(), FakePeer()
    signals.monitor(watcher, target, make_ref(), target.pid)
    watcher.run_down()
    assert not target.watchers
    target.run_down()


def test_a_watcher_that_is_exiting_is_not_told() -> None:
    watcher, target = FakePeer(), FakePeer()
    signals.monitor(watcher, target, make_ref(), target.pid)
    watcher.begin_exit("bye")
    target.run_down()
    assert watcher.inbox == [] and not watcher.monitors


# -- any order of events

REASONS = st.sampled_from(["normal", "bye", "kill", "killed", "shutdown"])


class Signals(RuleBasedStateMachine):
    """Peers that link, monitor, trap, exit and end in any order."""

    peers: Bundle[FakePeer] = Bundle("peers")

    def __init__(self) -> None:
        super().__init__()
        self.all: list[FakePeer] = []
        # What is to be: pairs of peers, and monitors that have not fired, by reference.
        self.links: set[frozenset[FakePeer]] = set()
        self.monitors: dict[Ref, tuple[FakePeer, FakePeer]] = {}
        self.downs: dict[Ref, int] = {}

    @initialize(target=peers, traps=st.booleans())
    def first(self, traps: bool) -> FakePeer:
        return self.make(traps)

    @rule(target=peers, traps=st.booleans())
    def make(self, traps: bool) -> FakePeer:
        peer = FakePeer(traps=traps)
        self.all.append(peer)
        return peer

    @rule(one=peers, other=peers)
    def link(self, one: FakePeer, other: FakePeer) -> None:
        if one.status == "dead":
            return
        runs = other.status == "running"
        try:
            signals.link(one, other, other.pid)
        except NoProcess:
            assert not runs and not one.traps and one is not other
            return
        except AssertionError:
            # The fake refuses the Exit with "noproc" that a trapping peer gets while it exits.
            assert one.status == "exiting" and one.traps
            return
        if one is not other and runs:
            self.links.add(frozenset((one, other)))

    @rule(one=peers, other=peers)
    def unlink(self, one: FakePeer, other: FakePeer) -> None:
        if one.status != "dead":
            signals.unlink(one, other)
            self.links.discard(frozenset((one, other)))

    @rule(watcher=peers, watched=peers)
    def monitor(self, watcher: FakePeer, watched: FakePeer) -> None:
        if watcher.status != "running":
            return
        ref = make_ref()
        signals.monitor(watcher, watched, ref, watched.pid)
        if watcher is not watched:
            self.downs[ref] = 0
            self.monitors[ref] = (watcher, watched)
            if watched.status == "dead":
                del self.monitors[ref]
                assert watcher.inbox[-1] == Down(ref, watched.pid, "noproc")

    @rule(watcher=peers, which=st.integers(0, 20))
    def demonitor(self, watcher: FakePeer, which: int) -> None:
        refs = list(self.downs)
        if refs and watcher.status != "dead":
            ref = refs[which % len(refs)]
            is_active = self.monitors.get(ref, (None, None))[0] is watcher
            assert signals.demonitor(watcher, ref) == is_active
            if is_active:
                del self.monitors[ref]

    @rule(peer=peers, on=st.booleans())
    def trap(self, peer: FakePeer, on: bool) -> None:
        peer.traps = on

    @rule(sender=peers, receiver=peers, reason=REASONS)
    def exit(self, sender: FakePeer, receiver: FakePeer, reason: str) -> None:
        before, heard = receiver.status, len(receiver.inbox)
        signals.signal(receiver, sender.pid, reason)
        if before != "running":
            assert len(receiver.inbox) == heard
            return
        if reason == "kill":
            assert receiver.status == "exiting" and receiver.reasons[-1] == "killed"
        elif receiver.traps:
            assert receiver.inbox[-1] == Exit(sender.pid, reason) and receiver.status == "running"
        elif reason == "normal" and sender is not receiver:
            assert receiver.status == "running" and len(receiver.inbox) == heard
        else:
            assert receiver.status == "exiting" and receiver.reasons[-1] == reason

    @rule(peer=peers, reason=REASONS)
    def end(self, peer: FakePeer, reason: str) -> None:
        if peer.status == "dead":
            return
        told = peer.reasons[-1] if peer.reasons else reason
        mates = [
            one for one in self.all if frozenset((one, peer)) in self.links and one is not peer
        ]
        before = {one: (one.status, one.traps, len(one.reasons)) for one in mates}
        peer.run_down(reason)
        self.links = {pair for pair in self.links if peer not in pair}
        for ref, (watcher, target) in list(self.monitors.items()):
            if peer in (watcher, target):
                del self.monitors[ref]
        for one in mates:
            status, traps, heard = before[one]
            if status != "running":
                assert len(one.reasons) == heard
            elif traps:
                assert Exit(peer.pid, told) in one.inbox
            else:
                assert len(one.reasons) - heard == (told != "normal")

    @invariant()
    def links_are_as_they_should_be(self) -> None:
        found = set()
        for peer in self.all:
            for other in peer.links or ():
                assert linked(peer, other)
                assert "dead" not in (peer.status, other.status)
                found.add(frozenset((peer, other)))
        assert found == self.links

    @invariant()
    def monitors_are_as_they_should_be(self) -> None:
        for peer in self.all:
            for ref in peer.monitors or {}:
                assert self.monitors[ref][0] is peer
            for ref in peer.watchers or {}:
                assert self.monitors[ref][1] is peer
        for ref, (watcher, target) in self.monitors.items():
            assert ref in (watcher.monitors or {}) and ref in (target.watchers or {})

    @invariant()
    def each_monitor_fires_once_at_most(self) -> None:
        fired = [one.ref for peer in self.all for one in peer.inbox if isinstance(one, Down)]
        assert len(fired) == len(set(fired))
        assert not set(fired) & set(self.monitors)

    @invariant()
    def the_dead_hold_nothing(self) -> None:
        for peer in self.all:
            if peer.status == "dead":
                assert not peer.links and not peer.monitors and not peer.watchers


TestSignals = pytest.mark.slow(Signals.TestCase)
TestSignals.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)

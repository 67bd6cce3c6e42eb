"""The rules of links, monitors and exit signals, as plain data and functions.

Nothing here waits and nothing here knows trio: a `Peer` is one end of links and monitors, and what
it does with a message, or with the order to exit, is left to whoever derives from it. The rules
are those of the Erlang reference manual, chapter "Processes".

A peer is *running*, then *exiting* (it has been told to end, and its code is still unwinding), then
*dead*. An exiting peer is not addressable any more: messages and signals to it are lost, a link to
it is a link to the dead. Those who are linked to it or monitor it hear of its end once it is dead.

OTP: on the BEAM there is no exiting state to be seen, since a process that dies runs no more of its
code; here `finally` blocks run first, so that whoever replaces a process never runs beside it.

OTP: of two lethal signals the first one gives the reason. Here a kill reaches a process that still
unwinds from the first, and the reason is `"killed"` then: so a supervisor can tell that it had to.

OTP: a signal is on its way for a moment, and takes effect when its receiver is next scheduled. Here
that is in the step in which it is sent: whoever is told to exit is not alive any more in the next
line, and the `Down` of a dead process is in the mailbox when `monitor` returns, where a `demonitor`
comes too late for it.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from exeunt.kernel.errors import NoProcess
from exeunt.kernel.exits import (
    KILL,
    KILLED,
    NOPROC,
    NORMAL,
    Down,
    Exit,
    Reason,
    Shown,
    is_reason,
)
from exeunt.kernel.ids import Pid, Ref

Status: TypeAlias = Literal["running", "exiting", "dead"]
Effect: TypeAlias = Literal["die", "die_killed", "message", "nothing"]


def effect_of_signal(
    reason: Reason, *, traps: bool, from_link: bool = False, from_itself: bool = False
) -> Effect:
    """Say what an exit signal does to its receiver.

    | signal | receiver traps | does not trap |
    | --- | --- | --- |
    | sent with `kill` | dies, `killed` | dies, `killed` |
    | sent with `normal` by another | message | nothing |
    | sent with `normal` by itself | message | dies, `normal` |
    | sent with another reason | message | dies |
    | of a link, `normal` | message | nothing |
    | of a link, another reason (`kill` too) | message | dies |
    """
    if not from_link and is_reason(reason, KILL):
        return "die_killed"
    if traps:
        return "message"
    if is_reason(reason, NORMAL) and (from_link or not from_itself):
        return "nothing"
    return "die"


class Monitor:
    """One monitor, as both of its ends hold it until it fires or is taken away."""

    __slots__ = ("is_late", "ref", "shown", "target", "watcher")

    def __init__(self, ref: Ref, watcher: Peer, target: Peer, shown: Shown) -> None:
        self.ref = ref
        self.watcher = watcher
        self.target = target
        self.shown = shown
        # Made when the target was exiting already: it fires when the target is dead, and says
        # "noproc", as for any process that was gone before.
        self.is_late = target.status == "exiting"


class Peer:
    """One end of links and monitors.

    Invariants: links are symmetric (`b in a.links` exactly if `a in b.links`); a monitor stands in
    its watcher's `monitors` exactly as long as in its target's `watchers`; a dead peer has neither.
    """

    __slots__ = ("links", "monitors", "pid", "status", "traps", "watchers")

    def __init__(self, pid: Pid) -> None:
        self.pid = pid
        self.status: Status = "running"
        self.traps = False
        # Made when first needed: most processes have few of these. Dicts, for their order.
        self.links: dict[Peer, None] | None = None
        self.monitors: dict[Ref, Monitor] | None = None
        self.watchers: dict[Ref, Monitor] | None = None

    def deliver(self, message: object) -> None:
        """Put a message into the mailbox."""
        raise NotImplementedError

    def begin_exit(self, reason: Reason, by: Pid, *, is_kill: bool = False) -> None:
        """Become exiting, of this reason; called while running, or by a kill while exiting too.

        `by` is the process that the signal came from.
        """
        raise NotImplementedError


def link(one: Peer, other: Peer | None, pid: Pid) -> None:
    """Link two peers; `other` is None when the process `pid` is dead."""
    if one is other or (other is not None and one.links is not None and other in one.links):
        return
    if other is None or other.status != "running":
        if not one.traps:
            raise NoProcess(pid)
        one.deliver(Exit(pid, NOPROC))
        return
    if one.links is None:
        one.links = {}
    if other.links is None:
        other.links = {}
    one.links[other] = None
    other.links[one] = None


def unlink(one: Peer, other: Peer | None) -> None:
    """Take a link away, if there is one: no signal of it comes any more."""
    if other is not None and one.links is not None and other in one.links:
        del one.links[other]
        assert other.links is not None
        del other.links[one]


def monitor(watcher: Peer, target: Peer | None, ref: Ref, shown: Shown) -> None:
    """Let `watcher` hear of the end of `target`, once; `shown` is what the message will name."""
    if target is watcher:
        return
    if target is None or target.status == "dead":
        watcher.deliver(Down(ref, shown, NOPROC))
        return
    entry = Monitor(ref, watcher, target, shown)
    if watcher.monitors is None:
        watcher.monitors = {}
    if target.watchers is None:
        target.watchers = {}
    watcher.monitors[ref] = entry
    target.watchers[ref] = entry


def demonitor(watcher: Peer, ref: Ref) -> bool:
    """Take a monitor away; False if it has fired, or is not one of this watcher."""
    entry = watcher.monitors.pop(ref, None) if watcher.monitors else None
    if entry is None:
        return False
    assert entry.target.watchers is not None
    del entry.target.watchers[ref]
    return True


def signal(target: Peer | None, sender: Pid, reason: Reason, *, from_link: bool = False) -> None:
    """Send an exit signal; one to the dead is lost.

    A `kill` reaches a peer that is exiting already, because that one may hang in its clean-up.
    """
    if target is None or target.status == "dead":
        return
    effect = effect_of_signal(
        reason, traps=target.traps, from_link=from_link, from_itself=sender is target.pid
    )
    if effect == "die_killed":
        target.begin_exit(KILLED, sender, is_kill=True)
    elif target.status != "running":
        return
    elif effect == "message":
        target.deliver(Exit(sender, reason))
    elif effect == "die":
        target.begin_exit(reason, sender)


def depart(peer: Peer, reason: Reason) -> None:
    """Tell everybody who must know that `peer` has ended: first links, then monitors.

    Each in the order in which they were made. Afterwards the peer has no links and no monitors.
    """
    peer.status = "dead"
    if peer.monitors:
        for entry in peer.monitors.values():
            assert entry.target.watchers is not None
            del entry.target.watchers[entry.ref]
    links, watchers = peer.links, peer.watchers
    peer.links = peer.monitors = peer.watchers = None
    if links:
        for other in links:
            assert other.links is not None
            del other.links[peer]
        for other in links:
            signal(other, peer.pid, reason, from_link=True)
    if watchers:
        for entry in watchers.values():
            assert entry.watcher.monitors is not None
            del entry.watcher.monitors[entry.ref]
        for entry in watchers.values():
            if entry.watcher.status == "running":
                told = NOPROC if entry.is_late else reason
                entry.watcher.deliver(Down(entry.ref, entry.shown, told))

"""The supervision tree of a node, as data and as text: who runs, under whom, and how each is.

    print(tree())
    # <0.0> main, running
    # └── <0.1> 'app' Supervisor, waiting
    #     ├── 'store': <0.2> 'store' Store, permanent, waiting
    #     ├── 'rooms': <0.3> DynamicSupervisor, permanent, waiting
    #     │   ├── <0.7> Room, temporary, suspended
    #     │   └── <0.9> Room, temporary, zombie
    #     └── 'cache': not running, transient, restarting

A supervisor's children stand in order of start, whether they run or not; then, as under any other
process, come those that it has spawned besides. No process is asked: a supervisor that is busy,
suspended or hangs is shown like any other.

OTP: `which_children` and the Observer call each supervisor, and wait for it.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from exeunt.kernel.ids import Pid
from exeunt.kernel.node import Node
from exeunt.kernel.process import Process, current_process
from exeunt.otp.children import ChildState
from exeunt.otp.dynamic_supervisor import DynamicSupervisor
from exeunt.otp.server_loop import ServerLoop
from exeunt.otp.supervision import ChildSpec, ChildType, RestartType
from exeunt.otp.supervisor import Supervisor

BranchStatus: TypeAlias = Literal[
    "running", "waiting", "suspended", "exiting", "dead", "zombie", "restarting", "stopped"
]
"""At work; waiting for a message; suspended; told to end; ended, and its supervisor has not noticed
yet; declared dead, with code that does not stop; about to be restarted; known to its supervisor but
not running."""


@dataclass(frozen=True, slots=True, repr=False)
class Branch:
    """A process, or a child that does not run, with those below it.

    `label` is the server's class or the function; `restart` is None for a process that is no
    supervisor's child, and `id` is that of the child within its supervisor, None in a dynamic one.
    """

    pid: Pid | None
    name: str | None
    label: str
    type: ChildType
    status: BranchStatus
    id: object = None
    restart: RestartType | None = None
    children: tuple[Branch, ...] = ()

    def __repr__(self) -> str:
        return f"<Branch {self}: {len(self.children)} below>"

    def __str__(self) -> str:
        words = [
            "not running" if self.pid is None else repr(self.pid),
            "" if self.name is None else _shown(self.name),
            self.label if self.label.isprintable() else _shown(self.label),
        ]
        line = " ".join(word for word in words if word)
        if self.id is not None:
            line = f"{_shown(self.id)}: {line}"
        return ", ".join(word for word in (line, self.restart, self.status) if word)


@dataclass(frozen=True, slots=True, repr=False)
class Tree:
    """All processes of a node at one moment; iterating gives each of them, from the top down.

    The first of `roots` is the main process; the others are processes whose parent is gone, the
    oldest first.
    """

    roots: tuple[Branch, ...]

    def __iter__(self) -> Iterator[Branch]:
        waiting = list(reversed(self.roots))
        while waiting:
            branch = waiting.pop()
            yield branch
            waiting.extend(reversed(branch.children))

    def __repr__(self) -> str:
        return f"<Tree of {sum(1 for _ in self)} branches>"

    def __str__(self) -> str:
        return self.render()

    def find(self, process: Pid | str) -> Branch | None:
        """Return the branch of a process, by its pid or its name."""
        for branch in self:
            if process in (branch.pid, branch.name):
                return branch
        return None

    def render(self, *, most: int | None = None) -> str:
        """Write the tree as text, a line for each branch.

        With `most`, only so many below each branch, and how many more there are.
        """
        lines: list[str] = []
        # What is still to be written: the text before it, the same for those below, and the branch,
        # or the number of those that are left out.
        waiting: list[tuple[str, str, Branch | int]] = [("", "", one) for one in self.roots[::-1]]
        while waiting:
            before, below, branch = waiting.pop()
            if isinstance(branch, int):
                lines.append(f"{before}… and {branch} more")
                continue
            lines.append(before + str(branch))
            children: list[Branch | int] = list(branch.children)
            if most is not None and len(children) > most:
                children[most:] = [len(children) - most]
            for number, child in enumerate(reversed(children)):
                corner, line = ("└── ", "    ") if number == 0 else ("├── ", "│   ")
                waiting.append((below + corner, below + line, child))
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Child:
    """What a supervisor knows of a child."""

    id: object
    spec: ChildSpec
    state: ChildState


class _Draft:
    """A branch that is being made."""

    __slots__ = ("branches", "child", "process")

    def __init__(self, process: Process | None, child: _Child | None = None) -> None:
        self.process = process
        self.child = child
        self.branches: list[_Draft] = []


def tree(node: Node | None = None) -> Tree:
    """Return the processes of a node, by default this one, as a tree.

    A plain function, which neither waits nor asks a process: what it returns holds for the moment
    of the call.
    """
    if node is None:
        node = current_process().node
    processes = {one.pid: one for one in (*node.processes.values(), *node.zombies.values())}
    listed: dict[Pid, list[_Child]] = {}
    for process in processes.values():
        children = _children_of(process)
        if children is not None:
            listed[process.pid] = children
    # A supervisor's child is shown there, wherever it was spawned.
    supervised = {child.state for children in listed.values() for child in children}
    spawned: dict[Pid | None, list[Process]] = {}
    for process in sorted(processes.values(), key=lambda one: one.pid):
        if process is not node.main and process.pid not in supervised:
            parent = process.parent if process.parent in processes else None
            spawned.setdefault(parent, []).append(process)
    drafts: list[_Draft] = []
    shown: set[Pid] = set()
    roots = [_Draft(process) for process in (node.main, *spawned.get(None, ()))]
    waiting = roots[::-1]
    # What is left when nothing waits is below itself: a supervisor was told that its child is a
    # process above it.
    while waiting or len(shown) < len(processes):
        if not waiting:
            rest = _Draft(next(one for pid, one in processes.items() if pid not in shown))
            roots.append(rest)
            waiting.append(rest)
        draft = waiting.pop()
        drafts.append(draft)
        if draft.process is None or draft.process.pid in shown:
            continue
        pid = draft.process.pid
        shown.add(pid)
        for child in listed.get(pid, ()):
            known = processes.get(child.state) if isinstance(child.state, Pid) else None
            draft.branches.append(_Draft(known, child))
        draft.branches += [_Draft(process) for process in spawned.get(pid, ())]
        waiting += draft.branches[::-1]
    # From the bottom up, and not by recursion: a chain of processes may be long.
    finished: dict[_Draft, Branch] = {}
    for draft in reversed(drafts):
        below = tuple(finished.pop(one) for one in draft.branches)
        finished[draft] = _finish(draft, below, node, listed)
    return Tree(tuple(finished[draft] for draft in roots))


def _finish(
    draft: _Draft, below: tuple[Branch, ...], node: Node, supervisors: Container[Pid]
) -> Branch:
    process, child = draft.process, draft.child
    kind: ChildType = "worker" if child is None else child.spec.type
    status: BranchStatus
    if process is not None:
        status = _status_of(process, node)
        if process.pid in supervisors:
            kind = "supervisor"
    elif child is not None and child.state == "restarting":
        status = "restarting"
    else:
        status = "stopped" if child is None or child.state is None else "dead"
    pid = process.pid if process is not None else None if child is None else child.state
    return Branch(
        pid=pid if isinstance(pid, Pid) else None,
        name=None if process is None else process.name,
        label="" if process is None else process.label,
        type=kind,
        status=status,
        id=None if child is None else child.id,
        restart=None if child is None else child.spec.restart,
        children=below,
    )


def _status_of(process: Process, node: Node) -> BranchStatus:
    if process.pid in node.zombies:
        return "zombie"
    if process.status != "running":
        return process.status
    loop = _loop_of(process)
    if loop is not None and loop.is_suspended:
        return "suspended"
    return "running" if process.mailbox.receiver is None else "waiting"


def _loop_of(process: Process) -> ServerLoop | None:
    """Return the loop of a server, by what it adds to crash reports."""
    loop = getattr(process.describe, "__self__", None)
    return loop if isinstance(loop, ServerLoop) else None


def _children_of(process: Process) -> list[_Child] | None:
    """Return what a supervisor knows of its children; None if the process is no supervisor."""
    loop = _loop_of(process)
    server = None if loop is None else loop.server
    # One whose init has not begun has no attributes yet.
    known = {} if server is None else vars(server)
    if isinstance(server, Supervisor):
        children = known.get("_children", {}).values()
        return [_Child(one.spec.id, one.spec, one.pid) for one in children]
    if isinstance(server, DynamicSupervisor):
        # The ids of specifications mean nothing in it.
        running = known.get("_children", {}).items()
        restarting = known.get("_restarting", {}).values()
        return [
            *(_Child(None, spec, pid) for pid, spec in running),
            *(_Child(None, spec, "restarting") for spec in restarting),
        ]
    return None


def _shown(value: object, most: int = 80) -> str:
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(value).__name__}, whose repr() failed: {type(error).__name__}>"
    text = "".join(one if one.isprintable() else " " for one in text)
    return text if len(text) <= most else f"{text[:most]}…"


__all__ = ["Branch", "BranchStatus", "Tree", "tree"]

"""Looking at one process without asking it: what it is, how it is, and where its code stands.

The observer must show a process that hangs as well as one that answers, so it sends nothing to
those that it shows: it reads what the kernel and the supervisors keep. What is read so is never the
state of a server or the content of a message, which may be secret.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from itertools import islice
from types import FrameType
from typing import Any, Final, Literal, TypeAlias

from exeunt.kernel.ids import Pid
from exeunt.kernel.process import Process
from exeunt.otp.dynamic_supervisor import DynamicSupervisor
from exeunt.otp.genserver import GenServer
from exeunt.otp.server_loop import ServerLoop
from exeunt.otp.supervision import ChildSpec
from exeunt.otp.supervisor import Supervisor
from exeunt.otp.tree import BranchStatus

MOST_FRAMES: Final = 60
"""How many frames of a stack are looked at."""

MOST_TEXT: Final = 120
"""Characters of a label, a name, or an id that are shown."""

MOST_IDS: Final = 4096
"""How many ids that are no strings are kept as text."""

ChildState: TypeAlias = "Pid | Literal['restarting'] | None"

# Frames that say nothing of what a process does.
_PLUMBING = ("trio.", "outcome.", "contextlib")
_LIBRARY = ("exeunt.kernel.", "exeunt.otp.", "exeunt.channels.")


def cut(text: str, most: int = MOST_TEXT) -> str:
    """Return a text on one line, without control characters, shortened."""
    if len(text) > most:
        text = f"{text[: most - 1]}…"
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else " " for one in text)


def shown_id(id: object) -> str:
    """Return the id of a child as text: a string as it is, anything else by its `repr`."""
    if isinstance(id, str):
        return cut(id)
    try:
        return cut(repr(id))
    except Exception as error:
        return f"<{type(id).__name__}, whose repr() failed: {type(error).__name__}>"


class Ids:
    """The ids of children as text, each written once: a `repr` of the user's may take long."""

    def __init__(self) -> None:
        # By the address of the id, with the id itself, so that nothing else can be there meanwhile.
        self._texts: dict[int, tuple[object, str]] = {}

    def __call__(self, id: object) -> str:
        """Return an id as text."""
        if isinstance(id, str):
            return cut(id)
        known = self._texts.get(address(id))
        if known is None:
            if len(self._texts) >= MOST_IDS:
                self._texts.clear()
            known = self._texts[address(id)] = (id, shown_id(id))
        return known[1]

    def forget(self) -> None:
        """Keep none of them any longer."""
        self._texts.clear()


address: Final = id


# -- what it is -----------------------------------------------------------------------------------


def loop_of(process: Process) -> ServerLoop | None:
    """Return the loop of a server, which the process has by what it adds to crash reports."""
    loop = getattr(process.describe, "__self__", None)
    return loop if isinstance(loop, ServerLoop) else None


def server_of(process: Process) -> GenServer | None:
    """Return the server that a process runs; None if it runs a plain function, or a channel."""
    loop = loop_of(process)
    return None if loop is None else loop.server


def status_of(process: Process, zombies: Container[Pid]) -> BranchStatus:
    """Say how a process is."""
    if process.pid in zombies:
        return "zombie"
    if process.status != "running":
        return process.status
    loop = loop_of(process)
    if loop is not None and loop.is_suspended:
        return "suspended"
    return "running" if process.mailbox.receiver is None else "waiting"


# -- whom it supervises ---------------------------------------------------------------------------


class Family:
    """The children of one supervisor, as it knows them now."""

    __slots__ = ("_known", "is_dynamic", "server")

    def __init__(self, server: GenServer) -> None:
        self.server = server
        self.is_dynamic = isinstance(server, DynamicSupervisor)
        # One whose init has not begun has no attributes yet.
        self._known: dict[str, Any] = vars(server)

    def __contains__(self, pid: Pid) -> bool:
        return pid in self._known.get("_children" if self.is_dynamic else "_running", ())

    def __len__(self) -> int:
        return len(self._children) + len(self._restarting)

    def first(self, most: int) -> Iterator[tuple[ChildSpec, ChildState]]:
        """Yield the first children, in order of start, and which process each is."""
        if self.is_dynamic:
            for pid, spec in list(islice(self._children.items(), most)):
                yield spec, pid
            rest = max(0, most - len(self._children))
            for spec in list(islice(self._restarting.values(), rest)):
                yield spec, "restarting"
            return
        for child in list(islice(self._children.values(), most)):
            yield child.spec, child.pid

    def pid_of(self, id: str) -> Pid | None:
        """Return the process of a child that has an id."""
        child = None if self.is_dynamic else self._children.get(id)
        return child.pid if child is not None and isinstance(child.pid, Pid) else None

    @property
    def _children(self) -> dict[Any, Any]:
        found: dict[Any, Any] = self._known.get("_children", {})
        return found

    @property
    def _restarting(self) -> dict[Any, Any]:
        found: dict[Any, Any] = self._known.get("_restarting", {}) if self.is_dynamic else {}
        return found


def family_of(process: Process) -> Family | None:
    """Return the children of a supervisor; None if the process is none."""
    server = server_of(process)
    return Family(server) if isinstance(server, (Supervisor, DynamicSupervisor)) else None


# -- where its code stands ------------------------------------------------------------------------


def _frames(process: Process) -> list[tuple[FrameType, int]]:
    """Return the frames of a process's own task, innermost last, without those of trio."""
    task = process.task
    if task is None:
        return []
    found: list[tuple[FrameType, int]] = []
    try:
        for frame, number in islice(task.iter_await_frames(), MOST_FRAMES):
            if not _module(frame).startswith(_PLUMBING):
                found.append((frame, number))
    except Exception:
        # What it awaits is of a kind that trio cannot look into, or it runs right now.
        pass
    return found


def _module(frame: FrameType) -> str:
    return f"{frame.f_globals.get('__name__', '?')}."


def _place(frame: FrameType, number: int) -> str:
    return place(_module(frame)[:-1], number, frame.f_code.co_qualname)


def place(module: str, number: int, function: str) -> str:
    """Write where code stands: the function first, since that says the most."""
    return cut(f"{function} at {module}:{number}", 200)


def line_of(process: Process) -> str:
    """Say where the code of a process stands: the innermost place that is not the library's.

    A server that waits has no such place: then it is that of its loop.
    """
    frames = _frames(process)
    for frame, number in reversed(frames):
        if not _module(frame).startswith(_LIBRARY):
            return _place(frame, number)
    for frame, number in reversed(frames):
        if not _module(frame).startswith("exeunt.kernel."):
            return _place(frame, number)
    return _place(*frames[-1]) if frames else ""


def stack_of(process: Process) -> list[str]:
    """Return where each function of a process stands, innermost last."""
    return [_place(frame, number) for frame, number in _frames(process)]


def local_of(process: Process, code: object, name: str) -> object:
    """Return a local variable of the frame of a process that runs `code`; None without one."""
    for frame, _ in _frames(process):
        if frame.f_code is code:
            return frame.f_locals.get(name)
    return None


# -- its mailbox ----------------------------------------------------------------------------------


def kinds_of_messages(process: Process, most: int = 1000) -> dict[str, int]:
    """Count the first messages that wait by their classes; what is in them is not looked at."""
    kinds: dict[str, int] = {}
    for message in islice(process.mailbox.messages, most):
        kind = cut(type(message).__name__)
        kinds[kind] = kinds.get(kind, 0) + 1
    return kinds

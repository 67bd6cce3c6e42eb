"""Application: a part of a program that is started and stopped as a whole, with what it needs.

    class Store(Application):
        async def start(self) -> Pid:
            return await Supervisor.start_link([Agent.named("store").child(dict[str, str])])

    class Chat(Application):
        applications = (Store(),)

        async def start(self) -> Pid:
            return await Supervisor.start_link([Agent.named("rooms").child(list[str])])

    assert await ensure_all_started(Chat()) == ["Store", "Chat"]
    assert [one.name for one in which_applications()] == ["Store", "Chat"]
    await stop_application("Chat")

`start` starts a supervisor, and returns its pid: that is the top of the application's tree. It runs
in a process of the application's own, which the tree is linked to, and which stays to see it off.
An application is stopped from the top: `prep_stop` runs, the tree is shut down however long that
takes, `stop` runs, and what the application has started outside of its tree is killed. When the
node closes, its applications are stopped in the reverse order of their start.

What comes of the end of a tree that nobody has stopped is said where the application is started.
The end of a *permanent* application ends the whole node, and so does that of a *transient* one
unless its reason is `"normal"`: `open_node` then raises `ApplicationEnded`. That of a *temporary*
one is logged.

A program with one tree needs none of this: it starts its supervisor and is done. An application is
for parts that others take into their programs, each with its own tree, and that need each other.
The rules are those of OTP's `application`; its configuration is the arguments of your class.
"""

from __future__ import annotations

from contextlib import suppress

from exeunt.kernel.errors import AlreadyStarted, StartError
from exeunt.kernel.ids import Pid
from exeunt.otp.application_controller import (
    CONTROLLER,
    ApplicationEnded,
    ApplicationExited,
    Controller,
    NotStarted,
    controller,
    tables,
)
from exeunt.otp.application_process import Application, ApplicationInfo
from exeunt.otp.supervision import RestartType, check_choice


async def start_application(application: Application, restart: RestartType = "temporary") -> Pid:
    """Start an application; return the pid of its top supervisor.

    Raises `NotStarted` if one that it needs does not run, `AlreadyStarted` if it runs itself, and
    `StartFailed` with the reason if its `start` fails. It goes on to start if the caller gives up.
    """
    check_choice("restart", restart, RestartType)
    return await Controller.begin(await controller(), application, restart)


async def ensure_all_started(
    application: Application, restart: RestartType = "temporary"
) -> list[str]:
    """Start an application and all that it needs, those first.

    Returns the names of those that were started; what runs already is left as it is. If one does
    not start, those that were started for it are stopped again.
    """
    started: list[str] = []
    try:
        for one in _in_order(application):
            try:
                await start_application(one, restart)
            except AlreadyStarted:
                continue
            started.append(one.name)
    except StartError:
        for name in reversed(started):
            with suppress(NotStarted):  # it may have ended by itself meanwhile
                await stop_application(name)
        raise
    return started


async def stop_application(application: Application | str) -> None:
    """Stop an application, given itself or by its name, and wait for the end of all of it.

    Those that need it are left as they are. Raises `NotStarted`.
    """
    name = application if isinstance(application, str) else application.name
    await Controller.end(await controller(), name)


def which_applications() -> list[ApplicationInfo]:
    """Return the applications that run, in the order of their start."""
    table = tables.find(CONTROLLER)
    return [] if table is None else [one.info for one in table.values() if one.info is not None]


def _in_order(application: Application) -> list[Application]:
    """Return an application and all that it needs, each after what it needs itself."""
    ordered: dict[str, Application] = {}
    path: dict[str, None] = {}

    def visit(one: Application) -> None:
        if one.name in path:
            names = list(path)
            cycle = [*names[names.index(one.name) :], one.name]
            raise ValueError(f"the applications need each other: {' -> '.join(cycle)}")
        if one.name in ordered:
            return
        path[one.name] = None
        for needed in one.applications:
            visit(needed)
        del path[one.name]
        ordered[one.name] = one

    visit(application)
    return list(ordered.values())


__all__ = [
    "Application",
    "ApplicationEnded",
    "ApplicationExited",
    "ApplicationInfo",
    "NotStarted",
    "ensure_all_started",
    "start_application",
    "stop_application",
    "which_applications",
]

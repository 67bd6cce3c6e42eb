"""Listening sockets: opening them with errors that help, and accepting without ever spinning.

trio's own listeners give trio's own streams; a connection here is a `ByteStream`, made of the bare
socket that was accepted.

    [listener] = await open_listeners("127.0.0.1", 4000)
    while True:
        stream = await accept(listener)
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

import trio

from exeunt.channels.stream import ByteStream

__all__ = ["accept", "open_listeners"]

_STOPPED = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP})
_ONE_CLIENT = frozenset(
    {
        errno.ECONNABORTED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EPERM,
        errno.EPROTO,
        errno.ETIMEDOUT,
    }
)  # what accept(2) reports of a single client, whose connection is gone with the report
_ADDRESS_TROUBLE = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})


async def open_listeners(
    host: str | None, port: int, *, backlog: int = 1024
) -> list[socket.socket]:
    """Listen on every address of `host` (None: on all addresses of this machine).

    Returns bound, non-blocking sockets, to be closed by the caller. With port 0 the kernel chooses
    one, the same for all addresses. An address family that the machine lacks is skipped as long
    as one address works.

    Raises `OSError`, whose message names the host, the port and the way out, when the port is taken
    or may not be used, and when the host is unknown.
    """
    given: object = port
    if not isinstance(given, int) or isinstance(given, bool) or not 0 <= given <= 65535:
        raise ValueError(f"port is a number from 0 (any free one) to 65535, not {given!r}")
    name: object = host
    if name is not None and not isinstance(name, str):
        raise TypeError(f"host is a name, an address, or None for all of them, not {name!r}")
    try:
        found = await trio.socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise OSError(
            error.errno,
            f"cannot listen on {host}: {error.strerror}; use an address of this machine",
        ) from error
    listeners: list[socket.socket] = []
    failure: OSError | None = None
    try:
        for family, kind, proto, _, found_address in dict.fromkeys(found):
            address: Any = found_address  # its shape depends on the family
            if port == 0 and listeners:
                address = (address[0], listeners[0].getsockname()[1], *address[2:])
            try:
                listeners.append(_listen(family, kind, proto, address, backlog))
            except OSError as error:
                if error.errno not in _ADDRESS_TROUBLE:
                    raise
                failure = error
        if failure is not None and not listeners:
            raise failure
    except OSError as error:
        for listener in listeners:
            listener.close()
        raise OSError(error.errno, _mend(error, host, port)) from error
    return listeners


def _listen(family: int, kind: int, proto: int, address: Any, backlog: int) -> socket.socket:
    sock = socket.socket(family, kind, proto)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _mend(error: OSError, host: str | None, port: int) -> str:
    where = f"cannot listen on port {port} of {host or 'this machine'}: {error.strerror}"
    if error.errno == errno.EADDRINUSE:
        return f"{where}; stop what listens there, choose another port, or 0 for any free one"
    if error.errno == errno.EACCES:
        return f"{where}; ports below 1024 need a privilege: choose a higher one"
    return f"{where}; choose an address of this machine"


async def accept(
    listener: socket.socket,
    *,
    max_queued: int = 1024 * 1024,
    on_trouble: Callable[[OSError], None] | None = None,
) -> ByteStream:
    """Accept the next connection of `listener`.

    A client that is gone before it was accepted is skipped. When accepting fails otherwise (mostly
    for want of file descriptors), `on_trouble` hears of it, and after a tenth of a second it is
    tried again: meanwhile clients wait in the backlog.

    Raises `trio.ClosedResourceError` once the listener is closed (`trio.lowlevel.notify_closing`
    it first).
    """
    await trio.lowlevel.checkpoint()
    while True:
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, InterruptedError):
            await trio.lowlevel.wait_readable(listener)
        except OSError as error:
            if error.errno in _STOPPED:
                raise trio.ClosedResourceError("this listener is closed") from error
            if error.errno in _ONE_CLIENT:
                await trio.lowlevel.checkpoint()
            else:
                if on_trouble is not None:
                    on_trouble(error)
                await trio.sleep(0.1)
        else:
            return ByteStream(sock, max_queued=max_queued)

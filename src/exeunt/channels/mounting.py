"""What is looked at when a socket is mounted: whether clients can come to it, and to its channels.

Not when the classes are defined, since one that others derive from need not be complete.
"""

from __future__ import annotations

from functools import partial

from exeunt.channels.channel import Channel
from exeunt.channels.checks import check_makes, needed
from exeunt.channels.returns import without_join
from exeunt.channels.socket import Socket

__all__ = ["check_socket", "hidden_patterns"]


def check_socket(make: object) -> None:
    """Raise `TypeError` unless `make` makes sockets, to whose channels somebody can come."""
    if isinstance(make, type) and issubclass(make, Channel):
        raise TypeError(
            f"a mount is given a class of sockets, not the channel {make.__qualname__}: that is "
            f"reached through one, channels = {{'room:*': {make.__qualname__}}}"
        )
    check_makes(make, Socket, "a mount", "sockets")
    kind: object = make.func if isinstance(make, partial) else make
    if isinstance(kind, type) and issubclass(kind, Socket):
        for _, _, route in kind._routes:
            _check_channel(route.channel)


def hidden_patterns(kind: type[Socket]) -> list[tuple[str, str]]:
    """Return the patterns that no topic ever comes to, each with the one ahead that takes all."""
    hidden: list[tuple[str, str]] = []
    for at, (prefix, is_open, _) in enumerate(kind._routes):
        for earlier, is_wide, _ in kind._routes[:at]:
            if is_wide and prefix.startswith(earlier):
                hidden.append((f"{prefix}*" if is_open else prefix, f"{earlier}*"))
                break
    return hidden


def _check_channel(kind: type[Channel]) -> None:
    """Raise `TypeError` if no client could ever join a channel of this class, or not as meant."""
    name = kind.__qualname__
    if kind.join is Channel.join:
        raise TypeError(without_join(kind))
    missing = needed(kind)
    if missing:
        raise TypeError(
            f"{name} is made without arguments, and needs {', '.join(missing)}: have them in the "
            f"assigns, by the socket's `connect` or a Route({name}, {{…}})"
        )
    if not kind.intercepts:
        order = kind.__mro__
        outs = next(at for at, one in enumerate(order) if "handle_out" in vars(one))
        events = next(at for at, one in enumerate(order) if "intercepts" in vars(one))
        # A class may well take back what one that it derives from has intercepted.
        if outs <= events and order[outs] is not Channel:
            raise TypeError(f"{name}.handle_out is never called: name its events in `intercepts`")

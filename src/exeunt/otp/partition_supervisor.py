"""PartitionSupervisor: the same server several times over, and a key that says which one.

    class Mailer(GenServer):
        async def init(self, partition: int) -> None:
            self.partition = partition

        @on_call
        async def send_to(self, address: str) -> int:
            await trio.sleep(0.1)
            return self.partition

    await PartitionSupervisor.named("mailers").start_link(Mailer.child, partitions=4)

    mailer = PartitionSupervisor.via("mailers", "ada@example.org")
    assert await Mailer.send_to(mailer, "ada@example.org") in range(4)

A server does one thing at a time, so one that everybody asks makes everybody wait. Where what it
keeps can be divided by a key, it can be divided itself: a key always leads to the same partition,
so what is asked about one key is still done one after the other.

There is one processor for all partitions: they share out the waiting, not the computing. A server
that never waits gains nothing.

It is a `Supervisor` with the strategy one_for_one, and its functions serve it as well; the ids of
its children are the numbers of the partitions. The rules are those of Elixir's
`PartitionSupervisor`.

OTP: the number of partitions has no default; it is the number of cores in Elixir. The supervisor
need not have a name: a pid leads to its partitions too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn, TypeAlias
from zlib import crc32

from exeunt.kernel.errors import NotRegistered
from exeunt.kernel.ids import Pid
from exeunt.kernel.names import Destination, Via
from exeunt.otp.results import InitResult
from exeunt.otp.supervision import BadChildSpec, ChildSpec
from exeunt.otp.supervisor import Supervisor
from exeunt.otp.tables import Tables

PartitionKey: TypeAlias = "int | str | bytes | Pid | tuple[PartitionKey, ...] | None"
"""What can lead to a partition: only what gives the same number in every run of a program."""


class PartitionSupervisor(Supervisor):
    """Starts the partitions, and leads from a key to one of them."""

    async def init(  # type: ignore[override]
        self,
        child: ChildSpec | Callable[[int], ChildSpec],
        *,
        partitions: int,
        max_restarts: int = 3,
        max_seconds: float = 5.0,
    ) -> InitResult:
        """Start `partitions` children.

        `child` is their specification, or a function that is given the number of a partition, from
        0 up, and returns its specification. The id in it is replaced by the number.
        """
        given: object = partitions
        if isinstance(given, bool) or not isinstance(given, int) or given < 1:
            raise ValueError(f"partitions is a whole number from 1 up, not {given!r}")
        self._partitions = partitions
        specs = [_spec_of(child, number) for number in range(partitions)]
        _supervisors.give(self._process, self)
        return await super().init(specs, max_restarts=max_restarts, max_seconds=max_seconds)

    @staticmethod
    def via(supervisor: Destination, key: PartitionKey) -> Via:
        """Return the partition of a key as a name: to call it, send to it, cast to it.

        That of a whole number is the remainder of its absolute value. While a partition is being
        restarted it is nobody, as a name is that nobody has. No process can be started under it.
        """
        return PartitionVia(supervisor, key)

    @staticmethod
    def partitions(supervisor: Destination) -> int:
        """Return the number of partitions.

        Raises `NotRegistered` if there is no such supervisor.
        """
        found = _supervisors.find(supervisor)
        if found is None:
            raise NotRegistered(supervisor)
        return found._partitions


@dataclass(frozen=True, slots=True)
class PartitionVia:
    """The partition of a key: what `PartitionSupervisor.via` gives."""

    supervisor: Destination
    key: PartitionKey

    def __post_init__(self) -> None:
        # A key of a wrong type is refused where it is given.
        number_of(self.key)

    def whereis(self) -> Pid | None:
        """Return the process of the partition, or None if it does not run."""
        found = _supervisors.find(self.supervisor)
        if found is None:
            return None
        child = found._children.get(number_of(self.key) % found._partitions)
        return child.pid if child is not None and isinstance(child.pid, Pid) else None

    def register(self, pid: Pid) -> NoReturn:
        """Raise ValueError: a partition is started by its supervisor."""
        raise ValueError(
            f"no process can be started under {self}: it leads to one that its supervisor starts"
        )


def number_of(key: PartitionKey) -> int:
    """Return a number that is the same for equal keys, in every run of a program.

    Not `hash`, whose value for a string differs from run to run.
    """
    return abs(key) if isinstance(key, int) else crc32(_bytes_of(key))


def _bytes_of(key: PartitionKey) -> bytes:
    match key:
        case int():
            return b"i%d" % key
        case str():
            return b"s" + key.encode("utf-8", "surrogatepass")
        case bytes():
            return b"b" + key
        case Pid():
            return b"p%d.%d" % (key.node, key.number)
        case tuple():
            parts = [_bytes_of(one) for one in key]
            return b"t" + b"".join(b"%d:%s" % (len(part), part) for part in parts)
        case None:
            return b"n"
        case _:
            raise TypeError(
                "the key of a partition is an int, a str, bytes, a pid, None, or a tuple of these, "
                f"not {key!r}"
            )


def _spec_of(child: ChildSpec | Callable[[int], ChildSpec], number: int) -> ChildSpec:
    spec: object = child if isinstance(child, ChildSpec) else child(number)
    if not isinstance(spec, ChildSpec):
        raise BadChildSpec(f"the specification of partition {number} is {spec!r}: no ChildSpec")
    return spec.replace(id=number)


_supervisors: Final[Tables[PartitionSupervisor]] = Tables()


__all__ = ["PartitionKey", "PartitionSupervisor"]

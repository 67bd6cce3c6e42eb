"""Process identifiers and references.

Both are numbered by their node in the order of creation, so that two runs of a program give the
same numbers, and both print shortly: `<0.42>`, `#Ref<0.7>`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn, final

if TYPE_CHECKING:
    from exeunt.kernel.process import Process


class _Numbered:
    __slots__ = ("node", "number")

    _shape: Final[str] = "?"

    def __init__(self, node: int, number: int) -> None:
        self.node = node
        self.number = number

    def __lt__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        assert isinstance(other, _Numbered)
        return (self.node, self.number) < (other.node, other.number)

    def __gt__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        assert isinstance(other, _Numbered)
        return (self.node, self.number) > (other.node, other.number)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: object) -> Any:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} means something within its running program only: do not pickle it"
        )


@final
class Pid(_Numbered):
    """The identifier of a process: comparable, ordered by age, hashable, printed as `<0.42>`.

    There is one `Pid` object for a process, and it stays valid as a value when the process is dead.
    It is an address, not a handle: it offers nothing but its number.
    """

    # The process while it is alive, None afterwards: the kernel's way from an address to its table
    # entry. Nobody else reads it.
    __slots__ = ("_process",)

    def __init__(self, node: int, number: int, process: Process | None = None) -> None:
        super().__init__(node, number)
        self._process = process

    def __repr__(self) -> str:
        return f"<{self.node}.{self.number}>"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            """Say what to do to who takes the address for the object."""
            hint = ""
            if not name.startswith("_"):
                hint = (
                    f": a server is asked by way of its class, `Server.{name}({self!r}, …)`, and "
                    "in its own methods, which have `self`, an `@on_call` may be missing"
                )
            raise AttributeError(f"a pid has no {name!r}{hint}", name=name, obj=self)


@final
class Ref(_Numbered):
    """A reference, unique within its node, of a monitor or a timer; printed as `#Ref<0.7>`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"#Ref<{self.node}.{self.number}>"

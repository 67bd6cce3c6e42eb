"""What agents hold, and what their functions take, is inferred."""

from __future__ import annotations

from typing import assert_type

from exeunt.otp.agent import Agent


def plus(state: int, n: int) -> int:
    return state + n


async def main() -> None:
    a = await Agent.start_link(lambda: 40)
    assert_type(a, Agent[int])
    assert_type(await a.get(lambda n: str(n)), str)
    assert_type(await a.get(plus, 3), int)
    await a.update(plus, 3)
    await a.update(lambda n: n + 1)
    assert_type(await a.get_and_update(lambda n: ("x", n)), str)
    a.cast(plus, 1)
    await a.update(lambda n: "x")  # type: ignore[arg-type, return-value]  # pyright: ignore[reportArgumentType]
    await a.update(plus, "x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await a.get_and_update(lambda n: n)  # type: ignore[arg-type, return-value]  # pyright: ignore[reportArgumentType]
    await a.get(plus)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    a.cast(lambda n: None)  # type: ignore[arg-type, return-value]  # pyright: ignore[reportArgumentType]
    b = await Agent.named("x").start_link(dict[str, int])
    assert_type(b, Agent[dict[str, int]])
    c = Agent[int]("x")
    assert_type(await c.get(lambda n: n), int)
    await Agent.start_link(plus, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

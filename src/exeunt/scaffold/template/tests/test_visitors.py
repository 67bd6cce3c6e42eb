"""Who is here."""

from my_app.visitors import Visitors

from exeunt import Node


async def test_who_has_entered_is_here_until_leaving(node: Node) -> None:
    visitors = await Visitors.start_link()
    assert await Visitors.enter(visitors, "Ada") == ["Ada"]
    assert await Visitors.enter(visitors, "Bob") == ["Ada", "Bob"]
    assert await Visitors.leave(visitors, "Ada") == ["Bob"]


async def test_somebody_may_be_here_twice(node: Node) -> None:
    visitors = await Visitors.start_link()
    await Visitors.enter(visitors, "Ada")
    await Visitors.enter(visitors, "Ada")
    assert await Visitors.leave(visitors, "Ada") == ["Ada"]
    assert await Visitors.leave(visitors, "Ada") == []

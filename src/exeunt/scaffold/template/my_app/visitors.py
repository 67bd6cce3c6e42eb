"""Who is here: a process that keeps a list, and answers questions about it one at a time."""

from exeunt import GenServer, on_call


class Visitors(GenServer):
    """Counts visits by name; one person may be here several times."""

    async def init(self) -> None:
        """Begin with nobody."""
        self.visits: dict[str, int] = {}

    @on_call
    async def enter(self, name: str) -> list[str]:
        """Somebody has come; return who is here now."""
        self.visits[name] = self.visits.get(name, 0) + 1
        return sorted(self.visits)

    @on_call
    async def leave(self, name: str) -> list[str]:
        """Somebody has left; return who is here now."""
        visits = self.visits.get(name, 0) - 1
        if visits > 0:
            self.visits[name] = visits
        else:
            self.visits.pop(name, None)
        return sorted(self.visits)

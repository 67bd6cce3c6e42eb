"""The supervision tree of the chat: who is started, in which order, and who goes with whom.

    chat (one_for_one)
    ├─ archive                  what was said
    ├─ watcher                  runs say_goodbye for everybody whose process has ended
    └─ house (rest_for_one)
       ├─ rooms, inboxes        registries: which process is which room, and whose inbox
       ├─ presence              who is here, and who is typing
       ├─ lobby                 which rooms are open
       ├─ room supervisor       a process for each room
       ├─ inbox supervisor      a process for each person
       ├─ endpoint              the port; a process for each connection, and for each channel
       └─ bot                   the prompter

The watcher comes before everybody whom it watches: nobody is ever in a room without being on its
roll, and it is still there when the last of them has gone. Should it crash, it is restarted alone:
the roll is not lost with it, and nobody in the house notices. (Only the archive is there before it:
that is what it writes into when the last start of the server was killed.)

The house is `rest_for_one`: when one of its children crashes, it is restarted together with all
that stand after it, because those use it. So the order says who depends on whom, and the bot is the
last: nothing depends on it, and its crash concerns nobody else.
"""

from __future__ import annotations

from functools import partial

from examples.chat.archive import Archive
from examples.chat.bot import Bot
from examples.chat.channels import Rates
from examples.chat.inboxes import INBOXES
from examples.chat.limits import MOST_INBOXES, MOST_ROOMS
from examples.chat.lobby import Lobby
from examples.chat.rooms import ROOMS
from examples.chat.web import UserSocket, pages
from exeunt import Backoff, ChildSpec, DynamicSupervisor, Supervisor, Watcher
from exeunt.channels import Endpoint, Mount, Presence, PubSub, Tokens


def children(
    tokens: Tokens,
    *,
    host: str = "127.0.0.1",
    port: int = 4000,
    history: str | None = None,
    rates: Rates | None = None,
) -> list[ChildSpec]:
    """Return the children of the chat's supervisor, whose strategy is `one_for_one`.

    With a file for the history, there is another one beside it for the watcher's roll.
    """
    hub = PubSub()
    socket = Mount(
        partial(UserSocket, tokens, Rates() if rates is None else rates),
        auth_token=True,
        # The page sends a heartbeat every 10 seconds: a client that has been silent for longer
        # than that, and a little, has lost its connection.
        timeout=15.0,
        max_frame_size=16 * 1024,
        # A tab that comes back gets the logs of all its rooms at once.
        max_queued=8 * 1024 * 1024,
    )
    house = [
        ROOMS.child(keys="unique", listeners=["lobby", "bot"]),
        INBOXES.child(keys="unique"),
        Presence.named("presence").child(hub),
        Lobby.named("lobby").child(hub),
        DynamicSupervisor.named("room supervisor").child(max_children=MOST_ROOMS),
        DynamicSupervisor.named("inbox supervisor").child(max_children=MOST_INBOXES),
        Endpoint.named("endpoint").child(
            {"/socket": socket}, host=host, port=port, hub=hub, pages=partial(pages, tokens)
        ),
        Bot.named("bot")
        .child(hub)
        # Anybody can make it crash, again and again: so it is not restarted at once each time,
        # which would look to the supervisor like a fault that it cannot mend.
        .replace(backoff=Backoff(initial=1.0, factor=2.0, maximum=30.0)),
    ]
    return [
        Archive.named("archive").child(history),
        Watcher.named("watcher").child(file=None if history is None else f"{history}.roll"),
        Supervisor.named("house").child(house, strategy="rest_for_one"),
    ]

"""The supervision tree: who is started, in which order, and who goes down with whom.

my_app (one_for_one)
├─ lobby (rest_for_one)
│  ├─ visitors      knows who is here
│  ├─ watcher       runs say_goodbye for each who has left
│  └─ endpoint      the port; a process for each connection, and for each visitor
└─ observer         with --observe: a live picture of all this
"""

from exeunt import ChildSpec, Supervisor, Watcher
from exeunt.channels import Endpoint
from exeunt.observer import Observer
from my_app.visitors import Visitors
from my_app.web import HUB, PAGES, VisitorSocket


def lobby(host: str = "127.0.0.1", port: int = 0) -> ChildSpec:
    """Return the part that the visitors depend on: whoever ends takes along those below."""
    return Supervisor.named("lobby").child(
        [
            Visitors.named("visitors").child(),
            Watcher.named("watcher").child(),
            # Last, so that it is the first to stop: then the others still see everybody off.
            Endpoint.named("endpoint").child(
                {"/socket": VisitorSocket}, host=host, port=port, hub=HUB, pages=PAGES
            ),
        ],
        strategy="rest_for_one",
    )


def observer(port: int) -> ChildSpec:
    """Return the observer. It is no part of the lobby, so that it stays when the lobby goes."""
    return Observer.child(port=port, allow_kill=True)

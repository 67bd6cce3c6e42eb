"""What a user's own tests need: clients for channels, and help for processes.

The clients need no sockets: `connect` runs the real session and the real channels on a transport in
memory. How to use all this is told in the guide "Test a channel".
"""

from exeunt.testing.client import Client, JoinRefused, connect
from exeunt.testing.connection import ConnectRefused
from exeunt.testing.joined import JoinedChannel
from exeunt.testing.matching import ANYTHING, containing, satisfying
from exeunt.testing.processes import assert_receive, refute_receive, start_supervised
from exeunt.testing.stage import ChannelCrashed

__all__ = [
    "ANYTHING",
    "ChannelCrashed",
    "Client",
    "ConnectRefused",
    "JoinRefused",
    "JoinedChannel",
    "assert_receive",
    "connect",
    "containing",
    "refute_receive",
    "satisfying",
    "start_supervised",
]

"""More than a server can take, handlers that misbehave, and what the system runs out of.

The servers here are programs of their own: what is measured is theirs alone, a limit that is set is
set for them alone, and a signal reaches nobody else.
"""

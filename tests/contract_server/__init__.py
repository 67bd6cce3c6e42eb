"""A fixed server that clients of every kind are tried on, written with exeunt as its users do.

What it does is agreed with a server of the same contract on Phoenix, so that one suite can drive
both and compare them: channels that echo, crash, stop, sleep and broadcast, and requests under
`/control/` that reach in from outside. `python -m tests.contract_server --port PORT` runs it.
"""

"""What the BEAM gives: processes, mailboxes, links, monitors, exit signals, names and timers.

The kernel knows nothing of servers or supervisors. Read it from `ids` upwards: `exits` and
`signals` hold the rules as plain data, `mailbox` and `process` bring them to life on trio, and
`node` keeps the tables and the order in which everything ends.
"""

"""Real sockets, real disconnects, killed processes: every way in which a client can leave."""

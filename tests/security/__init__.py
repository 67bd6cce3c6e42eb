"""Who tries to get in: raw bytes to a whole server from outside, and a look at what it tells."""

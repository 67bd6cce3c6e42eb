"""A long run under load, while parts of the server are killed: every join has its leave, once."""

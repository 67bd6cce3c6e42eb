"""The client of channels, against real servers and against scripted ones."""

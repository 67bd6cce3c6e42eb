"""Tests of the web room, over real sockets wherever there is a socket."""

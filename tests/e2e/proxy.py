"""A TCP proxy that can go silent: how a test pulls the network out.

While it is silent nothing passes, and neither side is told: no FIN, no RST. Connections do not
outlive the silence: once the network is there again, whoever still believes in one gets a RST, as
from a machine that has forgotten it.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
from types import TracebackType


class SilentProxy:
    """Passes what comes to its own port on to a port of this machine, both ways."""

    def __init__(self, to: int) -> None:
        self._to = ("127.0.0.1", to)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._waker, self._wakes = socket.socketpair()
        self._selector.register(self._wakes, selectors.EVENT_READ)
        self._other: dict[socket.socket, socket.socket] = {}
        self._dead: list[socket.socket] = []
        # Held while anything passes, so that nothing does any more when `go_silent` returns.
        self._lock = threading.Lock()
        self._is_silent = False
        self._is_over = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def go_silent(self) -> None:
        """Let nothing pass from here on."""
        with self._lock:
            self._is_silent = True
            for sock in self._other:
                self._selector.unregister(sock)
            self._dead += self._other
            self._other.clear()

    def speak(self) -> None:
        """Let new connections pass again, and reset the old ones."""
        with self._lock:
            self._is_silent = False
            for sock in self._dead:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
            self._dead.clear()
        self._waker.send(b"!")

    def _run(self) -> None:
        while not self._is_over:
            ready = self._selector.select()
            with self._lock:
                for key, _ in ready:
                    sock = key.fileobj
                    assert isinstance(sock, socket.socket)
                    if sock is self._wakes:
                        sock.recv(4096)
                        if not self._is_silent and not self._listens():
                            self._selector.register(self._listener, selectors.EVENT_READ)
                    elif sock is self._listener:
                        self._accept()
                    elif sock in self._other:
                        self._pass_on(sock)

    def _listens(self) -> bool:
        return self._listener in self._selector.get_map()

    def _accept(self) -> None:
        if self._is_silent:
            # Whoever connects now waits in the kernel's queue.
            self._selector.unregister(self._listener)
            return
        try:
            near, _ = self._listener.accept()
        except OSError:
            return
        try:
            far = socket.create_connection(self._to)
        except OSError:
            near.close()
            return
        for sock, other in ((near, far), (far, near)):
            sock.setblocking(True)
            self._other[sock] = other
            self._selector.register(sock, selectors.EVENT_READ)

    def _pass_on(self, sock: socket.socket) -> None:
        other = self._other[sock]
        try:
            data = sock.recv(65536)
            if data:
                other.sendall(data)
                return
        except OSError:
            pass
        for one in (sock, other):
            self._selector.unregister(one)
            del self._other[one]
            one.close()

    def __enter__(self) -> SilentProxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_over = True
        self._waker.send(b"!")
        self._thread.join()
        self._selector.close()
        with contextlib.ExitStack() as stack:
            for sock in (*self._other, *self._dead, self._listener, self._waker, self._wakes):
                stack.callback(sock.close)

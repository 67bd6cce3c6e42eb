"""Static files: a folder of pages, scripts and pictures, served as they are.

    files = StaticFiles("static")
    ...
    return await files.respond(request, request.path)

Only what lies in the folder is served, whatever the path says. Every file has a strong ETag made from
its content, so that a browser that has it is answered 304.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from exeunt.channels.http_messages import Headers, Request, Response

__all__ = ["StaticFiles"]

TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".gif": "image/gif",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}

CACHED_BYTES: Final = 8 * 1024 * 1024
"""How much of the folder is kept in memory, in bytes: the files that were read last."""

LARGEST_FILE: Final = 64 * 1024 * 1024
"""Bytes of the largest file that is served: a file goes out in one piece."""


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it was when it was read."""

    stamp: tuple[int, int, int]
    body: bytes
    etag: str


class StaticFiles:
    """The files of one folder."""

    def __init__(
        self, directory: str | os.PathLike[str], *, index: str = "index.html", headers: Headers = ()
    ) -> None:
        """Serve `directory`; a path that ends in a slash means its `index`.

        `headers` are added to every answer, such as a Content-Security-Policy. Raises `ValueError`
        if there is no such folder.
        """
        root = Path(directory).resolve()
        if not root.is_dir():
            raise ValueError(f"static files come from a folder, and {directory} is none")
        self._root = root
        self._index = index
        self._headers = headers
        self._cache: OrderedDict[Path, _File] = OrderedDict()
        self._cached_bytes = 0

    async def respond(self, request: Request, path: str) -> Response:
        """Answer a request for `path`, decoded, such as `/chat.css`.

        404 for what is not there, lies outside of the folder, or is hidden (a name that begins with
        a dot); 405 for anything but GET and HEAD; 304 if the browser has it already.
        """
        if request.method not in ("GET", "HEAD"):
            return Response.text(405, "method not allowed\n", (("Allow", "GET, HEAD"),))
        location = self._locate(path)
        file = None
        if location is not None:
            file = await trio.to_thread.run_sync(self._read, location)
        if location is None or file is None:
            return Response.text(404, "not found\n", self._headers)
        headers: Headers = (
            ("Content-Type", TYPES.get(location.suffix.lower(), "application/octet-stream")),
            ("ETag", file.etag),
            ("Cache-Control", "no-cache"),
            *self._headers,
        )
        known = request.tokens("if-none-match")
        if "*" in known or any(one.removeprefix("W/") == file.etag for one in known):
            return Response(304, b"", headers[1:])
        return Response(200, file.body, headers)

    def _locate(self, path: str) -> Path | None:
        """Return where a path leads, None if that is nowhere in the folder."""
        if not path.startswith("/") or "\\" in path or "\0" in path:
            return None
        names = path.split("/")[1:]
        if names[-1] == "":
            names[-1] = self._index
        if any(not name or name.startswith(".") for name in names):
            return None
        return self._root.joinpath(*names)

    def _read(self, location: Path) -> _File | None:
        """Read a file, or take it from the cache; runs in a thread.

        Threads may do this side by side: then a file is read twice, and nothing worse.
        """
        try:
            real = location.resolve(strict=True)
            # A link may lead out of the folder.
            if not real.is_relative_to(self._root) or not real.is_file():
                return None
            status = real.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            cached = self._cache.get(real)
            if cached is not None and cached.stamp == stamp:
                return cached
            if status.st_size > LARGEST_FILE:
                return None
            body = real.read_bytes()
        except (OSError, ValueError):
            return None
        file = _File(stamp, body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
        trio.from_thread.run_sync(self._keep, real, file)
        return file

    def _keep(self, real: Path, file: _File) -> None:
        old = self._cache.pop(real, None)
        if old is not None:
            self._cached_bytes -= len(old.body)
        if len(file.body) > CACHED_BYTES // 4:
            return
        self._cache[real] = file
        self._cached_bytes += len(file.body)
        while self._cached_bytes > CACHED_BYTES:
            _, gone = self._cache.popitem(last=False)
            self._cached_bytes -= len(gone.body)

"""Static files: the pages and scripts that belong to a channel server, from one directory.

For pages of one's own, a handful of files that change while one works on them: everything is
revalidated by its ETag, nothing is served but regular files below the directory, and nothing that
a path can say leads out of it. A site with large files or many visitors wants a web server in
front.

    files = StaticFiles("static", headers=(("Content-Security-Policy", "default-src 'self'"),))

    Endpoint.child({"/socket": UserSocket}, pages=files)
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

import trio

from exeunt.channels.http_messages import Headers, Request, Response

__all__ = ["StaticFiles"]

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".gif": "image/gif",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
_UNKNOWN_TYPE = "application/octet-stream"

_Signature: TypeAlias = tuple[int, int, int]  # inode, size, time of the last change in ns


@dataclass(frozen=True, slots=True)
class _File:
    signature: _Signature
    etag: str
    body: bytes


class StaticFiles:
    """The files of one directory, as answers to GET and HEAD.

    `index` is served for a path that ends in `/`; a directory without it is not listed.
    `headers` go with every file; a `Cache-Control` among them replaces `no-cache`, which lets a
    browser keep a file but ask each time. Files whose name, or whose directory's name, begins with
    a dot are not served, nor what a symbolic link finds outside of the directory.

    A file is read whole, so one of more than `max_file_bytes` raises `ValueError` when it is asked
    for (the client gets a 500). Up to `cache_bytes` of the files last asked for are kept in memory.

    Raises `NotADirectoryError` if there is no such directory.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        index: str = "index.html",
        headers: Headers = (),
        max_file_bytes: int = 16 * 1024 * 1024,
        cache_bytes: int = 4 * 1024 * 1024,
    ) -> None:
        self._root = Path(directory).resolve()
        if not self._root.is_dir():
            raise NotADirectoryError(
                f"static files are served from a directory, and {self._root} is none: "
                "give the path of one that exists"
            )
        self._index = index
        given = {name.lower() for name, _ in headers}
        self._headers: Headers = (
            headers if "cache-control" in given else (("Cache-Control", "no-cache"), *headers)
        )
        self._max_file_bytes = max_file_bytes
        self._cache_bytes = cache_bytes
        self._cache: OrderedDict[Path, _File] = OrderedDict()  # the last one used is the last
        self._cached_bytes = 0

    async def __call__(self, request: Request) -> Response:
        """Answer `request` with the file at its path: so it can be the `pages` of an endpoint."""
        return await self.respond(request, request.path)

    async def respond(self, request: Request, path: str) -> Response:
        """Answer `request` with the file at `path` below the directory, or say why not.

        `path` is decoded, as `Request.path` is: the whole of it, or what is left behind a prefix.
        404 for everything that is no file to be served, 405 for other methods than GET and HEAD,
        304 when the client has the file already, 301 for a directory without the `/` behind it.
        """
        if request.method not in ("GET", "HEAD"):
            return Response.text(
                405, f"only GET and HEAD, got {request.method}", (("Allow", "GET, HEAD"),)
            )
        segments = _split(request, path)
        if segments is None:
            return _not_found()
        *folders, name = segments
        found = await trio.to_thread.run_sync(self._find, [*folders, name or self._index])
        if found is None:
            return _not_found()
        file, signature = found
        if signature is None:
            # Behind the redirect, the page's relative links find what stands beside it.
            query = f"?{request.raw_query}" if request.raw_query else ""
            return Response(301, headers=(("Location", f"./{quote(file.name)}/{query}"),))
        known = self._cache.get(file)
        if known is None or known.signature != signature:
            known = await trio.to_thread.run_sync(self._read, file)
            if known is None:
                return _not_found()
            self._remember(file, known)
        else:
            self._cache.move_to_end(file)
        headers = (("ETag", known.etag), *self._headers)
        if _has(request, known.etag):
            return Response(304, headers=headers)
        kind = _TYPES.get(file.suffix.lower(), _UNKNOWN_TYPE)
        return Response(200, known.body, (("Content-Type", kind), *headers))

    def _find(self, segments: list[str]) -> tuple[Path, _Signature | None] | None:
        """Find the file, or the directory (then without a signature); None if it is neither."""
        try:
            file = Path(os.path.realpath(self._root.joinpath(*segments), strict=True))
            status = file.stat()
        except (OSError, ValueError):  # not there, no permission, a name too long, a loop of links
            return None
        if not file.is_relative_to(self._root):
            return None
        if stat.S_ISDIR(status.st_mode):
            return (self._root.joinpath(*segments), None)
        return (file, _signature(status)) if stat.S_ISREG(status.st_mode) else None

    def _read(self, file: Path) -> _File | None:
        try:
            # O_NOFOLLOW: the path has no links in it, unless it was changed after it was found.
            descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        with open(descriptor, "rb") as opened:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return None
            body = opened.read(self._max_file_bytes + 1)
        if len(body) > self._max_file_bytes:
            raise ValueError(
                f"{file} has more than {self._max_file_bytes} bytes: raise max_file_bytes, or "
                "serve large files with a web server in front"
            )
        digest = hashlib.blake2b(body, digest_size=16).hexdigest()
        return _File(_signature(status), f'"{digest}"', body)

    def _remember(self, path: Path, file: _File) -> None:
        old = self._cache.pop(path, None)
        if old is not None:
            self._cached_bytes -= len(old.body)
        if len(file.body) > self._cache_bytes:
            return
        self._cache[path] = file
        self._cached_bytes += len(file.body)
        while self._cached_bytes > self._cache_bytes or len(self._cache) > 1000:
            _, oldest = self._cache.popitem(last=False)
            self._cached_bytes -= len(oldest.body)


def _split(request: Request, path: str) -> list[str] | None:
    """Return the segments of a path, the last one empty if it ends in `/`; None if it is unsafe."""
    raw = request.target.partition("?")[0].lower()
    if "%2f" in raw or "%5c" in raw:
        return None  # a slash that is none for whoever looked at the path before
    segments = path.removeprefix("/").split("/")
    for position, segment in enumerate(segments):
        if not segment and position < len(segments) - 1:
            return None
        if segment.startswith(".") or any(character in segment for character in "\0\\:"):
            return None
    return segments


def _has(request: Request, etag: str) -> bool:
    tags = [tag.removeprefix("W/") for tag in request.tokens("if-none-match")]
    return etag in tags or tags == ["*"]


def _signature(status: os.stat_result) -> _Signature:
    return (status.st_ino, status.st_size, status.st_mtime_ns)


def _not_found() -> Response:
    return Response.text(404, "not found\n")

"""Paths that want out of the directory: raw bytes, to a whole server that serves static files."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from exeunt import open_node, stop, trap_exit
from exeunt.channels import Endpoint, Limits, Request, Response
from exeunt.channels.static import StaticFiles
from tests.channels.sockets import connect

HIDDEN = "what nobody is to read"

TARGETS = [
    b"/../secret.txt",
    b"/a/../../secret.txt",
    b"/%2e%2e/secret.txt",
    b"/%2E./secret.txt",
    b"/.%2e%2fsecret.txt",
    b"/..%5csecret.txt",
    b"/..\\secret.txt",
    b"/a/..\\..\\secret.txt",
    b"/%252e%252e/secret.txt",
    b"/%252e%252e%252fsecret.txt",
    b"/..;/secret.txt",
    b"/%c0%ae%c0%ae/secret.txt",
    b"/%c0%af../secret.txt",
    b"/%e0%80%ae%e0%80%ae/secret.txt",
    b"/\xef\xbc\x8e\xef\xbc\x8e/secret.txt",
    b"/%ef%bc%8e%ef%bc%8e/secret.txt",
    b"/%u002e%u002e/secret.txt",
    b"/%00/../secret.txt",
    b"/page.html%00.txt",
    b"/../secret.txt%00.html",
    b"/ok.txt%20",
    b"//etc/passwd",
    b"///etc/passwd",
    b"/%2fetc/passwd",
    b"/C:/Windows/win.ini",
    b"/file:///etc/passwd",
    b"http://x/../secret.txt",
    b"http://x//etc/passwd",
    b"http:///../secret.txt",
    b"../secret.txt",
    b"/link.txt",
    b"/links/secret.txt",
    b"/links/../secret.txt",
    b"/twice.txt",
    b"/.env",
    b"/.git/config",
    b"/a/.hidden",
    b"/%2eenv",
    b"/folder",
    b"/folder/",
    b"/" + b"../" * 200 + b"etc/passwd",
    b"/" + b"%2e%2e%2f" * 200 + b"etc/passwd",
    b"/ok.txt/../../secret.txt",
    b"/ok.txt/",
    b"/a//../secret.txt",
]


@asynccontextmanager
async def open_site(root: Path) -> AsyncGenerator[int]:
    files = StaticFiles(root)

    async def pages(request: Request) -> Response:
        return await files.respond(request, request.path)

    async with open_node(signals=False):
        trap_exit()
        endpoint = await Endpoint.start_link(
            {}, port=0, pages=pages, limits=Limits(linger_seconds=0.1)
        )
        yield int((await Endpoint.url(endpoint)).rpartition(":")[2])
        await stop(endpoint, "shutdown")


async def ask(port: int, target: bytes) -> bytes:
    async with await connect(port) as peer:
        await peer.send(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return await peer.receive_all()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "static"
    for folder in (root / "a", root / ".git", root / "folder", tmp_path / "outside"):
        folder.mkdir(parents=True)
    (root / "ok.txt").write_text("for everybody")
    (tmp_path / "secret.txt").write_text(HIDDEN)
    (tmp_path / "outside" / "secret.txt").write_text(HIDDEN)
    for inside in (".env", ".git/config", "a/.hidden", "folder/of-no-index.txt"):
        (root / inside).write_text(HIDDEN)
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    (root / "twice.txt").symlink_to("link.txt")
    (root / "links").symlink_to(tmp_path / "outside")
    return root


async def test_no_path_leads_out_of_the_directory(root: Path) -> None:
    async with open_site(root) as port:
        assert b"for everybody" in await ask(port, b"/ok.txt")
        for target in TARGETS:
            said = await ask(port, target)
            status = int(said.split(b" ", 2)[1])
            # A directory is sent to itself with a slash, and not listed there.
            assert status in ((301,) if target == b"/folder" else (400, 404)), (target, said)
            for shown in (HIDDEN.encode(), b"root:", b"of-no-index", os.fsencode(root)):
                assert shown not in said, target
        assert b"for everybody" in await ask(port, b"/ok.txt")


async def test_a_file_that_becomes_a_link_out_of_the_directory_is_served_no_more(
    root: Path,
) -> None:
    async with open_site(root) as port:
        assert b"for everybody" in await ask(port, b"/ok.txt")
        (root / "ok.txt").unlink()
        (root / "ok.txt").symlink_to(root.parent / "secret.txt")
        said = await ask(port, b"/ok.txt")
        assert b" 404 " in said
        assert HIDDEN.encode() not in said

"""Static files: the right types and tags, and no path that leads out of the directory."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote

import pytest
import trio

from exeunt.channels.http import Request, Response, serve_requests
from exeunt.channels.http_messages import Headers
from exeunt.channels.static import StaticFiles

from .sockets import stream_and_peer


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "static"
    (root / "sub").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / ".git").mkdir()
    (root / "index.html").write_text("<h1>hé</h1>", encoding="utf-8")
    (root / "chat.js").write_text("let a = 1")
    (root / "sub" / "index.html").write_text("sub")
    (root / "sub" / "a b.txt").write_text("spaced")
    (root / ".env").write_text("secret")
    (root / ".git" / "config").write_text("secret")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "static-secrets").mkdir()
    (tmp_path / "static-secrets" / "a.txt").write_text("secret")
    return root


async def ask(
    files: StaticFiles,
    target: str,
    *,
    method: str = "GET",
    headers: Headers = (),
    path: str | None = None,
) -> Response:
    raw_path, _, raw_query = target.partition("?")
    request = Request(
        method=method,
        target=target,
        path=unquote(raw_path),
        raw_query=raw_query,
        query={},
        headers=headers,
    )
    return await files.respond(request, request.path if path is None else path)


def header(response: Response, name: str) -> str | None:
    return next((value for key, value in response.headers if key.lower() == name.lower()), None)


async def test_a_file_is_served_with_its_type_tag_and_cache_control(root: Path) -> None:
    response = await ask(StaticFiles(root), "/chat.js?v=1")
    assert (response.status, response.body) == (200, b"let a = 1")
    assert header(response, "Content-Type") == "text/javascript; charset=utf-8"
    assert header(response, "Cache-Control") == "no-cache"
    etag = header(response, "ETag") or ""
    assert etag.startswith('"')
    assert etag.endswith('"')


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.html", "text/html; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.SVG", "image/svg+xml; charset=utf-8"),
        ("a.png", "image/png"),
        ("a.ico", "image/x-icon"),
        ("a.json", "application/json"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.webp", "image/webp"),
        ("a.woff2", "font/woff2"),
        ("a.md", "text/markdown; charset=utf-8"),
        ("a.unknown", "application/octet-stream"),
        ("LICENSE", "application/octet-stream"),
    ],
)
async def test_the_type_follows_from_the_name(root: Path, name: str, kind: str) -> None:
    (root / name).write_bytes(b"x")
    assert header(await ask(StaticFiles(root), f"/{name}"), "Content-Type") == kind


async def test_a_path_that_ends_in_a_slash_gets_the_index(root: Path) -> None:
    files = StaticFiles(root)
    assert (await ask(files, "/")).body == "<h1>hé</h1>".encode()
    assert (await ask(files, "/sub/")).body == b"sub"
    assert (await ask(files, "/", path="")).body == "<h1>hé</h1>".encode()
    assert (await ask(files, "/empty/")).status == 404
    assert (await ask(StaticFiles(root, index="chat.js"), "/")).body == b"let a = 1"


async def test_a_directory_without_the_slash_is_redirected_to_itself_with_it(root: Path) -> None:
    (root / "sub" / "a b").mkdir()
    response = await ask(StaticFiles(root), "/sub?x=1")
    assert (response.status, header(response, "Location")) == (301, "./sub/?x=1")
    response = await ask(StaticFiles(root), "/sub/a%20b")
    assert (response.status, header(response, "Location")) == (301, "./a%20b/")


async def test_names_may_hold_spaces_and_letters_of_any_kind(root: Path) -> None:
    (root / "grüße 100%.txt").write_text("hi")
    assert (await ask(StaticFiles(root), "/sub/a%20b.txt")).body == b"spaced"
    assert (await ask(StaticFiles(root), "/gr%C3%BC%C3%9Fe%20100%25.txt")).body == b"hi"


@pytest.mark.parametrize(
    "target",
    [
        "/missing.txt",
        "/missing/",
        "/chat.js/",
        "/chat.js/x",
        "/..",
        "/../secret.txt",
        "/../static-secrets/a.txt",
        "/sub/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/sub/%2E%2E/chat.js",
        "/..%2fsecret.txt",
        "/sub%2findex.html",
        "/sub%5cindex.html",
        "/..\\secret.txt",
        "//etc/passwd",
        "/sub//index.html",
        "/./chat.js",
        "/.env",
        "/.git/config",
        "/chat.js%00",
        "/chat.js%00.txt",
        "/c:",
        "/" + "a" * 300,
        "/" + "a/" * 3000,
        "*",
        "/%252e%252e/secret.txt",
    ],
)
async def test_every_other_path_is_not_found(root: Path, target: str) -> None:
    response = await ask(StaticFiles(root), target)
    assert response.status == 404
    assert b"secret" not in response.body


async def test_an_absolute_path_behind_a_prefix_stays_below_the_directory(root: Path) -> None:
    secret = root.parent / "secret.txt"
    for path in (str(secret), f"/{secret}", f"//{secret}"):
        assert (await ask(StaticFiles(root), "/x", path=path)).status == 404


async def test_a_link_that_stays_below_the_directory_is_served_and_no_other(root: Path) -> None:
    (root / "inside.js").symlink_to("chat.js")
    (root / "outside.txt").symlink_to(root.parent / "secret.txt")
    (root / "neighbour").symlink_to(root.parent / "static-secrets")
    (root / "loop").symlink_to("loop")
    (root / "dangling").symlink_to("nowhere")
    files = StaticFiles(root)
    assert (await ask(files, "/inside.js")).body == b"let a = 1"
    for path in ("/outside.txt", "/neighbour/a.txt", "/neighbour", "/loop", "/dangling"):
        assert (await ask(files, path)).status == 404


async def test_what_is_no_regular_file_is_not_found_and_holds_nothing(root: Path) -> None:
    os.mkfifo(root / "pipe")
    with trio.fail_after(1):
        assert (await ask(StaticFiles(root), "/pipe")).status == 404


async def test_a_client_that_has_the_file_gets_304(root: Path) -> None:
    files = StaticFiles(root)
    etag = header(await ask(files, "/chat.js"), "ETag") or ""
    for value in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        response = await ask(files, "/chat.js", headers=(("if-none-match", value),))
        assert (response.status, response.body) == (304, b"")
        assert header(response, "ETag") == etag
        assert header(response, "Cache-Control") == "no-cache"
    for value in ('"other"', etag.strip('"'), ""):
        response = await ask(files, "/chat.js", headers=(("if-none-match", value),))
        assert response.status == 200


async def test_a_changed_file_has_another_tag_and_the_same_content_the_same(root: Path) -> None:
    files = StaticFiles(root)
    first = await ask(files, "/chat.js")
    (root / "chat.js").write_text("let a = 2")
    os.utime(root / "chat.js", ns=(0, 1))
    second = await ask(files, "/chat.js")
    assert second.body == b"let a = 2"
    assert header(first, "ETag") != header(second, "ETag")
    (root / "chat.js").write_text("let a = 1")
    os.utime(root / "chat.js", ns=(0, 2))
    third = await ask(StaticFiles(root), "/chat.js")
    assert header(third, "ETag") == header(first, "ETag")
    (root / "chat.js").unlink()
    assert (await ask(files, "/chat.js")).status == 404


async def test_a_file_is_read_once_while_it_stays_the_same(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Path] = []
    read = StaticFiles._read

    def counting(files: StaticFiles, file: Path) -> object:
        reads.append(file)
        return read(files, file)

    monkeypatch.setattr(StaticFiles, "_read", counting)
    files = StaticFiles(root, cache_bytes=1000)
    for _ in range(3):
        await ask(files, "/chat.js")
    assert len(reads) == 1
    for number in range(5):
        (root / f"{number}.txt").write_bytes(b"x" * 300)
        await ask(files, f"/{number}.txt")
    await ask(files, "/4.txt")
    assert len(reads) == 6
    await ask(files, "/chat.js")  # crowded out by the others
    assert len(reads) == 7
    (root / "large.txt").write_bytes(b"x" * 1001)
    for _ in range(2):
        assert len((await ask(files, "/large.txt")).body) == 1001
    assert len(reads) == 9
    await ask(files, "/4.txt")  # a file that does not fit crowds out nobody
    assert len(reads) == 9


async def test_other_methods_are_refused_with_what_is_allowed(root: Path) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        response = await ask(StaticFiles(root), "/chat.js", method=method)
        assert (response.status, header(response, "Allow")) == (405, "GET, HEAD")
    assert (await ask(StaticFiles(root), "/chat.js", method="HEAD")).status == 200


async def test_headers_of_ones_own_go_with_every_file(root: Path) -> None:
    policy = ("Content-Security-Policy", "default-src 'self'")
    files = StaticFiles(root, headers=(policy, ("Cache-Control", "max-age=60")))
    response = await ask(files, "/")
    assert policy in response.headers
    assert [value for name, value in response.headers if name == "Cache-Control"] == ["max-age=60"]


async def test_a_file_over_the_bound_is_an_error_of_the_owner(root: Path) -> None:
    files = StaticFiles(root, max_file_bytes=5)
    with pytest.raises(ValueError, match="max_file_bytes"):
        await ask(files, "/chat.js")


def test_a_directory_that_is_none_is_refused_when_it_is_given(root: Path) -> None:
    for path in (root / "nowhere", root / "chat.js"):
        with pytest.raises(NotADirectoryError, match="give the path of one that exists"):
            StaticFiles(path)


async def test_files_are_served_over_a_real_connection(root: Path) -> None:
    files = StaticFiles(root)

    async def respond(request: Request) -> Response:
        return await files.respond(request, request.path)

    async with stream_and_peer() as (stream, peer), trio.open_nursery() as nursery:
        nursery.start_soon(serve_requests, stream, respond)
        await peer.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\nGET /../secret.txt HTTP/1.1\r\n")
        await peer.send(b"Host: x\r\n\r\nGET /chat.js HTTP/1.0\r\n\r\n")
        said = await peer.receive_all()
        peer.close()
    head, missing, script = said.split(b"HTTP/1.1 ")[1:]
    assert head.startswith(b"200 OK\r\n")
    assert b"Content-Length: 12\r\n" in head
    assert head.endswith(b"\r\n\r\n")
    assert missing.startswith(b"404 Not Found\r\n")
    assert script.startswith(b"200 OK\r\n")
    assert b"X-Content-Type-Options: nosniff\r\n" in script
    assert script.endswith(b"let a = 1")

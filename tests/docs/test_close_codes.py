"""The page on close codes says what the code does: codes, statuses and reasons have a line."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
import trio

from exeunt.channels.client import ConnectFailed, Disconnected, connect
from scripts import close_codes
from scripts.close_codes import ANY_REQUEST, ENDINGS, LONGPOLL, LONGPOLL_HTTP, WEBSOCKET, Refusal
from tests.docs.closing import closing_with
from tests.faults.client import Closed, Gone
from tests.faults.page import shown_expected
from tests.faults.row import LIVES
from tests.faults.table import rows
from tests.faults.world import until

SENT = sorted({one.code for one in ENDINGS if one.by != "nobody"})

NO_CODES_OF_OURS = {
    # What no application may close with, and what a close frame without a code is read as.
    ("trio_websocket", 1004),
    ("trio_websocket", 1005),
    ("trio_websocket", 1006),
    ("trio_websocket", 1014),
}

# -- against the source


def test_every_code_in_the_source_has_a_line_and_every_line_a_code() -> None:
    found = {(one.module, one.number) for one in close_codes.close_codes_in_source()}
    assert found >= NO_CODES_OF_OURS
    codes = {code for _, code in found - NO_CODES_OF_OURS}
    assert codes == {code for code in SENT if code != 1000}


def _pairs() -> Iterator[tuple[str, int]]:
    """Find the exit reasons that are ended with, together with a close code."""
    for path in (close_codes.CHANNELS / "connection.py", close_codes.CHANNELS / "serving.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr="finish"), args=[reason, code]):
                    pass
                case ast.Return(value=ast.Tuple(elts=[reason, code])):
                    pass
                case _:
                    continue
            for number in ast.walk(code):
                if isinstance(number, ast.Constant) and type(number.value) is int:
                    yield ast.unparse(reason), number.value


def test_every_reason_in_the_source_stands_beside_its_code() -> None:
    found = set(_pairs())
    assert len(found) >= 9, "the source is not read any more as it was"
    for reason, code in found:
        # What is put in by a variable is shown by a name or an ellipsis on the page.
        known = reason.replace("'", '"').partition("error)")[0]
        known = known.partition(", detail)")[0]
        shown = [one for ending in ENDINGS if ending.code == code for one in ending.reasons]
        assert any(one.strip("`").startswith(known) for one in shown), (reason, code, shown)


STATUSES: dict[str, tuple[tuple[Refusal, ...], ...]] = {
    "admission": (tuple(WEBSOCKET),),
    "connection": (tuple(WEBSOCKET), tuple(ANY_REQUEST)),
    "http": (tuple(ANY_REQUEST),),
    "http_messages": (tuple(WEBSOCKET), tuple(ANY_REQUEST)),
    "longpoll": (tuple(LONGPOLL_HTTP), tuple(Refusal(one, when) for one, when, _ in LONGPOLL)),
    "longpoll_client": (tuple(LONGPOLL_HTTP),),
    "static": (tuple(ANY_REQUEST),),
}
ANSWERS = {200, 301, 304}
FROM_THE_PARSER = {501}
"""What h11 suggests for an encoding of the body; test_http asks for it."""


def test_every_status_in_the_source_has_a_line_and_every_line_a_status() -> None:
    found: dict[str, set[int]] = {}
    for one in close_codes.statuses_in_source():
        found.setdefault(one.module, set()).add(one.number)
    assert found.keys() == STATUSES.keys()
    for module, statuses in found.items():
        told = {one.status for table in STATUSES[module] for one in table}
        assert statuses <= told | ANSWERS, module
    said = {one.status for table in (WEBSOCKET, ANY_REQUEST, LONGPOLL_HTTP) for one in table}
    said |= {one for one, _, _ in LONGPOLL}
    assert said - ANSWERS - FROM_THE_PARSER == set().union(*found.values()) - ANSWERS


# -- against what is seen on real sockets


def _in_the_matrix() -> set[tuple[int, str]]:
    seen: set[tuple[int, str]] = set()
    for row in rows():
        if row.reason is LIVES or not row.connects:
            continue
        match row.end:
            case Closed(int(code)):
                seen.add((code, shown_expected(row.reason)))
            case Gone():
                seen.add((1006, shown_expected(row.reason)))
            case _:
                pass
    return seen


# The channel ends of something else, and the client closes right behind that.
BOTH_AT_ONCE = {
    (1000, reason) for reason in ('`"killed"`', '`Shutdown("left")`', "`Crash(LookupError)`")
}

# tests/channels/test_connection.py has the one: the ref nests too deeply to be sent back; and
# tests/faults/test_slow_clients.py the other: the rows here have a client that reads nothing more.
ELSEWHERE = {(1011, "`Crash(PayloadError)`"), (1013, '`Shutdown("slow_consumer")`')}


def test_the_page_says_of_every_ending_what_the_fault_matrix_sees() -> None:
    told = {(one.code, reason) for one in ENDINGS for reason in one.reasons}
    assert _in_the_matrix() - BOTH_AT_ONCE == told - ELSEWHERE


# -- against the clients


@pytest.mark.parametrize("code", sorted({one.code for one in ENDINGS}))
async def test_the_python_client_raises_what_the_page_says(code: int) -> None:
    async with closing_with(code) as url:
        with pytest.raises(Disconnected) as caught:
            async with connect(url, reconnect=None):
                await trio.sleep(5)
        assert caught.value.code == code
        if code != 1006:  # what breaks a connection is said in more words
            assert str(caught.value) == str(close_codes.disconnected(code))


@pytest.mark.parametrize("code", sorted({one.code for one in ENDINGS}))
async def test_the_python_client_connects_anew_whatever_the_code(code: int) -> None:
    async with closing_with(code) as url, connect(url) as socket:
        await until(lambda: socket.connections >= 2, "another connection")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 503])
def test_a_refusal_is_one_of_two_statuses(status: int) -> None:
    assert ConnectFailed("", "", status=status).is_refusal is (status in (401, 403))


def test_the_page_has_all_of_it() -> None:
    page = close_codes.page()
    for one in ENDINGS:
        assert f"| {one.code} | {one.by} | {one.when} |" in page
    for table in (WEBSOCKET, ANY_REQUEST, LONGPOLL_HTTP):
        for refusal in table:
            assert f"| {refusal.status} | {refusal.when} |" in page

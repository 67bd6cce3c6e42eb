"""Every recorded conversation goes as it did with Phoenix; the comparison would notice if not."""

from __future__ import annotations

import copy
import json
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.phoenix.__main__ import main
from tests.conformance.phoenix.polling import FORGERIES, MOUNTS, VALUES
from tests.conformance.phoenix.replay import Divergence, replay
from tests.conformance.phoenix.transcripts import (
    ACTS,
    GOLDEN,
    HEADERS,
    TEXTS,
    TOKENS,
    TURNS,
    Transcript,
    fits,
    read,
    same_end,
)
from tests.contract_server.app import open_server

ALL = {one.name: one for one in map(read, sorted(GOLDEN.glob("*/*.json")))}


async def divergences_of(transcript: Transcript) -> list[Divergence]:
    async with open_server() as url:
        return await replay(transcript, url, "run0")


def shown(divergences: list[Divergence]) -> str:
    return "\n".join(map(str, divergences))


@pytest.mark.parametrize("transcript", ALL.values(), ids=lambda one: one.name)
async def test_a_recorded_conversation_goes_as_it_did(transcript: Transcript) -> None:
    found = await divergences_of(transcript)
    assert not found, shown(found)


def test_no_transcript_is_left_out_and_every_table_is_about_one_that_is_there() -> None:
    assert len(ALL) == len(list(GOLDEN.glob("*/*.json"))) >= 122
    for table in (ACTS, HEADERS, MOUNTS, TEXTS, TOKENS, TURNS, VALUES):
        assert table.keys() <= ALL.keys()
    assert {name for name, _ in FORGERIES} <= ALL.keys()
    several = {one.name for one in ALL.values() if len(one.conns) > 1}
    assert several == TURNS.keys()


# -- that it would notice


def with_frame(name: str, number: int, **fields: Any) -> Transcript:
    conns = copy.deepcopy(ALL[name].conns)
    conns[0]["frames"][number] |= fields
    return changed(ALL[name], conns=conns)


def with_frames(name: str, frames: list[Any]) -> Transcript:
    conns = copy.deepcopy(ALL[name].conns)
    conns[0]["frames"] = frames
    return changed(ALL[name], conns=conns)


def with_notes(name: str, **notes: Any) -> Transcript:
    return changed(ALL[name], notes={**ALL[name].notes, **notes})


def frames_of(name: str) -> list[Any]:
    return copy.deepcopy(ALL[name].conns[0]["frames"])


def swapped(name: str, one: int, other: int) -> Transcript:
    frames = frames_of(name)
    frames[one], frames[other] = frames[other], frames[one]
    return with_frames(name, frames)


POLLED_NOTHING = {"json": {"status": 204, "token": "<token>", "messages": []}}

WRONG = [
    (
        with_frame("v2_heartbeat", 2, json=[None, 7, "phoenix", "phx_reply", {}]),
        {"connection 0, frame 2"},
    ),
    (swapped("close_with_reply_order", 4, 5), {"connection 0, frame 4", "connection 0, frame 5"}),
    (
        with_frames("server_push_then_reply_order", frames_of("server_push_then_reply_order")[:-1]),
        {"connection 0, more"},
    ),
    (with_frame("oversize_frame", 4, code=1002), {"connection 0, frame 4"}),
    (
        with_frame("auth_token_subprotocol", 0, protocol="other"),
        {"connection 0, subprotocol"},
    ),
    (with_frame("http_reject_error", 0, status=401), {"request 0, status"}),
    (with_frame("http_reject_error", 0, body="no"), {"request 0, body"}),
    (
        with_notes("close_4001", **{"exit x": {"class": "shutdown", "detail": "closed"}}),
        {"exit x"},
    ),
    (with_notes("close_4001", **{"terminate x": None}), {"terminate x"}),
    (with_frame("lp_put", 0, http_status=405), {"request 0, status"}),
    (with_frame("lp_new_session", 0, json={"status": 410, "messages": []}), {"request 0, body"}),
    (with_frame("lp_plain_json_post", 2, **POLLED_NOTHING), {"request 2, body"}),
    (
        with_notes("lp_malformed", **{"exit x": {"class": "shutdown", "detail": "inactive"}}),
        {"exit x"},
    ),
    (with_notes("lp_malformed", ms=2000), {"request 2, ms"}),
    (
        with_notes("crash_kill", **{"terminate x0": {"class": "killed", "detail": None}}),
        {"terminate x0"},
    ),
]


@pytest.mark.parametrize(("transcript", "places"), WRONG, ids=lambda one: getattr(one, "name", ""))
async def test_what_comes_otherwise_than_recorded_is_noticed(
    transcript: Transcript, places: set[str]
) -> None:
    found = await divergences_of(transcript)
    assert {one.place for one in found} == places


@pytest.mark.slow
async def test_a_frame_that_does_not_come_is_noticed_also_where_the_order_does_not_count() -> None:
    frames = frames_of("presence_get_by_key")
    frames.append({"dir": "in", "json": ["R1", None, "room:r-<N>", "more", {}]})
    found = await divergences_of(with_frames("presence_get_by_key", frames))
    assert [one.place for one in found] == [f"connection 0, frame {len(frames) - 1}"]


def test_types_count_and_names_of_refs_stand_for_one_ref_each() -> None:
    assert fits([1, {"a": None}], [1, {"a": None}], {}) == {}
    for one, other in [(1, True), (1, 1.0), (1, "1"), (None, {}), ([1], [1, 2]), ({"a": 1}, {})]:
        assert fits(one, other, {}) is None
    ref, other_ref = "a" * 16, "b" * 16
    metas = [{"phx_ref": "P1"}, {"phx_ref": "P2", "phx_ref_prev": "P1"}]
    good = [{"phx_ref": ref}, {"phx_ref": other_ref, "phx_ref_prev": ref}]
    assert fits(metas, good, {}) == {"P1": ref, "P2": other_ref}
    assert fits(metas, [good[0], {"phx_ref": ref, "phx_ref_prev": ref}], {}) is None
    assert fits(metas, good, {"P1": other_ref}) is None
    assert fits({"phx_ref": "P1"}, {"phx_ref": "short"}, {}) is None
    assert fits("0001…(3 bytes)", "000102", {}) == {}
    assert fits("0001…(3 bytes)", "00010203", {}) is None


def test_of_ends_all_counts_but_the_texts_of_errors() -> None:
    def end(kind: str, detail: str | None) -> dict[str, Any]:
        return {"class": kind, "detail": detail}

    assert same_end(end("error", "unexpected byte"), end("error", "not a message"))
    assert same_end(end("other", "{:function_clause, []}"), end("other", "{:function_clause, 1}"))
    assert same_end(None, None)
    assert not same_end(None, end("normal", None))
    assert not same_end(end("error", "boom"), end("error", "bang"))
    assert not same_end(end("other", ":boom"), end("other", ":bang"))
    assert not same_end(end("other", "{:function_clause, []}"), end("other", "{:undef, []}"))
    assert not same_end(end("other", "{:function_clause, []}"), end("other", ":boom"))
    assert not same_end(end("shutdown", None), end("shutdown", "x"))
    assert not same_end(end("killed", None), end("normal", None))
    assert not same_end(end("error", "unexpected byte"), end("error", None))


def test_the_command_line_says_how_many_diverged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = GOLDEN / "raw" / "v2_heartbeat.json"
    bad = tmp_path / "bad.json"
    changed_text = good.read_text().replace('[null,"7","phoenix","phx_reply"', '[null,"7","x","y"')
    assert changed_text != good.read_text()
    bad.write_text(changed_text)
    assert main([str(good), str(GOLDEN / "raw" / "lp_put.json")]) == 0
    assert capsys.readouterr().out == "2 transcripts, 0 diverged\n"
    assert main([str(good), str(bad)]) == 1
    assert capsys.readouterr().out.endswith("2 transcripts, 1 diverged\n")
    bad.write_text(json.dumps({"scenario": "x"}))
    assert main([str(bad)]) == 2

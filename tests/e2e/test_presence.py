"""Presence of the official client: whatever its users do, all see in the end who is there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.presence import Crowd, run_crowd

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("node", "phoenix")]


def refused_or_missed(crowd: Crowd) -> list[str]:
    """Say what is wrong with how a crowd has ended, if anything."""
    wrong: list[str] = []
    here = {(meta["client"], key, meta["count"]) for key, metas in crowd.listed for meta in metas}
    expected = {(one["client"], one["name"], one["count"]) for one in crowd.expected}
    if here != expected:
        wrong.append(f"the server lists {here - expected}, and misses {expected - here}")
    if sum(len(metas) for _, metas in crowd.listed) != len(crowd.expected):
        wrong.append("somebody is listed twice")
    wrong += [
        f"{one['number']} clients see {one['list']}"
        for one in crowd.lists
        if one["list"] != crowd.listed
    ]
    return wrong


async def test_two_hundred_clients_that_come_and_go_at_random_see_the_same_in_the_end(
    part: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # the channels crash by the hundred, as they are told
    crowd = await run_crowd(part("node"), clients=200, seconds=12.0, seed=1)
    assert refused_or_missed(crowd) == []
    assert len(crowd.expected) == 160
    assert sum(one["number"] for one in crowd.lists) == 160
    # It was not all quiet: everything was done, and everybody was told of it.
    acts = ("updated", "crashed", "dropped", "left", "disconnected")
    assert all(crowd.done[act] >= 3 for act in acts), crowd.done
    assert crowd.done["joined"] > 200
    assert crowd.done["diffs"] > 10_000

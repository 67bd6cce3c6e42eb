"""The script is the seed's, and leaves nothing out."""

from __future__ import annotations

from itertools import islice, takewhile

from .killer import HEAVY, LIGHT, PARTS, Kill, script


def first(seed: int, number: int) -> list[Kill]:
    return list(islice(script(seed, every=0.25, heavy_every=10), number))


def test_a_seed_is_a_script() -> None:
    assert first(1, 500) == first(1, 500)
    assert first(1, 500) != first(2, 500)


def test_every_part_has_its_turn() -> None:
    kills = first(3, 1000)
    assert {one.part for one in kills} == set(PARTS) == set(LIGHT) | set(HEAVY)
    heavy = [one.part for one in kills if one.part in HEAVY]
    assert set(heavy[: len(HEAVY)]) == set(HEAVY)
    light = [one.part for one in kills if one.part in LIGHT]
    assert sorted(light[: len(LIGHT)]) == sorted(LIGHT)


def test_times_and_picks_are_within_their_bounds() -> None:
    kills = first(4, 2000)
    assert all(0.125 <= one.after <= 0.375 for one in kills)
    assert all(0 <= one.pick < 1 for one in kills)
    assert 0.23 < sum(one.after for one in kills) / len(kills) < 0.27


def test_clients_have_time_to_come_back_in_between() -> None:
    waits: list[float] = []
    since = 0.0
    for one in first(5, 5000):
        since += one.after
        if one.part in HEAVY:
            waits.append(since)
            since = 0.0
    assert min(waits) >= 5 and max(waits) <= 15.5
    gentle = list(takewhile(lambda one: one.part not in HEAVY, first(6, 500)))
    assert sum(one.after for one in gentle) >= 9

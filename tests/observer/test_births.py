"""Ages from the numbers of pids: exact to the distance of two notes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from exeunt.observer.births import MOST_NOTES, Births


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=60))
def test_an_age_is_known_to_the_note(steps: list[tuple[bool, int]]) -> None:
    """Each step starts some processes, and perhaps ends the newest; then there is a note."""
    births, alive, born, number = Births(), [0], {0: -1.0}, 0
    for second, (ends, count) in enumerate(steps):
        for _ in range(count):
            number += 1
            alive.append(number)
            born[number] = second - 0.5
        if ends and len(alive) > 1:
            alive.pop()
        births.note(alive[-1], float(second))
    for one in alive:
        known = births.since(one)
        if not steps:
            assert known is None
            continue
        assert known is not None
        since, is_older = known
        assert is_older == (since == 0.0)
        if not is_older:
            assert born[one] <= since < born[one] + 1.0


def test_a_process_that_came_after_the_last_note_is_not_known() -> None:
    births = Births()
    births.note(7, 1.0)
    assert births.since(8) is None
    assert births.since(7) == (1.0, True)


def test_the_notes_are_bounded_and_the_latest_stay_exact() -> None:
    births = Births()
    for number in range(10 * MOST_NOTES):
        births.note(number, float(number))
    assert len(births) <= MOST_NOTES
    assert births.since(10 * MOST_NOTES - 5) == (10 * MOST_NOTES - 5, False)
    since = births.since(MOST_NOTES)
    assert since is not None
    assert since[0] >= MOST_NOTES
    assert births.since(0) == (0.0, True)

"""Every way to leave at every moment: one leave, nothing left behind, nobody else disturbed."""

from __future__ import annotations

import pytest

from .cell import observe_cell
from .matrix import CANNOT_BE, Cell, cells
from .page import PAGE, expected_page

CELLS = cells()
CAN_BE = [one for one in CELLS if one.expected is not None]


@pytest.mark.slow
@pytest.mark.parametrize("cell", [pytest.param(one, id=one.name) for one in CAN_BE])
async def test_a_cell_of_the_matrix(cell: Cell) -> None:
    seen = await observe_cell(cell)
    assert seen.troubles == []


def test_what_cannot_be_has_a_reason_and_every_reason_a_cell() -> None:
    assert {one.because for one in CELLS if one.expected is None} == set(CANNOT_BE)


def test_the_page_of_the_documentation_says_what_is_expected_here() -> None:
    """If it does not: `python -m tests.faults --write`."""
    assert PAGE.read_text(encoding="utf-8") == expected_page()

"""Every row of the disconnect table, on real sockets: who has left, exactly once, and how."""

from __future__ import annotations

import pytest

import exeunt.channels.session
from exeunt import Shutdown, is_orderly

from .row import LIVES, Row, observe
from .table import rows
from .world import complaints

ROWS = rows()


def test_every_row_has_a_name_of_its_own() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, id=row.name, marks=[pytest.mark.slow] if row.slow else []) for row in ROWS],
)
async def test_a_row_of_the_table(
    row: Row, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(exeunt.channels.session, "DUPLICATE_PATIENCE", 0.1)
    observed = await observe(row)
    assert row.differences(observed) == []
    if row.reason == Shutdown("slow_consumer"):
        [said] = complaints(caplog.records)
        assert said.startswith("DROPPED SLOW CONSUMER")
    elif row.reason is LIVES or is_orderly(row.reason):
        assert complaints(caplog.records) == []

"""The documentation is built from docstrings and sources: its machinery is tested here."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "scripts")]

import differences  # noqa: E402
import docstrings  # noqa: E402


def test_code_spans_become_literals_and_doubled_ones_stay() -> None:
    assert docstrings.to_rst(["`exit(pid)` and ``x``"]) == ["``exit(pid)`` and ``x``"]


def test_an_indented_listing_becomes_a_code_block() -> None:
    lines = docstrings.to_rst(["Say:", "", "    x = 1", "", "    y = 2", "", "Then."])
    assert lines[2] == ".. code-block:: python"
    assert "    x = 1" in lines
    assert lines[-1] == "Then."


def test_a_table_becomes_a_list_table() -> None:
    lines = docstrings.to_rst(["| a | b |", "| --- | --- |", "| `1` | 2 |"])
    assert "   * - a" in lines
    assert "   * - ``1``" in lines
    assert "     - 2" in lines


def test_the_pages_of_differences_hold_what_the_source_tags(tmp_path: Path) -> None:
    differences.main(tmp_path)
    erlang = (tmp_path / "differences-from-erlang.md").read_text(encoding="utf-8")
    phoenix = (tmp_path / "differences-from-phoenix.md").read_text(encoding="utf-8")
    assert "time-out of five seconds" in erlang
    assert "awaited by the connection" in phoenix


def test_a_comment_and_a_docstring_are_both_searched() -> None:
    blocks = list(
        differences._blocks('"""One.\n\nOTP: two.\n"""\n# Phoenix: three\n# four.\nx = 1\n')
    )
    assert any("OTP: two." in block for block in blocks)
    assert any(block == "Phoenix: three\nfour." for block in blocks)

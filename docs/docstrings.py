"""Docstrings are written in the Markdown that the rest of the documentation uses.

Sphinx reads them as reStructuredText, so they are turned into it here: code spans, indented
listings and tables. That is all the Markdown that docstrings use.
"""

from __future__ import annotations

import re


def to_rst(lines: list[str]) -> list[str]:
    """Return the lines of a docstring as reStructuredText."""
    out: list[str] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.startswith("|"):
            end = at
            while end < len(lines) and lines[end].startswith("|"):
                end += 1
            out += _table(lines[at:end])
            at = end
        elif line.startswith("    ") and (at == 0 or not lines[at - 1].strip()):
            end = at
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            block = lines[at:end]
            kind = "pycon" if block[0].lstrip().startswith(">>>") else "python"
            out += [f".. code-block:: {kind}", "", *block, ""]
            at = end
        else:
            out.append(_spans(line))
            at += 1
    return out


def _spans(line: str) -> str:
    return re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", line)


def _table(rows: list[str]) -> list[str]:
    cells = [_cells(row) for row in rows]
    cells = [row for row in cells if not all(set(cell) <= set("-: ") for cell in row)]
    out = ["", ".. list-table::", "   :header-rows: 1", ""]
    for row in cells:
        for number, cell in enumerate(row):
            out.append(f"   {'*' if number == 0 else ' '} - {_spans(cell)}")
    return [*out, ""]


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]

"""The page of the threat model names tests: they have to be there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "threat-model.md"


def test_each_defence_points_at_a_test_that_is_there() -> None:
    table = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:2] == "| "][2:]
    assert len(table) > 10
    for line in table:
        attack, _, shown = line.strip("| ").split(" | ")
        named = re.findall(r"`(tests/[\w/]+\.py)`: ((?:`test_\w+`(?:, )?)+)", shown)
        assert named, attack
        # None stands there without the file that it is in.
        tests = [(path, one) for path, ones in named for one in re.findall(r"test_\w+", ones)]
        assert len(tests) == len(re.findall(r"`test_\w+`", shown)), attack
        for path, one in tests:
            assert f"def {one}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path}::{one}"

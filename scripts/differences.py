"""Gather the deliberate differences from Erlang and Phoenix out of the source, as a page each.

A difference stands where it is made, in a comment or a docstring, as a paragraph that begins with
`OTP:` or `Phoenix:`. `python scripts/differences.py DIRECTORY` writes the two pages there.
"""

from __future__ import annotations

import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src"


@dataclass(frozen=True, slots=True)
class Difference:
    """One paragraph, and where it stands."""

    tag: str
    text: str
    module: str


def differences() -> Iterator[Difference]:
    """Find all paragraphs with a tag, in order of module and line."""
    for path in sorted(SOURCE.rglob("*.py")):
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        for block in _blocks(path.read_text(encoding="utf-8")):
            for paragraph in re.split(r"\n\s*\n", block):
                text = " ".join(paragraph.split())
                match = re.search(r"(?:^|(?<=[.:] ))(OTP|Phoenix): (.+)$", text)
                if match:
                    yield Difference(match.group(1), match.group(2), module)


def _blocks(source: str) -> Iterator[str]:
    """Return the docstrings and the runs of comment lines of a module."""
    comment: list[str] = []
    last = -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if token.start[0] != last + 1 and comment:
                yield "\n".join(comment)
                comment = []
            comment.append(token.string.lstrip("# "))
            last = token.start[0]
        elif token.type == tokenize.STRING and token.string.startswith('"""'):
            yield token.string.strip('"')
    if comment:
        yield "\n".join(comment)


PAGES = {
    "OTP": (
        "differences-from-erlang.md",
        "Differences from Erlang",
        "Where exeunt claims to behave as Erlang/OTP does, it is held against recordings of a real "
        "BEAM. Where trio makes something else right, that is written down in the source at the "
        "place itself; this page gathers it.",
    ),
    "Phoenix": (
        "differences-from-phoenix.md",
        "Differences from Phoenix",
        "What the official client can see is as in Phoenix 1.8, but for what this page gathers "
        "from the places in the source where it is made.",
    ),
}


def main(directory: Path) -> None:
    """Write the pages."""
    found = list(differences())
    directory.mkdir(parents=True, exist_ok=True)
    for tag, (name, title, opening) in PAGES.items():
        lines = [f"# {title}", "", opening, ""]
        module = ""
        for one in found:
            if one.tag != tag:
                continue
            if one.module != module:
                module = one.module
                lines += [f"## {module}", ""]
            lines += [f"- {one.text[:1].upper()}{one.text[1:]}", ""]
        (directory / name).write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Run Autobahn's WebSocket test suite against exeunt, and write down what it found.

    make autobahn                      every case, and docs/reference/autobahn.md anew
    make autobahn ARGS="3.* 7.1.6"     only these, and nothing is written

The suite's fuzzing client runs on Python 2.7 alone. It gets a virtual environment of its own in
build/autobahn, where its reports and its log are to be found too. The exit status is 0 if every
case passed, or is one of those that this module explains; otherwise 1. Where there is no Python
2.7, that is said, and the status is 1 as well: nothing was tested then.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import IO, Any, Final

import trio

from scripts.autobahn_echo import Echo

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "reference" / "autobahn.md"
REQUIREMENTS: Final = ROOT / "scripts" / "autobahn.txt"
BUILD: Final = ROOT / "build" / "autobahn"
REPORTS: Final = BUILD / "reports"
LOG: Final = BUILD / "wstest.log"

# The last release that still makes environments for Python 2.7.
VIRTUALENV: Final = "virtualenv==20.15.1"
AGENT: Final = "exeunt"
MOST_SECONDS: Final = 1800.0

GROUPS: Final[Mapping[int, str]] = {
    1: "framing",
    2: "pings and pongs",
    3: "reserved bits",
    4: "opcodes",
    5: "fragmentation",
    6: "UTF-8",
    7: "closing",
    9: "limits and speed",
    10: "odds and ends",
    12: "compression, payloads",
    13: "compression, parameters",
}

COLUMNS: Final = ("OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED")

WHY: Final[Mapping[str, str]] = {
    "7.1.6": (
        "The suite sends 256 KiB, a short message, a close frame and a ping in one go, and passes "
        "no judgement on the answer. Here both messages are echoed whole and in order, then the "
        "close frame is answered with 1000; the ping behind it is not. (The suite notes that it "
        "got more than it waits for: that is the echo of the 256 KiB.)"
    ),
    "7.13.1": (
        "A close frame with the code 5000, which RFC 6455 leaves undefined, so that the suite "
        "passes no judgement. Here it is a protocol error, and answered with 1002."
    ),
    "7.13.2": (
        "A close frame with the code 65535 (the suite calls it 65536), the same in every respect."
    ),
}
"""Why a case is not OK. One that is not in here and not OK either makes the run fail."""

WHY_UNIMPLEMENTED: Final = (
    "exeunt agrees on no extension, so there is no compression to test; "
    "[Limits](limits.md#compression) says why. The suite offers it, sees that it is declined, and "
    "closes in good order."
)


@dataclass(frozen=True, slots=True)
class Case:
    """What came of one case."""

    id: str
    verdict: str
    description: str
    result: str

    @property
    def group(self) -> int:
        """The number of its group."""
        return int(self.id.partition(".")[0])

    @property
    def is_known(self) -> bool:
        """Whether it passed, or is explained."""
        if self.verdict == "UNIMPLEMENTED":
            return self.group in (12, 13)
        return self.verdict == "OK" or (self.verdict in COLUMNS and self.id in WHY)


# -- the fuzzing client -------------------------------------------------------------------------


def find_python() -> str:
    """Return a Python 2.7; exit, with the way to one, if there is none."""
    for candidate in _candidates():
        try:
            said = subprocess.run(
                [candidate, "-c", "import sys; sys.stdout.write('%d.%d' % sys.version_info[:2])"],
                capture_output=True,
                text=True,
            )
        except OSError:
            continue
        if said.returncode == 0 and said.stdout == "2.7":
            return candidate
    sys.exit(
        "NOTHING WAS TESTED: Autobahn's test suite needs Python 2.7, and there is none here.\n"
        "Install one (with pyenv: pyenv install 2.7.18), or name one in EXEUNT_PYTHON27, then run\n"
        "make autobahn again. docs/reference/autobahn.md is left as it was."
    )


def _candidates() -> Iterator[str]:
    if named := os.environ.get("EXEUNT_PYTHON27"):
        yield named
        return
    # A shim of pyenv's is found here too, and fails where another version is chosen.
    yield "python2.7"
    if shutil.which("pyenv") is None:
        return
    listed = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True)
    for name in sorted(listed.stdout.split(), reverse=True):
        if re.fullmatch(r"2\.7\.\d+", name):
            prefix = subprocess.run(["pyenv", "prefix", name], capture_output=True, text=True)
            if prefix.returncode == 0:
                yield str(Path(prefix.stdout.strip(), "bin", "python2.7"))


def _run(*command: str | Path, **environment: str) -> None:
    """Run a step of the installation; if it fails, show what it said, and exit."""
    done = subprocess.run(
        list(map(str, command)),
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        sys.exit(f"NOTHING WAS TESTED: {' '.join(map(str, command))} failed, as shown above.")


def install() -> Path:
    """Make or mend the environment of the fuzzing client; return its Python."""
    python = find_python()
    environment = BUILD / "venv"
    inside = environment / "bin" / "python"
    stamp = BUILD / "installed"
    wanted = f"{ROOT}\n{python}\n{VIRTUALENV}\n{REQUIREMENTS.read_text(encoding='utf-8')}"
    if inside.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return inside
    print("installing Autobahn's test suite (half a minute) ...", file=sys.stderr)
    stamp.unlink(missing_ok=True)
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    bootstrap = BUILD / "bootstrap"
    quiet = ("--quiet", "--disable-pip-version-check")
    _run(python, "-m", "pip", "install", *quiet, "--target", bootstrap, VIRTUALENV)
    _run(python, "-m", "virtualenv", "--quiet", environment, PYTHONPATH=str(bootstrap))
    _run(inside, "-m", "pip", "install", *quiet, "--requirement", REQUIREMENTS)
    stamp.write_text(wanted, encoding="utf-8")
    return inside


def fuzz(python: Path, cases: list[str]) -> None:
    """Let the fuzzing client run these cases; exit if that did not go as it should."""
    shutil.rmtree(REPORTS, ignore_errors=True)
    with LOG.open("wb") as log:
        errors = trio.run(_fuzz, python, cases, log)
    if errors:
        sys.exit(f"{len(errors)} exceptions came out of the server: they are shown above")


async def _fuzz(python: Path, cases: list[str], log: IO[bytes]) -> list[Exception]:
    echo = await Echo.open()
    server = {
        "agent": AGENT,
        "url": f"ws://127.0.0.1:{echo.port}",
        "options": {"version": 18},
    }
    spec = {
        "options": {"failByDrop": False},
        "outdir": str(REPORTS),
        "servers": [server],
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    await trio.Path(BUILD, "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    command = [str(python), "-m", "autobahntestsuite.wstest", "-m", "fuzzingclient"]
    status: int | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo.serve)
        with trio.move_on_after(MOST_SECONDS):
            done = await trio.run_process(
                [*command, "-s", "spec.json"],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=BUILD,
                check=False,
            )
            status = done.returncode
        nursery.cancel_scope.cancel()
    if status is None:
        sys.exit(f"the fuzzing client did not end within {MOST_SECONDS:.0f} seconds: see {LOG}")
    if status:
        sys.exit(f"the fuzzing client ended with status {status}: see {LOG}")
    return echo.errors


def results() -> list[Case]:
    """Read the reports; exit if there is not one for every case that was to run."""
    index = json.loads((REPORTS / "index.json").read_text(encoding="utf-8"))[AGENT]
    announced = re.search(r"will run (\d+) test cases", LOG.read_text("utf-8", "replace"))
    if announced is None or int(announced.group(1)) != len(index):
        sys.exit(f"{len(index)} cases are reported, which is not how many were to run: see {LOG}")
    cases: list[Case] = []
    for id in sorted(index, key=lambda id: [int(part) for part in id.split(".")]):
        entry = index[id]
        # Some of the suite's own bytes in a report are no UTF-8.
        report: dict[str, Any] = json.loads(
            (REPORTS / entry["reportfile"]).read_text("utf-8", "replace")
        )
        verdict, closing = entry["behavior"], entry["behaviorClose"]
        if closing not in ("OK", "INFORMATIONAL"):
            verdict = f"{verdict}, but closing {closing}"
        texts = (report["description"], f"{report['result']} {report['resultClose']}")
        description, result = (" ".join(text.split()) for text in texts)
        cases.append(Case(id, verdict, description, result))
    return cases


# -- what it found ------------------------------------------------------------------------------


def table(cases: list[Case]) -> Iterator[str]:
    """Yield the lines of the table: a row for each group, and one for all of them."""
    yield "| group | cases | OK | non-strict | informational | not offered | failed |"
    yield "| --- | --: | --: | --: | --: | --: | --: |"
    for number, group in groupby(cases, lambda case: case.group):
        yield _row(f"{number}. {GROUPS.get(number, '')}", list(group))
    yield _row("all", cases)


def _row(name: str, cases: list[Case]) -> str:
    counts = Counter(case.verdict for case in cases)
    cells = [counts[verdict] for verdict in COLUMNS]
    cells.append(len(cases) - sum(cells))
    return f"| {' | '.join([name, str(len(cases)), *map(str, cells)])} |"


def others(cases: list[Case]) -> Iterator[str]:
    """Yield a paragraph for every case that is not OK; those without compression share one."""
    for case in cases:
        if case.verdict == "OK" or (case.verdict == "UNIMPLEMENTED" and case.is_known):
            continue
        yield f"**{case.id}, {case.verdict.lower()}.** " + WHY.get(
            case.id, f"{case.description} {case.result}"
        )
    declined = [case for case in cases if case.verdict == "UNIMPLEMENTED" and case.is_known]
    if declined:
        yield (
            f"**{declined[0].id} to {declined[-1].id}, {len(declined)} cases not offered.** "
            f"{WHY_UNIMPLEMENTED}"
        )


def page(cases: list[Case]) -> str:
    """Return the page of the documentation."""
    judged = [case for case in cases if case.verdict != "UNIMPLEMENTED"]
    failed = sum(case.verdict not in COLUMNS for case in judged)
    opening = (
        "[Autobahn's test suite](https://github.com/crossbario/autobahn-testsuite) is what "
        "implementations of WebSocket (RFC 6455) are commonly held against. Its fuzzing client "
        "sends well-formed and malformed frames, cut into pieces in every way, and judges each "
        f"answer. Of the {len(judged)} cases that apply here, {failed or 'none'} failed."
    )
    blocks = [
        "<!-- Written by `make autobahn`: change scripts/autobahn.py instead. -->",
        "# Autobahn's test suite",
        _wrapped(opening),
        "\n".join(table(cases)),
        _wrapped(_LEGEND),
        "## Every case that is not OK",
        *map(_wrapped, others(cases)),
        "## What was tested",
        _wrapped(_TESTED),
        _wrapped(_versions()),
        _wrapped(_AGAIN),
    ]
    return "\n\n".join(blocks) + "\n"


_LEGEND: Final = (
    "*OK*: as the RFC demands. *Non-strict*: within the RFC, if not as strict as it could be (a "
    "protocol error that is noticed late, say). *Informational*: the RFC leaves the answer open, "
    "and the suite only writes it down. *Not offered*: the case is about an extension that was "
    "declined. *Failed*: all else, a connection that was not closed properly included."
)

_TESTED: Final = (
    "An echo on loopback, made of the parts that serve every client of an endpoint: the listener, "
    "h11 in front, and the WebSocket transport. There is no channel in it, as the suite wants its "
    "own bytes back, and its limits are raised, as the largest message of group 9 has 16 MiB: an "
    "endpoint refuses more than 8,000,000 bytes with close code 1009 unless its mount says "
    "otherwise."
)

_AGAIN: Final = (
    "`make autobahn` repeats this in about a minute and writes this page anew. It needs a Python "
    "2.7, for the suite runs on nothing newer: it finds one on the path or in pyenv, or takes the "
    "one that `EXEUNT_PYTHON27` names, and installs the suite into an environment of its own, at "
    "versions that are pinned. It fails if there is none, and if a case neither passes nor is "
    'explained here. `make autobahn ARGS="6.* 7.1.6"` runs some of the cases and writes nothing. '
    "The suite's own report of every case is then in `build/autobahn/reports`."
)


def _versions() -> str:
    ours = ("exeunt", "trio", "trio-websocket", "wsproto", "h11")
    python = ".".join(platform.python_version_tuple()[:2])
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    suite = next(line for line in lines if line.startswith("autobahntestsuite=="))
    return (
        f"{', '.join(f'{name} {version(name)}' for name in ours)}, "
        f"{platform.python_implementation()} {python}; {suite.replace('==', ' ')} on CPython 2.7."
    )


def _wrapped(paragraph: str) -> str:
    return textwrap.fill(paragraph, 100, break_long_words=False, break_on_hyphens=False)


def main(arguments: list[str]) -> int:
    """Run the cases that the arguments name, or all; return the exit status."""
    python = install()
    print("running the cases (about a minute for all of them) ...", file=sys.stderr)
    fuzz(python, arguments or ["*"])
    cases = results()
    print("\n".join(table(cases)))
    for paragraph in others(cases):
        print(f"\n{_wrapped(paragraph)}")
    if not arguments:
        PAGE.write_text(page(cases), encoding="utf-8")
        print(f"\nwrote {PAGE.relative_to(ROOT)}")
    unknown = [case.id for case in cases if not case.is_known]
    if unknown:
        print(f"\nneither passed nor explained: {', '.join(unknown)}", file=sys.stderr)
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

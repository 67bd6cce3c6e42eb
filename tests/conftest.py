"""What every test shares: how a test says which programs it needs.

The end-to-end tests drive programs that pip does not bring: a browser, Node, the official client,
network namespaces. A test that needs one says so with `@pytest.mark.needs("chromium")`, or asks the
`part` fixture for its path. Where the part is missing, the test fails and says how to install it:
a test that quietly skips itself would look like one that passed. `make test` installs the parts
and names in EXEUNT_MISSING those that it could not get.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import hypothesis
import pytest

# Time on a shared machine says nothing about one example; faulthandler_timeout ends what hangs.
hypothesis.settings.register_profile("exeunt", hypothesis.settings(deadline=None))
hypothesis.settings.load_profile("exeunt")


def find_chromium() -> Path | None:
    """Return the browser that EXEUNT_CHROMIUM names, or else the first Chromium on the PATH."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    for name in (os.environ.get("EXEUNT_CHROMIUM", "chromium"), *names):
        if found := shutil.which(name):
            return Path(found)
    return None


def find_node() -> Path | None:
    """Return the path of Node."""
    found = shutil.which("node")
    return Path(found) if found else None


def find_phoenix() -> Path | None:
    """Return the folder of the npm package phoenix, installed beside the end-to-end tests."""
    folder = Path(__file__).parent / "e2e" / "node_modules" / "phoenix"
    return folder if (folder / "package.json").is_file() else None


def find_netns() -> Path | None:
    """Return the path of `ip`, where this user may make a network namespace with it."""
    search = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    ip, unshare = shutil.which("ip", path=search), shutil.which("unshare", path=search)
    if ip is None or unshare is None:
        return None
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    trial = subprocess.run(
        [unshare, *user, "--net", ip, "link", "set", "lo", "up"], capture_output=True
    )
    return Path(ip) if trial.returncode == 0 else None


@dataclass(frozen=True, slots=True)
class Part:
    """A program that tests need and pip does not bring: how to find it, and how to install it."""

    find: Callable[[], Path | None]
    install: str


PARTS = {
    "chromium": Part(
        find_chromium,
        "install a Chromium (Debian: apt-get install chromium), or set EXEUNT_CHROMIUM to its path",
    ),
    "node": Part(find_node, "install Node 18 or newer (Debian: apt-get install nodejs npm)"),
    "phoenix": Part(find_phoenix, "run npm install in tests/e2e"),
    "netns": Part(
        find_netns, "install iproute2, and run as root or where user namespaces are allowed"
    ),
}


def reported_missing() -> list[str]:
    """Return the parts that the set-up of the tests could not install."""
    return os.environ.get("EXEUNT_MISSING", "").split()


@cache
def locate(name: str) -> Path | None:
    """Return where a part is, or None where it is missing. The answer holds for the whole run."""
    return None if name in reported_missing() else PARTS[name].find()


def require(item: pytest.Item, name: str) -> Path:
    """Return where a part is; fail the test, and note the part for the summary, where it is not."""
    path = locate(name)
    if path is None:
        item.user_properties.append(("missing", name))
        pytest.fail(
            f"this test needs {name}, which is missing here: {PARTS[name].install}; "
            "or let `make test` do it",
            pytrace=False,
        )
    return path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("needs"):
            unknown = [name for name in mark.args if name not in PARTS]
            if unknown or not mark.args or mark.kwargs:
                raise pytest.UsageError(
                    f"{item.nodeid}: needs() takes some of {', '.join(PARTS)}; "
                    f"got {', '.join(map(repr, unknown)) or 'none of them'}"
                )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            require(item, name)


@pytest.fixture
def part(request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """Return a function from a part's name to its path, which fails the test where it is missing.

    The path is that of the program for chromium, node and netns (`ip`), and the npm package's
    folder for phoenix.
    """
    item = request.node
    assert isinstance(item, pytest.Item)
    return lambda name: require(item, name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    harmed: defaultdict[str, set[str]] = defaultdict(set)
    for name in reported_missing():
        harmed[name] = set()
    for outcome in ("failed", "error"):
        for report in terminalreporter.getreports(outcome):
            for key, value in getattr(report, "user_properties", ()):
                if key == "missing":
                    harmed[str(value)].add(report.nodeid)
    if not harmed:
        return
    terminalreporter.section("PARTS ARE MISSING ON THIS MACHINE", sep="#", red=True, bold=True)
    for name, tests in harmed.items():
        how = PARTS[name].install if name in PARTS else "no part of this name is known"
        terminalreporter.line(f"{name}: {len(tests)} tests could not run. To mend it: {how}")

"""Imports point down only, trio's private names stay in their seam, and plain data stays plain."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.architecture.source_rules import PURE_MODULES, Module, violations

SOURCE = Path(__file__).parents[2] / "src"


def modules() -> Iterator[Module]:
    for path in sorted((SOURCE / "exeunt").rglob("*.py")):
        if "template" in path.parts:
            continue  # what new projects are made of: a program that uses the library
        parts = path.relative_to(SOURCE).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        yield Module.parse(name, path.read_text(encoding="utf-8"), is_package=is_package)


MODULES: Mapping[str, Module] = {module.name: module for module in modules()}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_keeps_the_rules_of_its_room(name: str) -> None:
    assert violations(MODULES[name], MODULES) == []


@pytest.mark.parametrize("name", sorted(PURE_MODULES))
def test_a_module_that_is_to_be_plain_data_exists(name: str) -> None:
    assert name in MODULES


@pytest.mark.slow
def test_import_exeunt_loads_neither_the_web_part_nor_its_dependencies() -> None:
    program = "import sys, exeunt; print(exeunt.__file__, *sys.modules, sep='\\n')"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        cwd=SOURCE,
    )
    assert run.returncode == 0, run.stderr
    where, *loaded = run.stdout.split()
    assert Path(where) == SOURCE / "exeunt" / "__init__.py"
    unwanted = ("trio_websocket", "wsproto", "h11", "itsdangerous", "msgspec", "pytest")
    rooms = ("exeunt.channels", "exeunt.testing", "exeunt.observer")
    assert [name for name in loaded if name.startswith((*unwanted, *rooms))] == []
    assert "trio" in loaded


# Each module of wrong code, and what the checker says of it.
WRONG = [
    ("kernel.node", "from exeunt.otp import Supervisor", "kernel must not import from otp"),
    ("kernel.node", "import exeunt.channels.wire", "kernel must not import from channels"),
    ("kernel.node", "from exeunt import otp", "kernel must not import from otp"),
    ("kernel.node", "from ..otp.task import Task", "kernel must not import from otp"),
    ("kernel.node", "from .. import observer", "kernel must not import from observer"),
    ("kernel.node", "def late():\n    import exeunt.testing", "must not import from testing"),
    ("kernel.node", "if TYPE_CHECKING:\n    from exeunt.otp import Task", "import from otp"),
    ("kernel.node", "import_module('exeunt.otp')", "kernel must not import from otp"),
    ("kernel.node", "importlib.import_module('..otp', __package__)", "must not import from otp"),
    ("kernel.node", "from exeunt import Pid", "kernel must not import from the package's own"),
    ("kernel.node", "from exeunt import *", "kernel must not import from the package's own face"),
    ("kernel.node", "import h11", "imports h11, which is for channels alone"),
    ("otp.task", "from exeunt.channels import Socket", "otp must not import from channels"),
    ("otp.task", "from exeunt.testing import x", "otp must not import from testing"),
    ("otp.task", "import exeunt.observer", "otp must not import from observer"),
    ("otp.task", "from msgspec import Struct", "imports msgspec.Struct, which is for channels"),
    ("channels.socket", "from exeunt.testing import x", "channels must not import from testing"),
    ("channels.socket", "from exeunt.observer import x", "must not import from observer"),
    ("toolbox", "", "is in no room that ROOMS knows"),
    ("kernel.node", "import trio._core", "imports the private name trio._core"),
    ("kernel.node", "from trio._core import _run", "imports the private name trio._core._run"),
    ("kernel.node", "from trio import _core", "imports the private name trio._core"),
    ("kernel.node", "import trio\ntrio._core.x", "touches the private name trio._core"),
    ("kernel.node", "import trio as t\nt.lowlevel._x", "private name t.lowlevel._x"),
    ("kernel.node", "from trio import lowlevel\nlowlevel._x()", "private name lowlevel._x"),
    ("kernel.node", "import trio\ngetattr(trio, '_core')", "private name trio._core"),
    ("kernel.signals", "import trio", "imports trio, but is to be plain data"),
    ("kernel.signals", "def f():\n    from time import monotonic", "imports time.monotonic"),
    ("kernel.signals", "from exeunt.kernel.node import x", "imports exeunt.kernel.node -> trio"),
    ("otp.strategy", "import random", "imports random, but is to be plain data"),
    ("otp.strategy", "async def f():\n    pass", "is asynchronous, but is to be plain data"),
    ("channels.wire", "import socket", "imports socket, but is to be plain data"),
    ("channels.wire", "open('x')", "calls open(), but is to be plain data"),
]


@pytest.mark.parametrize(("name", "source", "what"), WRONG)
def test_the_checker_finds_a_broken_rule(name: str, source: str, what: str) -> None:
    node = Module.parse("exeunt.kernel.node", "import trio")
    found = violations(Module.parse(f"exeunt.{name}", source), {node.name: node})
    assert len(found) == 1
    assert found[0].startswith(f"exeunt.{name}:")
    assert what in found[0]


def test_the_packages_own_face_must_not_load_the_web_part() -> None:
    face = Module.parse("exeunt", "from .channels import Endpoint\nimport wsproto", is_package=True)
    assert violations(face) == [
        "exeunt:1: exeunt must not import from channels",
        "exeunt:2: imports wsproto, which is for channels alone",
    ]


RIGHT = [
    ("kernel.trio_seam", "import trio._core\ntrio._core._run"),
    ("kernel.node", "import trio\ntrio.__version__\nself._x\nfrom . import ids"),
    ("kernel.signals", "from exeunt.kernel.ids import Pid"),
    ("kernel.signals", "if TYPE_CHECKING:\n    from exeunt.kernel.node import Node"),
    ("otp.task", "from exeunt.kernel import Pid\nfrom ..kernel.ids import Ref\nimport trio"),
    ("channels.wire", "import msgspec\nfrom exeunt.kernel.ids import Pid"),
    ("channels.socket", "import trio_websocket\nfrom exeunt.otp import GenServer"),
    ("testing.kit", "from exeunt.channels import Socket\nimport pytest"),
]


@pytest.mark.parametrize(("name", "source"), RIGHT)
def test_the_checker_leaves_right_code_alone(name: str, source: str) -> None:
    node = Module.parse("exeunt.kernel.node", "import trio")
    ids = Module.parse("exeunt.kernel.ids", "from typing import Any")
    others = {module.name: module for module in (node, ids)}
    assert violations(Module.parse(f"exeunt.{name}", source), others) == []

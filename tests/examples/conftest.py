"""What the tests of the examples share: a node around each that asks for one."""

from __future__ import annotations

from exeunt.testing.plugin import node as node

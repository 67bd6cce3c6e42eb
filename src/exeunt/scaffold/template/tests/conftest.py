"""A node around each test that asks for one."""

pytest_plugins = ["exeunt.testing.plugin"]

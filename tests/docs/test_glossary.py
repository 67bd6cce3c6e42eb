"""The glossary has the words that a newcomer stumbles over, and says where each is taught."""

from __future__ import annotations

import re

from tests.docs.test_howto import DOCS

TEXT = (DOCS / "explanation" / "glossary.md").read_text(encoding="utf-8")

STUMBLED_OVER = """
    process, pid, mailbox, link, monitor, exit signal, trap exits, "noproc", GenServer, call, cast,
    info, supervisor, permanent, transient, temporary, significant, "brutal_kill",
    restart intensity, "reached_max_restart_intensity", registry, via, hub, PubSub, topic, channel,
    socket, mount, endpoint, assigns, intercept, fastlane, draining, presence, meta, reference,
    roll, leave function, watcher, zombie, node, name, ancestors, kill, vsn, phx_error, token
"""


def entries() -> dict[tuple[str, ...], str]:
    """Return what is said of each word, or of words that are explained together."""
    found: dict[tuple[str, ...], str] = {}
    for block in re.findall(r"^```\{glossary\}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL):
        for entry in block.strip().split("\n\n"):
            lines = entry.splitlines()
            words = tuple(line for line in lines if not line.startswith(" "))
            found[words] = " ".join(line.strip() for line in lines[len(words) :])
    return found


def test_the_words_are_there() -> None:
    known = {word for words in entries() for word in words}
    wanted = {word.strip() for word in STUMBLED_OVER.split(",")}
    assert not wanted - known
    for name in ("Erlang", "BEAM", "OTP", "Elixir", "Phoenix"):
        assert f"*{name}*" in TEXT.partition("##")[0]


def test_each_says_where_it_is_taught() -> None:
    assert not [words for words, said in entries().items() if not re.search(r"\]\(\S+\.md", said)]


def test_each_is_short() -> None:
    long = [words for words, said in entries().items() if len(re.sub(r"\(\S+\)", "", said)) > 300]
    assert not long

"""The observer as its users have it: the page in a real browser, and the screen of a terminal."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Generator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect

from tests.e2e.browser import WITHIN
from tests.e2e.chat_fixtures import *  # noqa: F403
from tests.e2e.programs import ROOT, Program

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
in_a_browser = pytest.mark.needs("chromium")

TOKEN = "a-token-for-nothing-but-tests"


class Stage(Program):
    """The program that is observed."""

    def __init__(self, *options: str) -> None:
        super().__init__("tests.e2e.observer_stage", "--token", TOKEN, *options)

    def __enter__(self) -> Stage:
        super().__enter__()
        self.url = self.line(r"observer at (\S+)")[1]
        self.socket = self.line(r"socket at (\S+)")[1]
        return self


@pytest.fixture(scope="module")
def stage() -> Generator[Stage]:
    with Stage() as stage:
        yield stage
        assert "Traceback" not in stage.stderr()


class Onlooker:
    """Somebody who has the observer's page open."""

    def __init__(self, browser: Browser, **context: Any) -> None:
        self.context = browser.new_context(**context)
        self.context.set_default_timeout(WITHIN)
        self.page: Page = self.context.new_page()
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))
        self.page.on("console", self._note)

    def _note(self, message: ConsoleMessage) -> None:
        # A connection that is refused, or lost, leaves messages of the browser's own.
        if message.type == "error" and "WebSocket connection" not in message.text:
            self.problems.append(message.text)

    def open(self, url: str) -> Onlooker:
        self.page.goto(url)
        self.is_("live")
        return self

    def is_(self, status: str) -> None:
        body = self.page.locator("body")
        expect(body).to_have_attribute("data-status", status, timeout=WITHIN)

    def process(self, name: str) -> Locator:
        """Return the row of a process, by what it is called."""
        named = self.page.locator(".who").get_by_text(name, exact=True)
        return self.page.get_by_test_id("process").filter(has=named)

    def pid_of(self, name: str) -> str:
        row = self.process(name)
        expect(row).to_have_attribute("data-pid", re.compile(r"<\d+\.\d+>"), timeout=WITHIN)
        return row.get_attribute("data-pid") or ""

    def names(self) -> list[str]:
        return self.page.locator("[data-testid=process] .who").all_text_contents()

    def kill(self) -> None:
        """Press the button for the process that is shown closely, and once more to confirm."""
        button = self.page.get_by_test_id("kill")
        expect(button).to_have_text("Kill")
        button.click()
        expect(button).to_have_text("Kill it now")
        button.click()


@pytest.fixture
def onlookers(browser: Browser) -> Generator[list[Onlooker]]:
    onlookers: list[Onlooker] = []
    yield onlookers
    problems = [problem for one in onlookers for problem in one.problems]
    for one in onlookers:
        one.context.close()
    assert problems == []


@pytest.fixture
def ann(browser: Browser, onlookers: list[Onlooker], stage: Stage) -> Onlooker:
    ann = Onlooker(browser)
    onlookers.append(ann)
    return ann.open(stage.url)


# -- the page


@in_a_browser
def test_the_tree_is_shown(ann: Onlooker) -> None:
    assert ann.names() == [
        *("main", "house", "store", "ticker", "keys", "rooms"),
        *("Room 'foyer'", "Room 'gallery'", "Room 'garden'", "staff"),
        *("sweeper", "cellar", "endpoint", "channels", "connections", "listener", "observer"),
    ]
    expect(ann.process("staff")).to_have_attribute("aria-level", "3")
    expect(ann.process("cellar")).to_have_attribute("aria-level", "4")
    expect(ann.process("store")).to_have_attribute("data-state", "waiting", timeout=WITHIN)
    expect(ann.process("cellar")).to_have_attribute("data-kind", "worker")
    expect(ann.process("staff")).to_have_attribute("data-kind", "supervisor")


@in_a_browser
def test_a_process_that_is_killed_is_seen_to_be_restarted(ann: Onlooker) -> None:
    before, sibling = ann.pid_of("cellar"), ann.pid_of("sweeper")
    others = ann.pid_of("store")
    ann.process("cellar").click()
    detail = ann.page.get_by_test_id("detail")
    expect(detail).to_contain_text(f"cellar {before}", timeout=WITHIN)
    ann.kill()
    for name, pid in (("cellar", before), ("sweeper", sibling)):
        row = ann.process(name)
        expect(row).to_have_attribute("data-flash", "restart", timeout=WITHIN)
        expect(row).not_to_have_attribute("data-pid", pid)
        expect(row.locator(".cell").nth(6)).not_to_have_text("0")
    assert ann.pid_of("store") == others
    # The pane follows the child to the process that has taken its place.
    expect(detail).to_contain_text(f"{before} has ended: killed", timeout=WITHIN)
    expect(detail).to_contain_text(f"cellar {ann.pid_of('cellar')}", timeout=WITHIN)


@in_a_browser
def test_the_curves_move(ann: Onlooker) -> None:
    for name in ("processes", "messages", "lag"):
        stroke = ann.page.get_by_test_id(f"curve-{name}").locator("path.stroke")
        expect(stroke).to_have_attribute("d", re.compile("M.*L"), timeout=WITHIN)
        before = stroke.get_attribute("d") or ""
        expect(stroke).not_to_have_attribute("d", before, timeout=WITHIN)
    value = ann.page.get_by_test_id("curve-messages").locator(".value")
    expect(value).to_have_text(re.compile(r"^[1-9]"), timeout=WITHIN)
    rate = ann.process("store").locator(".cell").nth(3)
    expect(rate).to_have_text(re.compile(r"^[1-9]"), timeout=WITHIN)


@in_a_browser
def test_who_comes_and_goes_is_shown(ann: Onlooker, stage: Stage) -> None:
    sockets, topics = ann.page.get_by_test_id("sockets"), ann.page.get_by_test_id("topics")
    expect(sockets).to_have_text("nobody is connected", timeout=WITHIN)
    with Guest(stage.socket, "room:foyer"):
        expect(sockets).to_contain_text("user:ada", timeout=WITHIN)
        expect(sockets).to_contain_text("room:foyer")
        expect(topics).to_contain_text("room:foyer")
        expect(ann.process("RoomChannel 'room:foyer'")).to_have_count(1)
    expect(sockets).to_have_text("nobody is connected", timeout=WITHIN)
    expect(ann.process("RoomChannel 'room:foyer'")).to_have_count(0)


@in_a_browser
def test_a_process_is_found_by_its_key(ann: Onlooker, stage: Stage) -> None:
    page = ann.page
    found, title = page.get_by_test_id("found"), page.locator("#detail-title")
    with Guest(stage.socket, "room:foyer"):
        expect(ann.process("RoomChannel 'room:foyer'")).to_have_count(1)
        page.get_by_test_id("find").fill("FOYER")
        page.keyboard.press("Enter")
        room = ann.process("Room 'foyer'")
        expect(title).to_contain_text("Room 'foyer'", timeout=WITHIN)
        expect(room).to_have_attribute("aria-selected", "true")
        expect(found).to_contain_text("2 have “FOYER” in their name or key")
        buttons = found.locator("li").get_by_role("button")
        expect(buttons).to_have_text([re.compile("^Room 'foyer'"), re.compile("^RoomChannel '")])
        buttons.nth(1).press("Enter")
        expect(title).to_contain_text("RoomChannel 'room:foyer'", timeout=WITHIN)
        expect(page.get_by_test_id("detail")).to_contain_text("user:ada")
        expect(buttons.nth(1)).to_have_attribute("aria-current", "true")
        page.keyboard.press("Escape")
        expect(found).to_be_hidden()
        expect(page.get_by_test_id("find")).to_be_focused()
    # Of one there is no choice, and of none it is said.
    page.get_by_test_id("find").fill("garden")
    page.keyboard.press("Enter")
    expect(title).to_contain_text("Room 'garden'", timeout=WITHIN)
    expect(found).to_be_hidden()
    page.get_by_test_id("find").fill("attic")
    page.keyboard.press("Enter")
    expect(found).to_contain_text("No process has “attic”", timeout=WITHIN)
    page.get_by_test_id("find").fill("")
    expect(found).to_be_hidden()


@in_a_browser
def test_what_is_killed_is_listed_with_the_crashes(ann: Onlooker) -> None:
    pid = ann.pid_of("Room 'gallery'")
    ann.process("Room 'gallery'").click()
    ann.kill()
    crash = ann.page.get_by_test_id("crashes").locator("li").first
    expect(crash).to_contain_text(f"Room 'gallery' {pid}", timeout=WITHIN)
    expect(crash.locator(".reason")).to_have_text("killed")
    expect(crash.locator(".place")).to_have_count(0)


SHORTENED = """(row) => {
  const isCut = (one) => one.scrollWidth > one.clientWidth;
  const [of, key] = ["of", "key"].map((name) => row.querySelector(`.who > .${name}`));
  return [isCut(of), isCut(key), row.querySelector(".pid").textContent];
}"""


@in_a_browser
@pytest.mark.parametrize("width", [390, 905, 1000, 1120, 1200, 1260, 1300, 1420, 1600])
def test_at_no_width_a_topic_is_cut(
    browser: Browser,
    onlookers: list[Onlooker],
    stage: Stage,
    width: int,
) -> None:
    bob = Onlooker(browser, viewport={"width": width, "height": 800})
    onlookers.append(bob)
    bob.open(stage.url)
    with Guest(stage.socket, "room:gallery"):
        row = bob.process("RoomChannel 'room:gallery'")
        expect(row).to_have_count(1, timeout=WITHIN)
        is_class_cut, is_key_cut, pid = row.evaluate(SHORTENED)
    assert not is_key_cut and re.fullmatch(r"<0\.\d+>", pid)
    # Where there is room for all of it, there is all of it.
    assert not is_class_cut or width < 1000


@in_a_browser
def test_it_can_be_used_with_the_keyboard_alone(ann: Onlooker) -> None:
    page = ann.page
    page.get_by_test_id("find").fill("rooms")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("detail")).to_contain_text("DynamicSupervisor", timeout=WITHIN)
    ann.process("main").focus()
    page.keyboard.press("ArrowDown")
    expect(ann.process("house")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(ann.process("store")).to_have_count(0)
    expect(ann.process("house")).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("ArrowRight")
    expect(ann.process("store")).to_have_count(1)
    page.keyboard.press("ArrowRight")
    expect(ann.process("store")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("detail")).to_contain_text("ServerLoop._serve", timeout=WITHIN)
    page.keyboard.press("End")
    expect(ann.process("observer")).to_be_focused()


@in_a_browser
def test_who_is_on_a_topic_leads_to_the_process_and_escape_back(
    ann: Onlooker, stage: Stage
) -> None:
    page = ann.page
    with Guest(stage.socket, "room:foyer"):
        member = (
            page.get_by_test_id("topics").locator("li", has_text="room:foyer").get_by_role("button")
        )
        pid = member.inner_text()
        member.click()
        expect(page.locator("#detail-title")).to_contain_text(pid, timeout=WITHIN)
        expect(page.get_by_test_id("detail")).to_contain_text("RoomChannel", timeout=WITHIN)
        page.keyboard.press("Escape")
        expect(page.get_by_test_id("detail")).to_be_hidden()
    ann.process("store").click()
    page.locator("#detail-close").focus()
    page.keyboard.press("Escape")
    expect(ann.process("store")).to_be_focused()


@in_a_browser
def test_a_long_mailbox_is_pointed_out(ann: Onlooker) -> None:
    mailboxes = ann.page.get_by_test_id("mailboxes")
    expect(mailboxes).to_be_hidden()
    with Stage("--pile", "1234") as other:
        ann.open(other.url)
        expect(mailboxes.get_by_role("listitem")).to_have_count(1, timeout=WITHIN)
        expect(mailboxes).to_contain_text("1,234")
        mailboxes.get_by_role("button").click()
        expect(ann.page.locator("#detail-title")).to_contain_text("idler", timeout=WITHIN)
        expect(ann.page.get_by_test_id("detail")).to_contain_text(
            "1,234: int × 1000 among the first 1,000", timeout=WITHIN
        )
        run = run_once(other.url)
        assert re.search(r"Long mailboxes \(1\)\n +<0\.\d+> idler: 1,234\n", run.stdout)


UNCHANGED = """async () => {
  const {Tree} = await import("/tree.js");
  const {Store} = await import("/store.js");
  const row = (key) => ({
    pid: key, id: "", name: key, label: "x", kind: "worker", status: "waiting", is_own: false,
    mailbox: 0, rate: 0, links: 1, monitors: 0, restarts: 0, crash: "", line: "", since: 1,
    is_older: false, children: [], more: 0,
  });
  const keys = Array.from({length: 200}, (_, index) => `<0.${index}>`);
  const store = new Store();
  store.begin(1, {
    node: {node: {now: 5, roots: keys, more_roots: 0}},
    process: Object.fromEntries(keys.map((key) => [key, row(key)])),
  });
  const root = document.createElement("div");
  const tree = new Tree(root, () => {});
  tree.draw(store);
  const observer = new MutationObserver(() => {});
  observer.observe(root, {attributes: true, childList: true, characterData: true, subtree: true});
  store.take(2, {process: {change: {"<0.7>": {mailbox: 3}}}});
  tree.draw(store);
  return observer.takeRecords().map(({target}) => target.closest(".row").dataset.key);
}"""


@in_a_browser
def test_a_row_that_has_not_changed_is_not_touched(ann: Onlooker) -> None:
    touched = ann.page.evaluate(UNCHANGED)
    assert set(touched) == {"<0.7>"}


PRESSED = """async () => {
  const {Detail} = await import("/detail.js");
  const names = ["pane", "title", "note", "body", "close", "kill", "killNote"];
  const ui = Object.fromEntries(names.map((name) => [name, document.createElement("div")]));
  const nothing = {on() {}, leave() {}, join: () => push};
  const push = {receive: () => push};
  const detail = new Detail(ui, () => {});
  detail.session = {process: () => nothing};
  detail.open("<0.1>");
  const seen = {
    pid: "<0.1>", name: "", label: "x", status: "waiting", parent: "<0.0> main", is_own: false,
    traps_exits: false, mailbox: 0, waiting: {}, links: ["<0.0> main"], link_count: 1, monitors: [],
    monitor_count: 0, monitored_by: [], monitored_by_count: 0, stack: ["f"], restarts: 0, crash: "",
  };
  detail.show(seen, nothing);
  const before = [...ui.body.querySelectorAll("button")];
  detail.show({...seen, mailbox: 2, waiting: {Cast: 2}, stack: ["g"]}, nothing);
  const after = [...ui.body.querySelectorAll("button")];
  return [before.length, before.every((one, index) => one === after[index]), ui.body.textContent];
}"""


@in_a_browser
def test_a_link_in_the_detail_stays_while_other_facts_change(ann: Onlooker) -> None:
    count, is_same, text = ann.page.evaluate(PRESSED)
    assert (count, is_same) == (2, True)
    assert "2: Cast × 2" in text


@in_a_browser
def test_without_the_token_the_page_shows_nothing_and_asks_for_it(
    browser: Browser,
    onlookers: list[Onlooker],
    stage: Stage,
) -> None:
    eve = Onlooker(browser)
    onlookers.append(eve)
    eve.page.goto(stage.url.replace(TOKEN, "another-token-than-the-right-one"))
    eve.is_("refused")
    assert eve.names() == []
    eve.page.get_by_test_id("token").fill(TOKEN)
    eve.page.keyboard.press("Enter")
    eve.is_("live")
    expect(eve.process("cellar")).to_have_count(1)


@in_a_browser
@pytest.mark.parametrize("width", [390, 800, 1280])
def test_no_width_makes_the_page_scroll_sideways(
    browser: Browser,
    onlookers: list[Onlooker],
    stage: Stage,
    width: int,
) -> None:
    bob = Onlooker(browser, viewport={"width": width, "height": 800})
    onlookers.append(bob)
    bob.open(stage.url)
    bob.process("cellar").click()
    expect(bob.page.get_by_test_id("detail")).to_contain_text("Room", timeout=WITHIN)
    wide = bob.page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0


@in_a_browser
def test_the_page_comes_back_when_the_program_does(
    browser: Browser,
    onlookers: list[Onlooker],
) -> None:
    ann = Onlooker(browser)
    onlookers.append(ann)
    with Stage() as first:
        port = re.search(r":(\d+)/", first.url)
        assert port is not None
        ann.open(first.url)
    ann.is_("lost")
    # What the browser was about to fetch when the program ended, if anything, it could not.
    ann.problems = [one for one in ann.problems if "net::ERR_CONNECTION" not in one]
    with Stage("--port", port[1]):
        ann.is_("live")
        expect(ann.process("cellar")).to_have_count(1)


# -- the terminal


class Guest:
    """A client of the program's own socket, while the block runs."""

    def __init__(self, url: str, topic: str) -> None:
        program = (
            "import sys, trio\n"
            "from exeunt.channels.client import connect\n"
            "async def main():\n"
            "    async with connect(sys.argv[1]) as socket:\n"
            "        await socket.join(sys.argv[2])\n"
            "        await trio.sleep_forever()\n"
            "trio.run(main)\n"
        )
        self._process = subprocess.Popen([sys.executable, "-c", program, url, topic], cwd=ROOT)

    def __enter__(self) -> Guest:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()


class Screen:
    """`python -m exeunt.observer` in a terminal of its own; what it draws is kept as text."""

    def __init__(
        self, *arguments: str, height: int = 40, width: int = 150, term: str = "xterm-256color"
    ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        environment = {**os.environ, "TERM": term}
        environment.pop("COLUMNS", None)
        environment.pop("LINES", None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "exeunt.observer", *arguments],
            cwd=ROOT,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
        )
        os.close(theirs)

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def shows(self, pattern: str, within: float = 15.0) -> re.Match[str]:
        """Wait until something is drawn that fits; what was drawn before does not count."""
        deadline, drawn = time.monotonic() + within, b""
        while time.monotonic() < deadline:
            drawn += self._read(0.1)
            text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", drawn.decode(errors="replace"))
            if found := re.search(pattern, text):
                return found
        raise AssertionError(f"no {pattern!r} in {text[-4000:]!r}")

    def _read(self, within: float) -> bytes:
        if not select.select([self._ours], [], [], within)[0]:
            return b""
        try:
            return os.read(self._ours, 65536)
        except OSError as error:
            assert error.errno == errno.EIO  # the program has ended
            return b""

    def wait(self) -> int:
        deadline = time.monotonic() + 10
        while self.process.poll() is None and time.monotonic() < deadline:
            self._read(0.05)
        return self.process.wait(0.1)

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


def test_the_terminal_shows_the_tree_and_follows_it(stage: Stage) -> None:
    with Screen(stage.url) as screen:
        screen.shows(r"exeunt observer\s+node 0\s+live")
        screen.shows(r"─ ■ staff Supervisor")
        pid = screen.shows(r"─ ● cellar Room (<0\.\d+>)")[1]
        # Down to the cellar, which is the twelfth line, and kill it.
        screen.press("\x1b[B" * 11)
        screen.shows(re.escape(pid) + r" ServerLoop")
        screen.press("k")
        screen.shows(rf"kill {pid}\?")
        screen.press("y")
        screen.shows(rf"{pid} is killed")
        assert screen.shows(r"─ ● cellar Room (<0\.\d+>)[^\n]* 0 s")[1] != pid
        screen.press("\t")
        screen.shows(r"Topics \(0\)")
        screen.press("q")
        assert screen.wait() == 0


def test_the_terminal_finds_by_key_and_goes_on_to_the_next(stage: Stage) -> None:
    with Guest(stage.socket, "room:foyer"), Screen(stage.url) as screen:
        screen.shows(r"─ ● RoomChannel 'room:foyer' <0")
        screen.press("/")
        screen.shows(r"find by pid, name or key: ")
        screen.press("Foyeq\x7fr\r")
        screen.shows(r"1 of 2: Room 'foyer' <0\.\d+>; n: next")
        screen.press("n")
        pid = screen.shows(r"2 of 2: RoomChannel 'room:foyer' user:ada (<0\.\d+>)")[1]
        # The cursor is on it, so that it is the one to be killed.
        screen.press("k")
        screen.shows(rf"kill {pid}\?")
        screen.press("/q\r")
        screen.shows(r"nothing has 'q' in its name or key")
        screen.press("q")
        assert screen.wait() == 0


def test_what_is_found_is_unfolded(stage: Stage) -> None:
    with Screen(stage.url) as screen:
        screen.shows(r"─ ■ observer ▸ Observer")
        screen.press("/listener\r")
        screen.shows(r"1 of 2: listener <0\.\d+>; n: next")
        screen.press("n")
        screen.shows(r"2 of 2: listener")
        screen.shows(r"─ ● sampler|─ ● Sampler")
        screen.press("q")
        assert screen.wait() == 0


def test_a_narrow_terminal_cuts_the_class_and_not_the_topic(stage: Stage) -> None:
    with Guest(stage.socket, "room:gallery"), Screen(stage.url, width=78) as screen:
        screen.shows(r"─ ● R\w*… 'room:gallery' ")


def test_a_small_terminal_has_room_for_names_and_folds(stage: Stage) -> None:
    with Screen(stage.url, height=24, width=80) as screen:
        screen.shows(r"─ ● sweeper sweep_the_floor")
        # What belongs to the observer is folded, as on the page.
        screen.shows(r"─ ■ observer ▸ Observer <0\.\d+>[^\n]*\n[^\n]*1 link, 0 monitors")
        screen.press("\x1b[B" + "\x1b[D")
        screen.shows(r"─ ■ house ▸ Supervisor <0\.1>[^\n]*\n[^\n]*<0\.1> ")
        screen.press("\x1b[C")
        screen.shows(r"─ ● sweeper sweep_the_floor")
        screen.press("q")
        assert screen.wait() == 0


def test_any_other_key_than_y_kills_nobody(stage: Stage) -> None:
    with Screen(stage.url) as screen:
        pid = screen.shows(r"─ ■ house Supervisor (<0\.\d+>)")[1]
        screen.press("\x1b[B")
        screen.shows(re.escape(pid) + r" ServerLoop")
        screen.press("k")
        screen.shows(rf"kill {pid}\?")
        screen.press("n")
        screen.press("y")
        assert screen.shows(r"─ ■ house Supervisor (<0\.\d+>)")[1] == pid
        screen.process.send_signal(signal.SIGINT)
        assert screen.wait() == 130


def run_once(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "exeunt.observer", *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "160", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_into_a_pipe_it_prints_the_tree_once(stage: Stage) -> None:
    run = run_once(stage.url)
    assert run.returncode == 0, run.stderr
    assert re.search(r"^ *└─ ■ house Supervisor <0\.1>", run.stdout, re.M)
    assert re.search(r"^ *│  └─ ● cellar Room <0\.\d+>", run.stdout, re.M)


def test_into_a_pipe_it_prints_who_is_connected_and_the_rates_too(stage: Stage) -> None:
    with Guest(stage.socket, "room:foyer"):
        for _ in range(50):
            run = run_once(stage.url)
            if "Sockets (1)" in run.stdout:
                break
        assert re.search(r"<0\.\d+> UserSocket user:ada by websocket: room:foyer", run.stdout)
        assert re.search(r"room:foyer \(1\): user:ada <0\.\d+>", run.stdout)
        assert re.search(r"^ Crashes \(\d+\)$", run.stdout, re.M)
        # The ticker asks the store twenty times a second.
        assert re.search(r"─ ● store Store <0\.\d+> +\w+ +\d+ +[1-9]", run.stdout)


def test_an_output_of_ascii_alone_is_no_reason_to_fail(stage: Stage) -> None:
    run = run_once(stage.url, PYTHONIOENCODING="ascii")
    assert run.returncode == 0, run.stderr
    assert re.search(r"^ *`- # house Supervisor <0\.1>", run.stdout, re.M)
    assert run.stdout.isascii()


def test_a_terminal_without_a_cursor_gets_it_once(stage: Stage) -> None:
    with Screen(stage.url, term="dumb") as screen:
        screen.shows(r"─ ● cellar Room")
        assert screen.wait() == 0


@pytest.mark.parametrize("way", ["option", "environment"])
def test_the_token_may_come_apart_from_the_url(stage: Stage, way: str) -> None:
    url = stage.url.partition("#")[0]
    run = run_once(url)
    assert run.returncode == 1
    assert "It takes a token." in run.stderr
    assert "Is the token right?" in run_once(url, "--token", f"no {TOKEN}").stderr
    if way == "option":
        run = run_once(url, "--token", TOKEN)
    else:
        run = run_once(url, EXEUNT_OBSERVER_TOKEN=TOKEN)
    assert run.returncode == 0, run.stderr


def test_where_nobody_listens_it_says_so() -> None:
    run = run_once("http://127.0.0.1:9/")
    assert run.returncode == 1
    assert run.stderr.startswith("cannot watch: cannot connect to http://127.0.0.1:9/socket")
    for url in ("nonsense", "http://127.0.0.1:99999/", "http://127.0.0.1:http/"):
        run = run_once(url)
        assert run.returncode == 2 and "Traceback" not in run.stderr, run.stderr
        assert repr(url) in run.stderr


def test_without_a_url_it_looks_where_an_observer_is_by_default() -> None:
    run = run_once("--help")
    assert run.returncode == 0 and "(http://127.0.0.1:4040/)" in run.stdout


def test_the_page_stands_in_the_package() -> None:
    static = ROOT / "src" / "exeunt" / "observer" / "static"
    assert (static / "vendor" / "phoenix-1.8.16" / "LICENSE.md").is_file()
    for path in sorted(Path(static).glob("*.js")):
        text = path.read_text(encoding="utf-8")
        assert "innerHTML" not in text and "insertAdjacentHTML" not in text, path.name

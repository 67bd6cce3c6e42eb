"""The game: the table as a machine, and players at it, with and without a network."""

from __future__ import annotations

import gc
import re
import signal
import socket
from itertools import product

import pytest
import trio

from examples.game import channels
from examples.game.channels import PlayerSocket
from examples.game.player import words
from examples.game.table import BEATS, OVER, PLAYING, WAITING, NoSeat, Sit, Table, Throw
from exeunt import (
    Down,
    Node,
    Pid,
    Shutdown,
    Supervisor,
    call,
    cast_to,
    exit,
    monitor,
    receive,
    self_pid,
    send,
    spawn,
)
from exeunt.channels import Broadcast, Endpoint, PubSub
from exeunt.channels.client import connect as connect_client
from exeunt.testing import JoinRefused, assert_receive, connect, refute_receive, start_supervised
from tests.e2e.programs import Program
from tests.examples.programs import Terminal, complaint_of, help_of, interrupt

MODULE = "examples.game"


async def sit(table: Pid, name: str) -> None:
    """Sit at a table, and throw what one is told to."""
    await call(table, Sit(name))
    while True:
        cast_to(table, Throw(self_pid(), await receive(str)))


async def new_table() -> Pid:
    """Put up a table, and subscribe the test to its news."""
    hub = PubSub()
    hub.subscribe("table:t")
    table = await start_supervised(Table.child("t", hub).replace(restart="temporary"))
    await news("waiting")
    return table


async def news(event: str, within: float = 1.0) -> dict[str, object]:
    """Wait for the next news of a kind."""
    message = await assert_receive(Broadcast, lambda one: one.event == event, within=within)
    payload: dict[str, object] = message.payload
    return payload


async def two_players(table: Pid) -> tuple[Pid, Pid]:
    ann = spawn(sit, table, "ann")
    await trio.sleep(0.01)
    bob = spawn(sit, table, "bob")
    assert (await news("round"))["here"] == ["ann", "bob"]
    return ann, bob


# -- the machine


@pytest.mark.parametrize(("one", "two"), [*product(BEATS, BEATS)])
async def test_who_wins(one: str, two: str, node: Node, autojump_clock: object) -> None:
    ann, bob = await two_players(await new_table())
    send(ann, one)
    send(bob, two)
    over = await news("over")
    beaten = {"rock": "scissors", "scissors": "paper", "paper": "rock"}
    winner = "ann" if beaten[one] == two else "bob" if beaten[two] == one else None
    assert over["winner"] == winner
    assert over["hands"] == {"ann": one, "bob": two}
    assert over["scores"] == {"ann": int(winner == "ann"), "bob": int(winner == "bob")}


@pytest.mark.parametrize("who", ["ann", "bob"])
async def test_the_time_for_a_throw_runs_out(who: str, node: Node, autojump_clock: object) -> None:
    players = dict(zip(("ann", "bob"), await two_players(await new_table()), strict=True))
    began = trio.current_time()
    send(players[who], "rock")
    over = await news("over", within=PLAYING + 1)
    assert trio.current_time() - began == pytest.approx(PLAYING)
    nothing: dict[str, str | None] = {"ann": None, "bob": None}
    assert (over["winner"], over["hands"]) == (who, {**nothing, who: "rock"})
    await news("round", within=OVER + 1)
    assert trio.current_time() - began == pytest.approx(PLAYING + OVER)
    over = await news("over", within=PLAYING + 1)
    assert (over["winner"], over["scores"]) == (None, {"ann": 0, "bob": 0, who: 1})


async def test_only_the_first_throw_counts(node: Node, autojump_clock: object) -> None:
    ann, bob = await two_players(await new_table())
    for hand in ("rock", "paper", "scissors"):
        send(ann, hand)
    await trio.sleep(0.1)
    send(bob, "scissors")
    assert (await news("over"))["hands"] == {"ann": "rock", "bob": "scissors"}


async def test_a_throw_before_the_round_is_kept_for_it(node: Node, autojump_clock: object) -> None:
    table = await new_table()
    ann = spawn(sit, table, "ann")
    await trio.sleep(0.1)
    send(ann, "rock")
    await trio.sleep(0.1)
    spawn(sit, table, "bob")
    await news("round")
    assert await news("thrown") == {"name": "ann"}


async def test_no_more_than_one_throw_of_a_player_is_kept(
    node: Node, autojump_clock: object
) -> None:
    table = await new_table()
    ann = spawn(sit, table, "ann")
    for _ in range(50):
        send(ann, "rock")
    await trio.sleep(1)
    gc.collect()
    kept = [one for one in gc.get_objects() if isinstance(one, Throw) and one.player is ann]
    # The one that is postponed, and the last message, which a server remembers for a crash report.
    assert len(kept) <= 2


async def test_a_throw_after_the_round_is_kept_for_the_next(
    node: Node, autojump_clock: object
) -> None:
    ann, bob = await two_players(await new_table())
    send(ann, "rock")
    send(bob, "rock")
    await news("over")
    for hand in ("paper", "rock", "scissors"):
        send(ann, hand)
    await news("thrown")
    await news("thrown")
    await refute_receive(Broadcast, lambda one: one.event == "thrown", within=OVER / 2)
    await news("round", within=OVER)
    await news("thrown")
    send(bob, "rock")
    assert (await news("over"))["hands"] == {"ann": "paper", "bob": "rock"}


async def test_a_throw_that_waits_outlasts_the_other_player(
    node: Node, autojump_clock: object
) -> None:
    """It is postponed when the round is over, again while one waits, and then it counts."""
    table = await new_table()
    ann, bob = await two_players(table)
    send(ann, "rock")
    send(bob, "rock")
    await news("over")
    send(ann, "paper")
    await trio.sleep(0.1)
    exit(bob, "kill")
    assert await news("left") == {"name": "bob", "how": "killed"}
    assert await news("waiting") == {"here": ["ann"]}
    eve = spawn(sit, table, "eve")
    await news("round", within=1)
    send(eve, "rock")
    over = await news("over")
    assert over["hands"] == {"ann": "paper", "eve": "rock"}
    assert over["scores"] == {"ann": 1, "eve": 0}


@pytest.mark.parametrize("when", ["playing", "over"])
async def test_who_leaves_frees_the_seat(when: str, node: Node, autojump_clock: object) -> None:
    table = await new_table()
    ann, bob = await two_players(table)
    if when == "over":
        send(ann, "rock")
        send(bob, "rock")
        for event in ("thrown", "thrown", "over"):
            await news(event)
    exit(ann, "the train has come")
    assert await news("left") == {"name": "ann", "how": "the train has come"}
    assert await news("waiting") == {"here": ["bob"]}
    # The time-out of the state that was left does not strike the next one.
    await refute_receive(Broadcast, within=PLAYING + OVER)
    spawn(sit, table, "eve")
    assert (await news("round"))["here"] == ["bob", "eve"]


async def test_a_table_for_two_has_no_third_seat(node: Node, autojump_clock: object) -> None:
    table = await new_table()
    await two_players(table)
    with pytest.raises(NoSeat, match="two are playing"):
        await call(table, Sit("eve"))


async def test_two_of_one_name_cannot_play(node: Node, autojump_clock: object) -> None:
    table = await new_table()
    spawn(sit, table, "ann")
    await trio.sleep(0.1)
    with pytest.raises(NoSeat, match="another ann"):
        await call(table, Sit("ann"))


async def test_a_table_to_which_nobody_comes_is_closed(node: Node, autojump_clock: object) -> None:
    table = await new_table()
    ref = monitor(table)
    spawn(sit, table, "ann")
    await assert_receive(Down(ref, table, Shutdown("nobody else has come")), within=WAITING + 1)


# -- through channels


async def serve() -> str:
    await Supervisor.start_link(channels.children(0), strategy="rest_for_one")
    return await Endpoint.url("endpoint")


async def test_players_are_channels(node: Node, autojump_clock: object) -> None:
    await serve()
    async with connect(PlayerSocket) as one, connect(PlayerSocket) as two:
        ann = await one.join("table:garden", {"name": "ann"})
        assert ann.response == {"here": ["ann"]}
        bob = await two.join("table:garden", {"name": "bob"})
        assert bob.response == {"here": ["ann", "bob"]}
        for player, hand in ((ann, "rock"), (bob, "paper")):
            await player.assert_push("round", {"here": ["ann", "bob"], "seconds": PLAYING})
            await player.assert_reply(player.push("throw", {"hand": hand}), "ok")
        for player in (ann, bob):
            over = await player.assert_push("over")
            assert over["winner"] == "bob"
        await ann.leave()
        await bob.assert_push("left", {"name": "ann", "how": "shutdown: left"})


async def test_tables_do_not_mix(node: Node, autojump_clock: object) -> None:
    await serve()
    async with connect(PlayerSocket) as one, connect(PlayerSocket) as two:
        ann = await one.join("table:garden", {"name": "ann"})
        await two.join("table:kitchen", {"name": "bob"})
        await ann.refute_push("round")


@pytest.mark.parametrize(
    ("topic", "params"),
    [
        ("table:t", {}),
        ("table:t", {"name": ""}),
        ("table:t", {"name": 7}),
        ("table:t", {"name": "x" * 21}),
        ("table:" + "x" * 21, {"name": "ann"}),
        ("table:", {"name": "ann"}),
    ],
)
async def test_who_makes_no_sense_is_not_seated(topic: str, params: object, node: Node) -> None:
    await serve()
    async with connect(PlayerSocket) as client:
        with pytest.raises(JoinRefused, match="name"):
            await client.join(topic, params)


@pytest.mark.parametrize("payload", [{}, {"hand": "well"}, {"hand": 7}, [], "rock"])
async def test_what_is_no_hand_is_answered_so(payload: object, node: Node) -> None:
    await serve()
    async with connect(PlayerSocket) as client:
        ann = await client.join("table:t", {"name": "ann"})
        await ann.assert_reply(
            ann.push("throw", payload), "error", {"reason": "throw one of rock, paper, scissors"}
        )


async def test_players_leave_with_the_table(node: Node, autojump_clock: object) -> None:
    await serve()
    async with connect(PlayerSocket) as client:
        ann = await client.join("table:t", {"name": "ann"})
        await trio.sleep(WAITING)
        await ann.assert_exit(
            Shutdown("the table is closed (shutdown: nobody else has come)"), within=1
        )
        # And there is another one for who comes again.
        await client.join("table:t", {"name": "ann"})


async def test_a_client_in_python_plays(node: Node) -> None:
    url = await serve()
    async with connect_client(f"{url}/socket") as one, connect_client(f"{url}/socket") as two:
        ann = await one.join("table:t", {"name": "ann"})
        bob = await two.join("table:t", {"name": "bob"})
        await ann.push("throw", {"hand": "rock"})
        await bob.push("throw", {"hand": "scissors"})
        told = [words(await ann.receive()) for _ in range(5)]
    assert told == [
        "here: nobody; waiting for somebody else",
        "ann against bob: rock, paper or scissors? 8 seconds",
        "ann has thrown",
        "bob has thrown",
        "ann: rock, bob: scissors. ann wins: 1 to 0",
    ]


# -- the program


@pytest.mark.slow
def test_robots_play_until_ctrl_c() -> None:
    ended = interrupt(MODULE, "--port", "0", after="table robots: .* against ")
    assert ended.status == 0
    assert ended.stdout.endswith("Good game.\n")
    assert ended.stderr == ""


@pytest.mark.slow
def test_two_people_play_in_their_terminals() -> None:
    with Program(MODULE, "--port", "0", "--no-robots") as server:
        port = server.line(r"Tables are at http://127\.0\.0\.1:(\d+);")[1]
        with Terminal(MODULE, "ann", "--port", port) as ann:
            ann.see("ann sits at the table garden")
            ann.write("r\n")
            with Terminal(MODULE, "bob", "--port", port) as bob:
                bob.see("bob sits at the table garden")
                bob.write("what\np\n")
                for player in (ann, bob):
                    player.see("ann: rock, bob: paper. bob wins: 0 to 1")
                bob.see(r"\nthrow one of rock, paper, scissors")
                assert bob.press_ctrl_c() == 0
                assert bob.said.endswith("Good game.\n")
            ann.see(r"bob has left \(shutdown: local_closed\)")
            assert ann.press_ctrl_c() == 0
            assert "Traceback" not in ann.said + bob.said
        assert server.end(signal.SIGINT).status == 0


@pytest.mark.slow
def test_a_player_without_a_server_is_told() -> None:
    with Program(MODULE, "ann", "--port", "1") as ann:
        ended = ann.wait()
    assert ended.status == 1
    assert re.search("127.0.0.1:1", ended.stderr)


@pytest.mark.slow
def test_it_says_what_it_is() -> None:
    assert "a state machine for each" in help_of(MODULE)


@pytest.mark.slow
def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "Address already in use" in complaint_of(MODULE, "--port", str(port))

"""Three small pictures: who is restarted with whom, how an end travels along links, the rooms."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from docs.diagrams.links import SCENES
from docs.diagrams.recorder import Data, Mismatch
from docs.diagrams.strategies import CHILDREN
from docs.diagrams.svg import Picture, width_of, without_backticks

# -- who is restarted with whom -------------------------------------------------------------------

STRATEGY_ORDER: Final = ("one_for_one", "rest_for_one", "one_for_all")

_CHILD: Final = (96.0, 28.0)
_APART: Final = 112.0


def draw_strategies(data: Data) -> Picture:
    """Draw a supervisor with three children for each strategy, of whom the second crashes."""
    _expect("strategies", data, STRATEGY_ORDER)
    sentences = []
    for strategy in STRATEGY_ORDER:
        anew = [name for name in CHILDREN if data[strategy][name]]
        sentences.append(f"With {strategy}, {' and '.join(anew)} start anew.")
    description = f"The second of three children crashes. {' '.join(sentences)}"
    picture = Picture("strategies", "Who is restarted together", description)
    left = 14.0
    center = left + _APART + _CHILD[0] / 2
    top = 14.0
    for strategy in STRATEGY_ORDER:
        label = f"`{strategy}`"
        wide = width_of(label) + 28
        picture.box(center - wide / 2, top, wide, 28, "heavy", radius=4)
        picture.text(center, top + 18.5, label, anchor="middle")
        below, fork = top + 28 + 30, top + 28 + 15
        for number, name in enumerate(CHILDREN):
            x = left + number * _APART
            middle = x + _CHILD[0] / 2
            is_anew, crashes = data[strategy][name], name == "second"
            ties = "bad" if crashes else "" if is_anew else "faint"
            picture.line(
                [(center, top + 28), (center, fork), (middle, fork), (middle, below)], ties
            )
            kind = "bad" if crashes else "good" if is_anew else ""
            picture.box(x, below, *_CHILD, kind, radius=14)
            picture.text(middle, below + 18.5, name, anchor="middle")
            told = {(True, True): "crashes, is back", (False, True): "restarted too"}
            words = told.get((crashes, is_anew), "is left alone")
            kind = f"small {kind or 'soft'}"
            picture.text(middle, below + _CHILD[1] + 16, words, kind, anchor="middle")
        top = below + _CHILD[1] + 44
    return picture


# -- how an end travels ---------------------------------------------------------------------------

LINK_TITLES: Final = {
    "link": "The end of a process, and who is linked to it",
    "links": "How far the end of a process travels along links",
}


def draw_links(name: str, everything: Data) -> Picture:
    """Draw a chain of links, along which the end of the first travels as far as it does."""
    _expect("links", everything, LINK_TITLES)
    data = everything[name]
    order = [*SCENES[name]]
    _expect(name, data, order)
    told = {one: _fate_in_words(data[one], data) for one in order}
    description = " ".join(
        without_backticks(f"The {one} {first} {second}".strip()) + "."
        for one, (first, second) in told.items()
    )
    picture = Picture(name, LINK_TITLES[name], description)
    left, wide, high, apart = 40.0, 84.0, 30.0, 66.0
    tops = {one: 16.0 + number * apart for number, one in enumerate(order)}
    for one in order:
        fate, top = data[one], tops[one]
        kind = "bad" if fate["ended"] else ""
        picture.box(left, top, wide, high, kind, radius=15)
        picture.text(left + wide / 2, top + 19.5, one, anchor="middle")
        first, second = told[one]
        x = left + wide + 16
        picture.text(x, top + (13 if second else 19.5), first, "bad" if fate["ended"] else "")
        if second:
            picture.text(x, top + 31, second, "small soft")
        for other in fate["links"]:
            has_told = bool(data[other]["ended"])
            above = tops[other] + high
            points = [(left + wide / 2, above), (left + wide / 2, top)]
            picture.line(points, "bad" if has_told else "", arrow=has_told)
        for other in fate["monitors"]:
            into = tops[other] + high / 2
            start = (left, top + high / 2)
            rail = left - 20
            picture.line(
                [(left, into), (rail, into), (rail, start[1]), start], "dashed", arrow=True
            )
    y = tops[order[-1]] + high + 26
    picture.line([(left - 20, y - 4), (left + 6, y - 4)])
    end = picture.text(left + 14, y, "a link", "small soft")
    if any(fate["monitors"] for fate in data.values()):
        picture.line([(end + 18, y - 4), (end + 44, y - 4)], "dashed")
        picture.text(end + 52, y, "a monitor", "small soft")
    return picture


def _fate_in_words(fate: Data, data: Data) -> tuple[str, str]:
    if fate["ended"]:
        linked = fate["links"]
        is_same = any(data[other]["ended"] == fate["ended"] for other in linked)
        return ("ends too, for the same reason" if is_same else "crashes", f"`{fate['ended']}`")
    if fate["gets"]:
        why = "traps exits: lives, and gets" if fate["traps"] else "only monitors: lives, and gets"
        return (why, " ".join(f"`{one}`" for one in fate["gets"]))
    return ("lives, and hears nothing", "")


# -- the rooms ------------------------------------------------------------------------------------

ROOM_WORDS: Final = {
    "channels": "what Phoenix gives",
    "otp": "what OTP gives",
    "kernel": "what the BEAM gives",
    "observer": "",
    "testing": "",
}
_STACK: Final = ("channels", "otp", "kernel")
_ASIDE: Final = ("testing", "observer")


def draw_rooms(data: Data) -> Picture:
    """Draw the rooms one above the other, and an arrow for every import between them."""
    _expect("rooms", data, ROOM_WORDS)
    sentences = [
        f"{room} imports from {', '.join([*one['imports'], *one['libraries']])}."
        for room, one in data.items()
    ]
    picture = Picture("rooms", "The rooms, and which imports from which", " ".join(sentences))
    wide, high, apart, aside, between = 156.0, 46.0, 32.0, 70.0, 30.0
    left = 14.0 + aside + between
    tops = {room: 14.0 + number * (high + apart) for number, room in enumerate(_STACK)}
    for room in _STACK:
        picture.box(left, tops[room], wide, high, "heavy")
        middle = left + wide / 2
        picture.text(middle, tops[room] + 19, f"`{room}`", "strong", anchor="middle")
        picture.text(middle, tops[room] + 36, ROOM_WORDS[room], "small soft", anchor="middle")
        for number, other in enumerate(data[room]["imports"]):
            far = _STACK.index(other) - _STACK.index(room)
            if far < 1:
                raise Mismatch(f"{room} imports from {other}, which is not below it")
            x = left + wide / 2
            if far == 1:
                picture.line([(x, tops[room] + high), (x, tops[other])], arrow=True)
            else:
                start, end, rail = tops[room] + high - 12, tops[other] + 12, left - 12 - 4 * number
                points = [(left, start), (rail, start), (rail, end), (left, end)]
                picture.line(points, arrow=True)
    bottom = tops[_STACK[-1]] + high
    for number, room in enumerate(_ASIDE):
        x = 14.0 if number == 0 else left + wide + between
        picture.box(x, tops[_STACK[0]], aside, bottom - tops[_STACK[0]], "dashed")
        height = (tops[_STACK[0]] + bottom) / 2
        picture.text(x + aside / 2, height + 4, f"`{room}`", "strong", anchor="middle")
        for other in data[room]["imports"]:
            if other not in _STACK:
                raise Mismatch(f"{room} imports from {other}, to which there is no arrow")
            y = tops[other] + high / 2
            start, end = (x + aside, left) if number == 0 else (x, left + wide)
            picture.line([(start, y), (end, y)], arrow=True)
    y = bottom + 24
    for room in (*_STACK, *_ASIDE):
        libraries = " ".join(data[room]["libraries"])
        at = picture.text(14, y, f"`{room}`", "small")
        picture.text(max(at + 6, 14.0 + 60), y, f"`{libraries}`", "small soft")
        y += 18
    return picture


def _expect(what: str, data: Data, places: Iterable[str]) -> None:
    if set(data) != set(places):
        raise Mismatch(
            f"{what}: there are places for {sorted(places)}, recorded are {sorted(data)}"
        )

"""The diagrams show what the code does today, and can be read."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.diagrams import gallery
from docs.diagrams.checks import contrasts, problems_of
from docs.diagrams.directive import SMALLEST, inlined
from docs.diagrams.lives import LIVES
from docs.diagrams.rails import draw_life
from docs.diagrams.recorder import Data, Mismatch, Recorder
from docs.diagrams.svg import CODE_SCALE, SMALL, Picture

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
KEPT = gallery.kept()
IMAGES = sorted(gallery.IMAGES.glob("*.svg"))


@pytest.mark.slow
@pytest.mark.parametrize("name", gallery.RECORDERS)
def test_what_is_recorded_anew_is_what_was_drawn(name: str) -> None:
    assert gallery.RECORDERS[name]() == KEPT[name], "draw them anew: make diagrams"


def test_the_pictures_are_those_of_what_was_recorded() -> None:
    drawn = {one.name: one.render() for one in gallery.pictures(KEPT)}
    assert {path.stem: path.read_text(encoding="utf-8") for path in IMAGES} == drawn


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_a_picture_can_be_read(path: Path) -> None:
    assert list(problems_of(path.read_text(encoding="utf-8"))) == []


def test_texts_stand_out_from_what_is_behind_them_in_light_and_dark() -> None:
    assert [one for one in contrasts() if one[2] < 4.5] == []


def test_a_text_stays_readable_on_a_narrow_screen() -> None:
    assert SMALL * CODE_SCALE * SMALLEST > 10


# -- every picture is shown, and all that is shown is there ----------------------------------------


def shown() -> Iterator[str]:
    for page in DOCS.rglob("*.md"):
        yield from re.findall(r"^[`:]{3,}\{diagram\} (\S+)", page.read_text("utf-8"), re.MULTILINE)


def test_the_pages_show_every_picture_and_no_others() -> None:
    assert set(shown()) == {path.stem for path in IMAGES}


def test_a_picture_within_a_page_shrinks_but_little_and_keeps_its_size_to_itself() -> None:
    [tag] = re.findall(r"<svg[^>]*>", inlined(IMAGES[0].read_text(encoding="utf-8")))
    assert "max-width:" in tag and "min-width:" in tag
    assert " width=" not in tag and " height=" not in tag


# -- what is wrong is said loudly ------------------------------------------------------------------


def test_a_step_that_is_recorded_and_has_no_words_is_an_error() -> None:
    data: Data = copy.deepcopy(KEPT["process"])
    data["edges"].append({"from": "dead", "to": "running", "way": "by magic"})
    with pytest.raises(Mismatch, match=r"by magic.*is recorded, but has no words"):
        draw_life(LIVES["process"], data)


def test_words_for_a_step_that_is_not_recorded_are_an_error() -> None:
    data: Data = copy.deepcopy(KEPT["process"])
    gone = data["edges"].pop()
    with pytest.raises(Mismatch, match=f"{gone['from']}.*has words, but is not recorded"):
        draw_life(LIVES["process"], data)


def test_a_state_that_has_no_place_is_an_error() -> None:
    data: Data = copy.deepcopy(KEPT["join"])
    data["states"].append("dreaming")
    with pytest.raises(Mismatch, match="'dreaming' is recorded, but has no place"):
        draw_life(LIVES["join"], data)


def test_a_state_that_nobody_was_seen_in_is_an_error() -> None:
    recorder = Recorder()
    recorder.enter("ann", "running")
    with pytest.raises(Mismatch, match="dead"):
        recorder.data(["running", "dead"])


def test_a_step_that_shows_another_reason_the_second_time_is_an_error() -> None:
    recorder = Recorder()
    for reason in ("normal", "killed"):
        recorder.begin("it ends")
        recorder.enter(reason, "dead", reason=reason)
    with pytest.raises(Mismatch, match=r"normal.*killed"):
        recorder.data(["dead"])


def test_a_way_that_leads_nowhere_is_an_error() -> None:
    recorder = Recorder()
    recorder.begin("nothing happens")
    with pytest.raises(Mismatch, match="nothing happens"):
        recorder.check_seen()


def drawn_badly() -> Picture:
    picture = Picture("bad", "A title", "A description")
    picture.text(10, 20, "one text")
    return picture


def test_texts_that_overlap_are_found() -> None:
    picture = drawn_badly()
    picture.text(30, 24, "another")
    assert any("overlap" in one for one in problems_of(picture.render()))


def test_a_line_through_a_text_is_found() -> None:
    picture = drawn_badly()
    picture.line([(0, 16), (100, 16)])
    assert any("crosses 'one text'" in one for one in problems_of(picture.render()))


def test_a_text_that_does_not_fit_its_box_is_found() -> None:
    picture = drawn_badly()
    picture.box(5, 5, 20, 20)
    assert any("edge of a box" in one for one in problems_of(picture.render()))


def test_a_text_that_leaves_the_picture_is_found() -> None:
    picture = drawn_badly()
    picture.text(0, 50, "to the left", anchor="middle")
    assert any("leaves the picture" in one for one in problems_of(picture.render()))


def test_a_picture_without_words_for_those_who_cannot_see_it_is_found() -> None:
    assert any("desc" in one for one in problems_of(Picture("x", "A title", "").render()))


def test_a_fixed_colour_is_found() -> None:
    svg = drawn_badly().render()
    assert any("fixed" in one for one in problems_of(svg.replace("#fcfcfd", "#ffffff")))
    assert any("fixed fill" in one for one in problems_of(svg.replace("<text", '<text fill="red"')))

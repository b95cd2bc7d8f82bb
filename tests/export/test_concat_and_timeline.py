"""Quoting for ffmpeg, what clips have to agree in, timecode, reel names, and the layout of a sheet."""

from __future__ import annotations

import shlex
from fractions import Fraction

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from seedance_async.errors import ConfigurationError
from seedance_async.export.concat import concat_text, disagreements, join_words
from seedance_async.export.probe import Footage, nearest_rate
from seedance_async.export.sheet_layout import WIDTH, label, layout, moments, page_name, time_text
from seedance_async.export.timeline import Edit, check_edits, frames_at, reel_names, timecode_rate

CLIP = Footage(width=1280, height=720, rate=Fraction(24), frames=96, codec="h264", sound="aac")


def unquoted(token: str) -> str:
    """A token as ffmpeg's ``av_get_token`` reads it: in quotes all is literal, a backslash takes a letter."""
    text, position = "", 0
    while position < len(token):
        letter = token[position]
        position += 1
        if letter == "\\" and position < len(token):
            text += token[position]
            position += 1
        elif letter == "'":
            end = token.index("'", position)
            text += token[position:end]
            position = end + 1
        else:
            text += letter
    return text


@given(st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), min_size=1))
def test_ffmpeg_reads_every_path_as_it_was_meant(path: str) -> None:
    """Whatever quotes, blanks, backslashes and letters are in it."""
    text = concat_text([path], note="x")

    assert text.startswith("ffconcat version 1.0\n")
    read = unquoted(text.split("\n")[2].removeprefix("file "))
    assert path == (read.removeprefix("./") if ":" in path.split("/", 1)[0] else read)


def test_a_colon_in_the_first_part_is_no_protocol() -> None:
    """``a:b.mp4`` would be asked of a protocol called ``a``."""
    assert "file './a:b/c.mp4'\n" in concat_text(["a:b/c.mp4"], note="x")


def test_clips_that_are_alike_are_copied() -> None:
    """Nothing is encoded anew that need not be."""
    words = join_words([CLIP, evolve(CLIP, frames=12)], listed="o ut/concat.txt", joined="joined.mp4")

    assert [] == disagreements([("a", CLIP), ("b", evolve(CLIP, frames=12))])
    assert "ffmpeg -f concat -safe 0 -i 'o ut/concat.txt' -c copy joined.mp4" == shlex.join(words)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (evolve(CLIP, width=720, height=1280), "sizes differ: 1280x720 in 2; 720x1280 in tall"),
        (evolve(CLIP, rate=Fraction(12)), "frame rates differ: 24 a second in 2; 12 a second in tall"),
        (evolve(CLIP, codec="vp9"), "codecs differ: h264 in 2; vp9 in tall"),
        (evolve(CLIP, sound=None), "sound differs: aac in 2; none in tall"),
    ],
)
def test_clips_that_differ_are_named_and_encoded_anew(other: Footage, said: str) -> None:
    """At the size of the most."""
    words = join_words([CLIP, CLIP, other], listed="c.txt", joined="j.mp4")

    assert [said] == disagreements([("a", CLIP), ("tall", other), ("b", CLIP)])
    assert "copy" not in words
    assert "scale=1280:720" in words[words.index("-vf") + 1]
    assert ("-af" in words) == (other.sound is None)


def test_many_that_differ_are_counted() -> None:
    """A message stays a line."""
    tall = evolve(CLIP, width=720)
    (said,) = disagreements([("a", CLIP)] * 9 + [(f"t{number}", tall) for number in range(8)])

    assert said.endswith("t0, t1, t2, t3, t4, and 3 more")


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ([24], Fraction(24)),
        ([12], Fraction(24)),
        ([15], Fraction(30)),
        ([16], Fraction(48)),
        ([24, 24, 25], Fraction(24)),
        ([Fraction(30_000, 1001)], Fraction(30_000, 1001)),
        ([Fraction(12_000, 1001)], Fraction(24_000, 1001)),
    ],
)
def test_edits_are_counted_in_a_rate_that_has_a_timecode(rates: list[Fraction], expected: Fraction) -> None:
    """A frame of the clip is a whole number of its frames."""
    assert expected == timecode_rate(map(Fraction, rates))


@pytest.mark.parametrize("rates", [[], [Fraction(7)], [Fraction(120)]])
def test_a_rate_without_a_timecode_is_refused(rates: list[Fraction]) -> None:
    """With the way that is open."""
    with pytest.raises(ConfigurationError, match="--otio"):
        timecode_rate(rates)


@pytest.mark.parametrize(
    ("stated", "meant"),
    [
        ("24", "24"),
        ("24000/1001", "24000/1001"),
        ("1199/50", "24000/1001"),
        ("119/5", "119/5"),
        ("239999/10000", "24"),
        ("29969/1000", "30000/1001"),
    ],
)
def test_a_rate_is_the_common_one_where_only_rounding_parts_them(stated: str, meant: str) -> None:
    """24 and 23.976 are not the same."""
    assert Fraction(meant) == nearest_rate(Fraction(stated))


def edit(number: int = 0, **fields: object) -> Edit:
    """A clip in a timeline."""
    own = {"name": f"shot-{number}", "path": f"shot-{number}.mp4", "rate": Fraction(24), "frames": 97}
    return Edit(**{**own, "has_sound": False, **fields})  # type: ignore[arg-type]  # fields of the class


def test_lengths_are_rounded_to_whole_frames() -> None:
    """But never to none."""
    assert (97, 101, 1) == (
        frames_at(edit(), Fraction(24)),
        frames_at(edit(), Fraction(25)),
        frames_at(edit(frames=1), Fraction(24000, 1001)),
    )


def test_a_list_of_edits_has_999_at_most() -> None:
    """Its numbers have three digits."""
    check_edits([edit()] * 999)
    with pytest.raises(ConfigurationError, match="1,000 clips"):
        check_edits([edit()] * 1000)


@given(st.lists(st.text(max_size=20), max_size=40))
def test_reel_names_are_short_plain_and_all_different(shots: list[str]) -> None:
    """Whatever shots are called."""
    reels = reel_names(shots)

    assert len(shots) == len(set(reels)) == len(reels)
    assert all(reel.isascii() and reel.isalnum() and len(reel) <= 8 for reel in reels)
    assert not {"AX", "BL"} & set(reels)


def test_reel_names_tell_long_names_apart_that_begin_alike() -> None:
    """Cut to eight characters they would be one."""
    assert ["SHOTVERY", "SHOTVER2"] == reel_names(["shot-very-long-1", "shot-very-long-2"])


@given(st.lists(st.sampled_from([1, 4]), min_size=1, max_size=300), st.floats(0.2, 5.0))
def test_no_frame_of_a_sheet_lies_on_another_and_no_clip_is_parted(counts: list[int], ratio: float) -> None:
    """Pages stay low enough for a JPEG."""
    sheet = layout(counts, most=4, ratio=ratio)
    places = [(page, cell.left, cell.top) for page, cells in enumerate(sheet.pages) for cell in cells]
    rows: dict[int, set[tuple[int, int]]] = {}
    for page, cells in enumerate(sheet.pages):
        assert sheet.height(cells) <= 6_600
        for cell in cells:
            rows.setdefault(cell.shot, set()).add((page, cell.top))

    assert sum(counts) == len(places) == len(set(places))
    assert {1} == {len(where) for where in rows.values()}
    assert all(left + WIDTH <= sheet.width for _, left, _ in places)


def test_frames_are_taken_from_the_middle_of_equal_parts() -> None:
    """A clip's first frame is often black."""
    assert [0.5, 1.5, 2.5, 3.5] == moments(4.0, 4)
    assert ["0:00.5", "1:00.0", "12:34.6"] == [time_text(each) for each in (0.5, 59.96, 754.56)]


def test_labels_are_one_line_without_marks_that_change_direction() -> None:
    """Names are foreign text."""
    assert "a b ab" == label("a\n b\u202e\x1b \u200fa\ue000b")
    assert "?" == label("\u202e\n")


def test_pages_are_numbered_from_the_second() -> None:
    """The first has the name that was asked for."""
    assert ["s.1.jpg", "s.1-2.jpg"] == [page_name("s.1.jpg", number) for number in (1, 2)]

"""When a download may go on: the bytes here and those to come must be of one version of the file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_async.downloads.resume import FullBody, Mismatch, Remainder, Version, interpret

KITE = Version(length=1000, etag='"kite-1"', last_modified="Wed, 03 Jun 2026 10:03:12 GMT")
DATED = Version(length=1000, last_modified="Wed, 03 Jun 2026 10:03:12 GMT")
REST = {"Content-Range": "bytes 400-999/1000", "ETag": '"kite-1"'}


@pytest.mark.case(106)
@pytest.mark.parametrize(
    ("headers", "length", "expected"),
    [
        ({"ETag": '"a"'}, 7, Version(length=7, etag='"a"')),
        ({"Last-Modified": "today"}, 7, Version(length=7, last_modified="today")),
        ({"ETag": 'W/"a"', "Last-Modified": "today"}, 7, Version(length=7, last_modified="today")),
        ({"ETag": 'W/"a"'}, 7, None),
        ({"ETag": "a"}, 7, None),
        ({"ETag": '"a"'}, None, None),
        ({"ETag": '"a"'}, 0, None),
        ({"Last-Modified": "a\r\nCookie: b"}, 7, None),
        ({}, 7, None),
    ],
    ids=["etag", "date", "weak and date", "weak", "unquoted", "no length", "empty", "line ends", "nothing"],
)
def test_a_version_is_known_by_strong_validators(
    headers: dict[str, str], length: int | None, expected: Version | None
) -> None:
    """Weak tags promise no bytes, and without a length the end cannot be seen."""
    assert expected == Version.from_headers(headers, length=length)


def test_the_rest_is_asked_for_under_a_condition() -> None:
    """If-Range carries the tag where there is one, and the date elsewhere."""
    assert {"Range": "bytes=400-", "If-Range": '"kite-1"'} == KITE.range_headers(400)
    assert {"Range": "bytes=400-", "If-Range": DATED.last_modified} == DATED.range_headers(400)


@pytest.mark.case(108)
def test_of_a_whole_part_the_last_byte_is_asked_for() -> None:
    """A range that can always be had, so 416 can only mean another file."""
    assert "bytes=999-" == KITE.range_headers(1000)["Range"]


@pytest.mark.case(107)
@pytest.mark.parametrize(
    ("version", "status", "headers", "expected"),
    [
        (KITE, 206, REST, Remainder(400, 1000)),
        (KITE, 206, {"Content-Range": "bytes 400-999/*"}, Remainder(400, 1000)),
        (DATED, 206, REST, Remainder(400, 1000)),
        (KITE, 200, {}, FullBody()),
        (None, 200, {}, FullBody()),
        (KITE, 203, {}, FullBody()),
        (None, 206, {"Content-Range": "bytes 0-999/1000"}, FullBody()),
        (None, 206, {"Content-Range": "bytes 0-999/*"}, FullBody()),
    ],
    ids=[
        "as reported",
        "total not reported",
        "by date",
        "range ignored",
        "nothing here",
        "by a proxy",
        "whole",
        "total unknown",
    ],
)
def test_what_fits_is_used(
    version: Version | None, status: int, headers: dict[str, str], expected: object
) -> None:
    """A server that ignores ranges sends everything, and everything is taken."""
    assert expected == interpret(version, 400, status=status, headers=headers)


@pytest.mark.case(108, 111)
@pytest.mark.parametrize(
    ("version", "status", "headers"),
    [
        (KITE, 206, {**REST, "ETag": '"kite-2"'}),
        (DATED, 206, {**REST, "Last-Modified": "tomorrow"}),
        (KITE, 206, {"Content-Range": "bytes 399-999/1000"}),
        (KITE, 206, {"Content-Range": "bytes 400-998/1000"}),
        (KITE, 206, {"Content-Range": "bytes 400-999/1001"}),
        (KITE, 206, {"Content-Range": "bytes */1000"}),
        (KITE, 206, {}),
        (KITE, 416, {"Content-Range": "bytes */300"}),
        (None, 206, REST),
    ],
    ids=[
        "other tag", "other date", "other start", "other end", "other total", "no place", "no range",
        "416", "not asked for",
    ],
)  # fmt: skip
def test_what_does_not_fit_is_not_joined(
    version: Version | None, status: int, headers: dict[str, str]
) -> None:
    """Two halves of two files are no file."""
    assert isinstance(interpret(version, 400, status=status, headers=headers), Mismatch)


@given(
    st.builds(
        Version,
        length=st.integers(1, 2**40),
        etag=st.from_regex(r'\A"[!#-~]{0,20}"\Z'),
        last_modified=st.none() | st.from_regex(r"\A[ -~]{1,30}\Z"),
    )
)
def test_a_version_comes_back_from_its_text(version: Version) -> None:
    """What another process wrote beside its part is what this one reads."""
    assert version == Version.from_json(version.to_json())


@given(st.binary(max_size=200) | st.integers(0, 60).map(lambda cut: KITE.to_json()[:cut]))
def test_any_other_text_is_no_version(text: bytes) -> None:
    """A torn or foreign file means starting over, never an error."""
    assert Version.from_json(text) is None

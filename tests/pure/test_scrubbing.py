"""The key in what a server sends: found in every spelling, and nothing else changed."""

from __future__ import annotations

import html
import json
from base64 import b64encode, urlsafe_b64encode
from binascii import b2a_hex
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seedance_async.cli.output import without_controls
from seedance_async.scrubbing import MASK, Scrubber

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = "sk_live/<canary>+0123"
SCRUBBER = Scrubber(KEY)

ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda text: text,
    "upper case": str.upper,
    "solidus escaped": lambda text: text.replace("/", "\\/"),
    "every character escaped": lambda text: "".join(f"\\u{ord(mark):04x}" for mark in text),
    "escaped in upper case": lambda text: "".join(f"\\u{ord(mark):04X}" for mark in text),
    "every second character escaped": lambda text: "".join(
        f"\\u{ord(mark):04x}" if place % 2 else mark for place, mark in enumerate(text)
    ),
    "angle brackets escaped": lambda text: text.replace("<", "\\u003c").replace(">", "\\u003E"),
    "percent-encoded": lambda text: quote(text, safe=""),
    "every character percent-encoded": lambda text: "".join(f"%{ord(mark):02x}" for mark in text),
    "percent-encoded twice": lambda text: quote(quote(text, safe=""), safe=""),
    "entities by name": html.escape,
    "entities by number": lambda text: "".join(f"&#{ord(mark)};" for mark in text),
    "entities in hexadecimal": lambda text: "".join(f"&#x{ord(mark):X};" for mark in text),
    "entities twice": lambda text: html.escape(html.escape(text)),
    "rare entities": lambda text: text.replace("_", "&lowbar;").replace("/", "&sol;").replace("+", "&plus;"),
    "percent signs escaped": lambda text: quote(text, safe="").replace("%", "\\u0025"),
    "escaped twice": lambda text: "".join(f"\\\\u{ord(mark):04x}" for mark in text),
    "as Python writes bytes": lambda text: "".join(f"\\\\x{ord(mark):02x}" for mark in text),
    "as Rust writes text": lambda text: "".join(f"\\\\u{{{ord(mark):x}}}" for mark in text),
    "NUL between characters": "\\u0000".join,
    "a percent-encoded entity": lambda text: quote("".join(f"&#{ord(mark)};" for mark in text)),
}
"""Each makes of the key what stands between the quotes of a JSON text."""

SHAPES = {
    "message": '{"error": {"code": "unauthorized", "message": "bad key %s, sorry"}}',
    "code": '{"error": {"code": "%s", "message": "no"}}',
    "name of a member": '{"id": "sd2_a1", "%s": 1}',
    "name in a list in a list": '[[{"x": [{"Bearer %s": null}]}]]',
    "id": '{"id": "%s", "status": "processing"}',
    "output": '{"id": "sd2_a1", "output": {"video_url": "https://cdn.example/a?k=%s&x=1"}}',
    "text": '"%s"',
    "JSON that was cut": '{"error": {"code": "unauthorized", "message": "%s',
    "the same member twice": '{"a": 1, "a": "%s"}',
    "page": "<html><title>Bearer %s</title></html>",
}


def reveals(body: bytes) -> bool:
    """Whether a reader finds the key in this body, as it is or with its JSON texts decoded."""
    text = body.decode(errors="replace")
    with suppress(ValueError):
        text += json.dumps(json.loads(text), ensure_ascii=False)
    for _ in range(6):
        if KEY.lower() in text.lower():
            return True
        text = html.unescape(unquote(unescaped(text.replace("\0", ""))))
    return False


def unescaped(text: str) -> str:
    """A text with what looks like escapes decoded, in the simplest way there is."""
    text = text.replace("\\\\", "\\")
    for number in range(128):
        for escape in (f"\\u{number:04x}", f"\\u{number:04X}", f"\\x{number:02x}", f"\\u{{{number:x}}}"):
            text = text.replace(escape, chr(number))
    return text.replace("\\/", "/")


@pytest.mark.case(158, 159)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_no_spelling_of_the_key_is_left(encoding: str, shape: str) -> None:
    """In whatever place of whatever body."""
    body = (SHAPES[shape] % ENCODINGS[encoding](KEY)).encode()
    assert reveals(body)
    clean = SCRUBBER.body(body)
    assert not reveals(clean)
    assert MASK.encode() in clean


@pytest.mark.parametrize("before", ["", ":", "me:", "user:", "Bearer "])
@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode, b2a_hex])
@pytest.mark.parametrize("shape", ["message", "name of a member", "page"])
def test_a_key_that_was_encoded_as_bytes_is_found(
    before: str, encode: Callable[[bytes], bytes], shape: str
) -> None:
    """Alone, or behind a user's name in a Basic header."""
    encoded = encode(f"{before}{KEY}".encode()).decode()
    clean = SCRUBBER.body((SHAPES[shape] % encoded).encode()).decode()

    assert MASK in clean
    assert encode(KEY.encode()).decode().rstrip("=")[4:-4] not in clean
    assert encoded not in clean


@pytest.mark.case(158)
@pytest.mark.parametrize("shape", ["message", "name of a member", "page"])
@pytest.mark.parametrize(
    "spelled", ["\\\\U{:08x}", "\\\\U{:08X}", "\\\\{:03o}", "%u{:04x}", "\\u0025u{:04X}", "\\u005c{:03o}"]
)
def test_the_escapes_of_other_languages_are_decoded(spelled: str, shape: str) -> None:
    """Of Python, C, shells, and those that old servers write into URLs."""
    clean = SCRUBBER.body((SHAPES[shape] % "".join(spelled.format(ord(mark)) for mark in KEY)).encode())

    assert MASK.encode() in clean
    assert f"{ord(KEY[-1]):x}".encode() not in clean


@pytest.mark.parametrize(
    "between",
    [
        *("\u00ad", "\u200b", "\ufeff", "\u200e", "\u2066", "\ufe0f", "\u034f", "\U000e0061", "\x7f", "\x85"),
        *("\\u200b", "\\u00ad", "\\u0001", "\\r", "\\b", "\\u001b[0m", "\\u001b]0;title\\u0007"),
        *("&lrm;", "%E2%80%8E"),
    ],
)
def test_characters_that_do_not_show_hide_nothing(between: str) -> None:
    """A reader copies the key without them."""
    clean = SCRUBBER.body((SHAPES["message"] % between.join(KEY)).encode())

    assert json.loads(clean)["error"]["message"] == f"bad key {MASK}, sorry"


@pytest.mark.case(158)
@pytest.mark.parametrize("place", range(1, len(KEY)))
def test_what_a_terminal_is_not_shown_hides_nothing(place: int) -> None:
    """It is removed from an output after the answer was cleaned, so the key would be whole again."""
    removed = [mark for mark in map(chr, range(0x3000)) if not without_controls(mark)]
    assert 60 < len(removed)
    for between in (*removed, "\x1b[1;31m", "\x1b]8;;x\x1b\\"):
        echo = KEY[:place] + between + KEY[place:]
        for body in (json.dumps({"error": echo}).encode(), f"<p>{echo}</p>".encode()):
            assert KEY not in without_controls(SCRUBBER.body(body).decode()).replace("\\/", "/")
            assert MASK.encode() in SCRUBBER.body(body)


def test_the_base64_of_a_short_key_is_not_looked_for() -> None:
    """It would occur by chance."""
    body = b'{"id": "sd2_YQ", "message": "YWI and 6162"}'

    assert body == Scrubber("ab").body(body)


@pytest.mark.case(158)
@pytest.mark.parametrize("codec", ["utf-16", "utf-16-be", "utf-32", "utf-8-sig"])
def test_another_encoding_of_the_body_hides_nothing(codec: str) -> None:
    """Such a body is refused as JSON, and its excerpt is shown."""
    for encoding in ("plain", "every character escaped"):
        body = (SHAPES["message"] % ENCODINGS[encoding](KEY)).encode(codec)
        assert not reveals(SCRUBBER.body(body))


@pytest.mark.case(159)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_headers_are_cleaned_in_the_same_way(encoding: str) -> None:
    """A Location, percent-encoded or quoted; an id of the request."""
    for text in ("https://elsewhere.example/?next=%s#%s", '"%s"', "Bearer %s"):
        echo = text.replace("%s", ENCODINGS[encoding](KEY))
        assert not reveals(SCRUBBER.text(echo).encode())


@pytest.mark.case(158)
def test_what_is_beside_the_key_stays() -> None:
    """The answer may be about a paid job: its id, its amounts and all other texts are as they were."""
    echo = ENCODINGS["every character escaped"](KEY)
    answer = {
        "id": "sd2_a1",
        "credits_used": 2.2,
        "n": 10**30,
        "output": None,
        "ok": True,
        "t": "\ud83d ü%2F&amp;",
    }
    body = json.dumps(answer)[:-1] + f', "echo": "{echo}"' + "}"
    assert {**answer, "echo": MASK} == json.loads(SCRUBBER.body(body.encode()))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"id":"sd2_a1", "x":1.0}',
        b'{"id":"sd2_a1", "url":"https:\\/\\/cdn.example\\/a?x=%2F&amp;y=1e400"}',
        b'{"a":"\\ud83d","a":"\\u0000"}',
        b"<html>&lt;100 %zz \\u12 \xff\xfe</html>",
        b"\0" * 100,
        b'{"n": 1e999}',
        b"[" * 100_000,
    ],
)
def test_a_body_without_the_key_is_the_same_bytes(body: bytes) -> None:
    """Whatever else is strange about it."""
    assert body == SCRUBBER.body(body)


def test_deep_nesting_of_encodings_ends() -> None:
    """A hostile body is decoded some times only; what is encoded ten times reads as no key to anybody."""
    body = b"%" + b"25" * 2_000_000
    assert body == SCRUBBER.body(body)


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=8, max_size=40)


@given(TEXTS, TEXTS, KEYS, st.sampled_from(["json", "ascii", "escaped", "percent", "entity", "plain"]))
@example("", "", 'a"\\/%26&lt;', "json")
@example("%", "&", "aaaaaaaa", "percent")
def test_any_key_in_any_text_is_found(before: str, after: str, key: str, how: str) -> None:
    """Keys with characters that the encodings themselves are made of, too."""
    echo = {
        "percent": "".join(f"%{ord(mark):02X}" for mark in key),
        "entity": "".join(f"&#x{ord(mark):x};" for mark in key),
        "escaped": "".join(f"\\u{ord(mark):04x}" for mark in key),
    }.get(how, key)
    document = {"id": "sd2_a1", f"{before} {echo} {after}": [echo]}
    body = json.dumps(document, ensure_ascii=how == "ascii").encode()
    clean = json.loads(Scrubber(key).body(body))
    texts = json.dumps(clean, ensure_ascii=False)
    assert [MASK] == next(reversed(clean.values()))
    assert echo not in texts
    assert "sd2_a1" == clean["id"]

"""Answers that are labelled oddly: codings that are none or that nobody asked for, long headers, raw URLs."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

import pytest

from seedance_async import DownloadError, RateLimit, RetryPolicy, SeedanceClient
from seedance_async.models import NanoBananaPro
from tests.rooms.file_store import Store, finished, picture, save
from tests.rooms.raw_server import answer, raw_server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BODY = picture(300_000)
LONG = "x" * 100_000


def raw_deflate(data: bytes) -> bytes:
    """Deflate without zlib's header."""
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


def in_members(data: bytes) -> bytes:
    """Several gzip files, one after the other, which are one by the format's definition."""
    pieces = (data[start : start + 999] for start in range(0, len(data), 999))
    return b"".join(map(gzip.compress, (b"", *pieces)))


def padded(data: bytes) -> bytes:
    """Followed by what a tape or a block device leaves."""
    return gzip.compress(data) + bytes(2_000_000)


@pytest.mark.parametrize(
    "label",
    [
        "aws-chunked", "", "Identity", "IDENTITY", "UTF-8", "binary", "none", "7bit", "identity, aws-chunked",
        "aws-chunked,identity", " , ", "gzip", "br", "deflate, gzip", "image/png",
    ],
)  # fmt: skip
async def test_a_label_that_changes_no_byte_costs_nothing(label: str, tmp_path: Path) -> None:
    """What begins like a picture is one, and a break in it is resumed as ever."""
    store = Store(BODY, cuts=[100_000])
    headers = {"ETag": '"kite-1"', "Content-Encoding": label or " "}
    store.headers = headers
    async with raw_server(store) as server:
        (path,) = await save(finished(server.url), tmp_path)

    assert BODY == path.read_bytes()
    assert [None, "bytes=100000-"] == store.asked


@pytest.mark.parametrize(
    ("label", "encode"),
    [
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("x-gzip", gzip.compress),
        ("aws-chunked, gzip", gzip.compress),
        ("gzip, identity", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("deflate, gzip", lambda data: gzip.compress(zlib.compress(data))),
        ("gzip, gzip", lambda data: gzip.compress(gzip.compress(data))),
        (
            "gzip",
            lambda data: b"".join(gzip.compress(data[at : at + 1000]) for at in range(0, len(data), 1000)),
        ),
        ("gzip", padded),
        ("x-gzip", in_members),
        ("binary", gzip.compress),
        ("", gzip.compress),
    ],
)
async def test_a_coding_nobody_asked_for_is_undone(
    label: str, encode: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    """The file is the picture, whatever the store thought of its bytes; identity was asked for."""
    headers = f"Content-Encoding: {label or ' '}"
    async with raw_server(answer(200, encode(BODY), headers, 'ETag: "kite-1"')) as server:
        (path,) = await save(finished(server.url), tmp_path)

    assert BODY == path.read_bytes()
    assert ["identity"] == [seen.headers["accept-encoding"] for seen in server.seen]


async def test_a_proxy_that_changes_its_headers_costs_nothing(tmp_path: Path) -> None:
    """203 is a 200 of which somebody on the way has changed something; the file's own end decides."""
    async with raw_server(answer(203, BODY)) as server:
        (path,) = await save(finished(server.url), tmp_path)

    assert BODY == path.read_bytes()


async def test_a_coded_file_that_is_cut_is_not_saved_and_not_resumed(tmp_path: Path) -> None:
    """By its length it is complete, so only the picture's own end tells."""
    whole = gzip.compress(BODY)
    cut = answer(200, whole[: len(whole) // 2], "Content-Encoding: gzip", 'ETag: "kite-1"')
    async with raw_server(cut, answer(200, whole, "Content-Encoding: gzip")) as server:
        (path,) = await save(finished(server.url), tmp_path)

    assert BODY == path.read_bytes()
    assert [False, False] == ["range" in seen.headers for seen in server.seen]


async def test_a_coded_file_is_bounded_by_what_it_grows_to(tmp_path: Path) -> None:
    """A few kilobytes may stand for gigabytes."""
    bomb = gzip.compress(BODY[:100] + bytes(50_000_000))
    async with raw_server(answer(200, bomb, "Content-Encoding: gzip")) as server:
        with pytest.raises(DownloadError, match="longer than 1000000"):
            await save(finished(server.url), tmp_path, max_bytes=1_000_000)

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(("label", "body"), [("br", b"\x1b" * 99), ("gzip", b"<html>no gzip</html>")])
async def test_what_cannot_be_decoded_is_told(label: str, body: bytes, tmp_path: Path) -> None:
    """By the coding's name."""
    async with raw_server(answer(200, body, f"Content-Encoding: {label}")) as server:
        with pytest.raises(DownloadError, match=label):
            await save(finished(server.url), tmp_path)

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("raw", "sent"),
    [
        ("a red kite.png", "a%20red%20kite.png"),
        ("k.png?name=a red kite&sig=%2F+~=", "k.png?name=a%20red%20kite&sig=%2F+~="),
        ("k\u00e9.png?sig=a%2fb", "k%C3%A9.png?sig=a%2fb"),
        ('k".png?x=<y>', "k%22.png?x=%3Cy%3E"),
        ("k.png?sig=a|b{c}^`'", "k.png?sig=a|b{c}^`'"),
        ("k%20.png?already=%25", "k%20.png?already=%25"),
    ],
)
async def test_a_url_is_sent_as_it_is_but_for_what_would_end_it(raw: str, sent: str, tmp_path: Path) -> None:
    """A blank would be the end of the request line; a signed query must not be quoted again."""
    async with raw_server(answer(200, BODY)) as files:
        (path,) = await save(finished(f"  {files.url}/{raw} "), tmp_path, name="first")
        async with raw_server(answer(302, b"", f"Location: {files.url}/{raw}")) as server:
            await save(finished(server.url), tmp_path, name="second")

    assert BODY == path.read_bytes()
    assert [f"/api/v1/{sent}"] * 2 == [seen.path for seen in files.seen]


@pytest.mark.parametrize(
    "policy",
    [
        f"Content-Security-Policy: {LONG}",
        f"Set-Cookie: {LONG}",
        f"Content-Type: application/octet-stream; x={LONG}",
        f"{'X' * 9000}: name",
        "\r\n".join(f"X-Number-{number}: {number}" for number in range(300)),
        "\r\n".join(f"Link: <https://cdn.example.com/{number}>{'x' * 9000}" for number in range(9)),
    ],
    ids=["policy", "cookie", "type", "name", "many", "many long"],
)
async def test_a_long_header_is_a_part_of_an_answer(policy: str, tmp_path: Path) -> None:
    """Of the POST, of the poll and of the file: nothing is in doubt, and nothing is sent twice."""
    quick = {"rate_limit": RateLimit(requests=30, period=1.0), "retry": RetryPolicy(max_elapsed=1.0)}
    made = {"id": "nbp_1", "status": "processing", "model": "nano-banana-pro", "credits_used": 12}
    async with raw_server(answer(200, BODY, policy, f'ETag: "{"e" * 50_000}"')) as files:
        done = {**made, "status": "completed", "output": {"images": [{"url": files.url}]}}
        async with (
            raw_server(answer(202, made, policy), answer(200, done, f"X-Policy: {LONG}")) as server,
            SeedanceClient("sk_test", server.url, **quick) as client,  # type: ignore[arg-type]  # by name
        ):
            submission = await client.submit(NanoBananaPro(prompt="A red kite"))
            (path,) = await client.download(submission.id, tmp_path)

    assert BODY == path.read_bytes()
    assert ["POST", "GET"] == [seen.method for seen in server.seen]
    assert 1 == len(files.seen)

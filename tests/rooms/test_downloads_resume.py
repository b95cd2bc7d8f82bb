"""Downloads that broke off go on where they did, and never join two halves of different files."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import anyio
import pytest

from seedance_async import DownloadError
from tests.rooms.file_store import Store, finished, picture, save, starts
from tests.rooms.raw_server import raw_server, says

if TYPE_CHECKING:
    from pathlib import Path

BODY = picture(300_000)
CUT = 200_000


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())


async def break_off(store: Store, url: str, folder: Path) -> None:
    """Let a download get as far as the store's first cut, and its process end there."""
    with anyio.move_on_after(30.0):  # an answer may be silent for 60 s
        await save(finished(url), folder)
    assert ["kite.part", "kite.part.json"] == names(folder)
    assert 0 < (folder / "kite.part").stat().st_size <= CUT
    store.asked.clear()
    store.conditions.clear()
    store.cuts = ()


@pytest.mark.case(106)
async def test_a_broken_download_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    """Twice broken, and every byte is fetched once."""
    store = Store(BODY, cuts=[CUT, 50_000])
    async with raw_server(store) as server:
        (path,) = await save(finished(server.url), tmp_path)

    assert BODY == path.read_bytes()
    assert [0, CUT, CUT + 50_000] == starts(store.asked)
    assert [None, '"kite-1"', '"kite-1"'] == store.conditions
    assert ["kite.png"] == names(tmp_path)


@pytest.mark.parametrize("drip", [1, 10_000])
async def test_a_trickle_is_broken_off_and_at_last_given_up(drip: int, tmp_path: Path) -> None:
    """It is never silent for a minute, and would go on for days; what came is kept for another try."""
    store = Store(BODY, drip=drip)
    async with raw_server(store) as server:
        began = anyio.current_time()
        with pytest.raises(DownloadError, match="could not download"):
            await save(finished(server.url), tmp_path)
        assert anyio.current_time() - began < 5 * 70.0
        assert len(store.asked) > 1
        store.drip = None
        (path,) = await save(finished(server.url), tmp_path)

    assert BODY == path.read_bytes()


async def test_a_slow_line_is_fast_enough(tmp_path: Path) -> None:
    """64 KiB a minute: three hundred kilobytes in one answer."""
    store = Store(BODY, drip=15_000)
    async with raw_server(store) as server:
        (path,) = await save(finished(server.url), tmp_path)

    assert BODY == path.read_bytes()
    assert [0] == starts(store.asked)


async def test_the_next_process_goes_on_although_the_url_is_signed_anew(tmp_path: Path) -> None:
    """The part knows its file by what the server said of it, not by the URL, which is a new one each time."""
    store = Store(BODY, cuts=[CUT])
    async with raw_server(store) as server:
        await break_off(store, f"{server.url}?signature=1", tmp_path)
        assert b"http" not in (tmp_path / "kite.part.json").read_bytes()
        (path,) = await save(finished(f"{server.url}?signature=2"), tmp_path)

    assert BODY == path.read_bytes()
    assert [CUT] == starts(store.asked)
    assert "signature" not in "".join(names(tmp_path))


@pytest.mark.case(105, 106)
async def test_a_url_that_expires_half_way_is_renewed_and_the_rest_fetched(tmp_path: Path) -> None:
    """The fresh URL is asked for the rest only."""
    old, new = Store(BODY, cuts=[CUT]), Store(BODY)
    async with raw_server(old) as first, raw_server(new) as second:
        await break_off(old, first.url, tmp_path)
        old.status = 403
        (path,) = await save(finished(first.url), tmp_path, fresh=finished(second.url))

    assert BODY == path.read_bytes()
    assert [CUT] == starts(new.asked)


async def test_a_date_does_where_there_is_no_tag(tmp_path: Path) -> None:
    """If-Range takes either."""
    store = Store(BODY, cuts=[CUT], headers={"Last-Modified": "Wed, 03 Jun 2026 10:03:12 GMT"})
    async with raw_server(store) as server:
        (path,) = await save(finished(server.url), tmp_path)

    assert BODY == path.read_bytes()
    assert [0, CUT] == starts(store.asked)


@pytest.mark.case(106)
@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"kite-1"'}], ids=["none", "weak"])
async def test_without_a_sure_validator_a_download_starts_over(
    headers: dict[str, str], tmp_path: Path
) -> None:
    """Nothing says that the rest would be the rest of this file."""
    store = Store(BODY, cuts=[CUT], headers=headers)
    async with raw_server(store) as server:
        (path,) = await save(finished(server.url), tmp_path)

    assert BODY == path.read_bytes()
    assert [None, None] == store.asked


@pytest.mark.case(111)
async def test_a_file_that_changed_is_fetched_from_its_first_byte(tmp_path: Path) -> None:
    """The server sees the old tag and sends everything, in the same answer."""
    store = Store(BODY, cuts=[CUT])
    async with raw_server(store) as server:
        await break_off(store, server.url, tmp_path)
        store.body, store.headers = picture(250_000, mark=b"lion"), {"ETag": '"lion"'}
        (path,) = await save(finished(server.url), tmp_path)

    assert store.body == path.read_bytes()
    assert [CUT] == starts(store.asked)


@pytest.mark.case(107)
async def test_a_server_without_ranges_sends_everything_again(tmp_path: Path) -> None:
    """What was here is overwritten, not added to."""
    store = Store(BODY, cuts=[CUT], ranges=False)
    async with raw_server(store) as server:
        (path,) = await save(finished(server.url), tmp_path)

    assert BODY == path.read_bytes()
    assert [0, CUT] == starts(store.asked)


@pytest.mark.case(106, 111)
@pytest.mark.parametrize(
    "lies",
    [
        {"ETag": '"kite-2"'},
        {"Content-Range": "bytes 199999-299999/300000"},
        {"Content-Range": f"bytes {CUT}-299999/300001"},
        {"Content-Range": ""},
    ],
    ids=["other tag", "other start", "other total", "no range"],
)
async def test_a_rest_that_does_not_fit_is_thrown_away_with_what_was_here(
    lies: dict[str, str], tmp_path: Path
) -> None:
    """A wrong byte in the middle is seen by nobody, so nothing doubtful is joined."""
    store = Store(BODY, cuts=[CUT], lies=lies)
    async with raw_server(store) as server:
        (path,) = await save(finished(server.url), tmp_path)

    assert BODY == path.read_bytes()
    assert [0, CUT, 0] == starts(store.asked)


async def test_a_rest_that_is_longer_than_told_is_thrown_away(tmp_path: Path) -> None:
    """Its place and its tag are right, and still it is not the rest of this file."""
    store = Store(BODY, cuts=[CUT])
    too_long = says(
        b"HTTP/1.1 206 X\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Range: bytes 200000-299999/300000\r\n\r\n186b0\r\n" + bytes(100_016) + b"\r\n0\r\n\r\n"
    )
    async with raw_server(store, too_long, store) as server:
        (path,) = await save(finished(server.url), tmp_path)

    assert BODY == path.read_bytes()
    assert [None, None] == store.asked


@pytest.mark.case(108)
async def test_a_file_that_became_shorter_is_fetched_anew(tmp_path: Path) -> None:
    """416, under a tag that should have changed and did not."""
    store = Store(BODY, cuts=[CUT])
    async with raw_server(store) as server:
        await break_off(store, server.url, tmp_path)
        store.body = picture(100_000, mark=b"lion")
        (path,) = await save(finished(server.url), tmp_path)

    assert store.body == path.read_bytes()
    assert [CUT, 0] == starts(store.asked)


@pytest.mark.case(116)
async def test_a_whole_part_costs_one_more_byte(tmp_path: Path) -> None:
    """Its process died after the last byte and before the file had its name."""
    store = Store(BODY, cuts=[CUT])
    async with raw_server(store) as server:
        await break_off(store, server.url, tmp_path)
        (tmp_path / "kite.part").write_bytes(BODY)
        (path,) = await save(finished(server.url), tmp_path)

    assert BODY == path.read_bytes()
    assert [len(BODY) - 1] == starts(store.asked)


@pytest.mark.parametrize("harm", ["no sidecar", "half a sidecar", "longer than the file", "a hole"])
async def test_a_part_that_cannot_be_trusted_is_fetched_anew(harm: str, tmp_path: Path) -> None:
    """After a power cut a file may have its length and not its bytes; those read as zeros."""
    store = Store(BODY, cuts=[CUT])
    part, sidecar = tmp_path / "kite.part", tmp_path / "kite.part.json"
    async with raw_server(store) as server:
        await break_off(store, server.url, tmp_path)
        match harm:
            case "no sidecar":
                sidecar.unlink()
            case "half a sidecar":
                sidecar.write_bytes(sidecar.read_bytes()[:20])
            case "longer than the file":
                part.write_bytes(BODY + b"!")
            case _:
                part.write_bytes(BODY[:100_000] + bytes(8192) + BODY[108_192:CUT])
        (path,) = await save(finished(server.url), tmp_path)

    assert BODY == path.read_bytes()
    assert [None] == store.asked
    assert ["kite.png"] == names(tmp_path)


async def test_attempts_that_bring_something_new_are_not_counted(tmp_path: Path) -> None:
    """A large clip over a line that breaks every second megabyte arrives all the same."""
    body = picture(12 * 1024**2)
    store = Store(body, cuts=[2 * 1024**2] * 5)
    async with raw_server(store) as server:
        (path,) = await save(finished(server.url), tmp_path)

    assert body == path.read_bytes()
    assert 6 == len(store.asked)


async def test_attempts_that_bring_nothing_are_four(tmp_path: Path) -> None:
    """What had arrived before stays for a better day."""
    store = Store(BODY, cuts=[CUT, *[0] * 10])
    async with raw_server(store) as server:
        with pytest.raises(DownloadError, match="could not download"):
            await save(finished(server.url), tmp_path)

    assert 4 == len(store.asked)
    assert CUT == (tmp_path / "kite.part").stat().st_size


PROGRAM = """
import sys, anyio
from pathlib import Path
from tests.rooms.file_store import finished, save
anyio.run(lambda: save(finished(sys.argv[1]), Path(sys.argv[2]), prompt="A red kite"))
"""


class TestKilled:
    """A download in a process of its own, which dies as by ``kill -9``."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Child processes live on the real clock."""
        return "asyncio"

    @pytest.mark.case(106, 116)
    @pytest.mark.parametrize(
        ("point", "expected"),
        [("mid_download:1", range(1, 300_000)), ("before_rename", [299_999]), ("after_rename", [0])],
        ids=["mid_download", "before_rename", "after_rename"],
    )
    async def test_the_next_run_goes_on_and_leaves_one_file(
        self, point: str, expected: range | list[int], tmp_path: Path
    ) -> None:
        """What is here is used, and a file that has its name already is known by sight."""
        store = Store(BODY)
        async with raw_server(store) as server:
            command = [sys.executable, "-c", PROGRAM, server.url, str(tmp_path)]
            environment = {**os.environ, "SEEDANCE_FAULT_POINT": point}
            died = await anyio.run_process(command, env=environment, check=False)
            store.asked.clear()
            (path,) = await save(finished(server.url), tmp_path, prompt="A red kite")

        assert 137 == died.returncode, died.stderr.decode()
        assert starts(store.asked)[0] in expected
        assert 1 == len(store.asked)
        assert BODY == path.read_bytes()
        assert ["kite.png"] == names(tmp_path)

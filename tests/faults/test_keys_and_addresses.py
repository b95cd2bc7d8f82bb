"""Keys and base URLs as people paste them: the certain is mended, all else named, and nothing kept."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver

from seedance_async import (
    ConfigurationError,
    ConnectionFailedError,
    NanoBananaPro,
    RetryPolicy,
    SeedanceClient,
)
from seedance_async.cli.connection import UNRESOLVED_FOR, Connection
from tests.rooms.raw_server import accepted, raw_server

if TYPE_CHECKING:
    from aiohttp.abc import ResolveResult

SECRET = "Zq81canary"
KEY = f"sk_live_{SECRET}"
PICTURE = NanoBananaPro(prompt="a fox asleep on a roof")
PACKAGE = str(Path(__file__).parents[2] / "seedance_async")

CERTAIN = {
    "double-quotes": f'"{KEY}"',
    "single-quotes": f"'{KEY}'",
    "backticks": f"`{KEY}`",
    "both-quotes": f"'\"{KEY}\"'",
    "byte-order-mark": f"\ufeff{KEY}",
    "bearer": f"Bearer {KEY}",
    "bearer-lower": f"bearer {KEY}\n",
    "header": f"Authorization: Bearer {KEY}",
    "bearer-in-quotes": f' "Bearer {KEY}" ',
    "blanks-in-quotes": f'" {KEY} "\r\n',
    "zero-width": f"\u200b{KEY}\u200b",
    "curly-quotes": f"\u201c{KEY}\u201d",
    "curly-single-quotes": f"\u2018{KEY}\u2019",
    "bearer-with-colon": f"Bearer: {KEY}",
}

UNCERTAIN = {
    "comment": (f"{KEY} # production", "comment"),
    "comment-close": (f"{KEY}#production", "comment"),
    "one-quote": (f'"{KEY}', "quotes"),
    "quote-inside": (f"sk_live'{SECRET}", "quotes"),
    "blank-inside": (f"sk_live {SECRET}", "spaces"),
    "two-lines": (f"{KEY}\n{KEY}", "spaces"),
    "no-ascii": (f"{KEY}é", "non-ASCII"),
    "dash": (f"sk\u2013live_{SECRET}", "non-ASCII"),
    "assignment": (f"SEEDANCE_API_KEY={KEY}", "assignment"),
    "export": (f"export SEEDANCE_API_KEY={KEY}", "assignment"),
    "variable": (f"${{{SECRET}}}", "variable"),
    "template": (f"{{{{{SECRET}}}}}", "variable"),
    "semicolon": (f"{KEY};", "punctuation"),
    "comma": (f"{KEY},", "punctuation"),
    "line-end-in-letters": (f"{KEY}\\n", "punctuation"),
    "angle-brackets": (f"<{KEY}>", "punctuation"),
    "array": (f"[{KEY}]", "punctuation"),
    "masked": ("sk_live_****", "punctuation"),
    "of-a-vault": (f"op://vault/{SECRET}", "URL"),
    "only-quotes": ('""', "empty"),
    "only-bearer": ('"Bearer "', "spaces|empty"),
}


@pytest.mark.parametrize("written", CERTAIN.values(), ids=CERTAIN)
@pytest.mark.parametrize("given", ["argument", "environment"])
async def test_what_is_certainly_no_part_of_a_key_is_not_sent(
    written: str, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``docker --env-file`` and copied headers have it."""
    monkeypatch.setenv("SEEDANCE_API_KEY", written)
    async with (
        raw_server(accepted("nbp_a1")) as server,
        SeedanceClient(written if given == "argument" else None, server.url) as client,
    ):
        await client.submit(PICTURE)

    assert [f"Bearer {KEY}"] == [seen.headers["authorization"] for seen in server.seen]


@pytest.mark.parametrize(("written", "named"), UNCERTAIN.values(), ids=UNCERTAIN)
def test_what_may_be_part_of_a_key_is_named_and_kept_nowhere(
    written: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reporters of crashes send the locals of every frame; only the caller's own may have it."""
    for arguments, variable in (([written], ""), ([], written)):
        monkeypatch.setenv("SEEDANCE_API_KEY", variable)
        with pytest.raises(ConfigurationError, match=named) as caught:
            SeedanceClient(*arguments)
        assert_nothing_of_it(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        f"https://me:{SECRET}@seedance2ai.io/api/v1",
        f"https://seedance2ai.io/api/v1?key={SECRET}",
        f"https://seedance2ai.io/api/v1#{SECRET}",
        f"https://[{SECRET}/api/v1",
        f"ftp://{SECRET}.example/api/v1",
        f"https://me:12/{SECRET}@seedance2ai.io/api/v1",
        f"me:{SECRET}@seedance2ai.io/api/v1",
        f"sk_live_{SECRET}",
        f"sk_live_{SECRET}.example",
    ],
)
def test_a_base_url_that_is_refused_is_kept_nowhere(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may hold a password."""
    for arguments, variable in (([address], ""), ([], address)):
        monkeypatch.setenv("SEEDANCE_BASE_URL", variable)
        with pytest.raises(ConfigurationError, match="base_url") as caught:
            SeedanceClient(KEY, *arguments)
        assert_nothing_of_it(caught.value)


def assert_nothing_of_it(error: BaseException) -> None:
    """No frame of ours, no cause and no text of it holds the secret."""
    assert SECRET not in repr(error) + str(error)
    assert error.__cause__ is error.__context__ is None
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    ours = [frame for frame in frames if frame.f_code.co_filename.startswith(PACKAGE)]
    assert ours
    for frame in ours:
        held = {name: value for name, value in frame.f_locals.items() if SECRET in repr(value)}
        assert {} == held, f"in {frame.f_code.co_qualname}"


@pytest.mark.parametrize(
    ("address", "meant"),
    [
        ("https://seedance2ai.io", "https://seedance2ai.io/api/v1"),
        ("https://seedance2ai.io/", "https://seedance2ai.io/api/v1"),
        ("https://www.seedance2ai.io/api", "https://www.seedance2ai.io/api/v1"),
        ("https://seedance2ai.io/v1", "https://seedance2ai.io/api/v1"),
        ("https://seedance2ai.io/api/v1/video/seedance2", "https://seedance2ai.io/api/v1"),
        ("https://gateway.example/seedance/tasks", "https://gateway.example/seedance"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/api/v1"),
        ("https://gateway.example/v1/video", "https://gateway.example/v1"),
        ("https://gateway.example/v1/image/gpt-image-3", "https://gateway.example/v1"),
        ("https://gateway.example/seedance/tasks/sd2_1", "https://gateway.example/seedance"),
        ("http://127.0.0.1:8080/api/v1/video/seedance2/", "http://127.0.0.1:8080/api/v1"),
        ("seedance2ai.io/api/v1", "https://seedance2ai.io/api/v1"),
        ("http://localhost:8080/image/nano-banana-pro", "http://localhost:8080/api/v1"),
    ],
)
def test_a_base_url_without_the_path_is_refused_with_the_one_that_has_it(address: str, meant: str) -> None:
    """Else every POST is answered by a page, and repeated for ten minutes."""
    with pytest.raises(ConfigurationError) as caught:
        SeedanceClient(KEY, address)

    assert f"did you mean {meant} ?" in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "https://seedance2ai.io/api/v1/",
        " https://www.seedance2ai.io/api/v1 ",
        "https://gateway.example/any/path",
        "https://gateway.example/video",
        '"https://gateway.example/any/path"',
        "'https://gateway.example/any/path/' ",
    ],
)
def test_a_base_url_with_a_path_is_taken(address: str) -> None:
    """A gateway may have the API anywhere but at its root."""
    assert SeedanceClient(KEY, address).base_url == address.strip("\"' ").rstrip("/")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("https://me:pass@host.example/api", "https://…@host.example/api has a user name or a password"),
        ("https://host.example:8443/api?key=1", "https://host.example:8443/api?… has a query or a fragment"),
        ("https://host.example/api#key", "https://host.example/api#… has a query or a fragment"),
        ("ftp://host.example/api", "begins with ftp://"),
        ("/api/v1", "has no scheme and host"),
        (17, "base_url must be text; got a value of type int"),
        ("https://seedance2ai.io/api/v1/tasks", "is the address of a call, not of the API; did you mean"),
    ],
)
def test_a_bad_base_url_is_shown_with_its_fault(address: str, said: str) -> None:
    """Without what may be secret."""
    with pytest.raises(ConfigurationError) as caught:
        SeedanceClient(KEY, address)

    assert said in str(caught.value)
    assert "pass@" not in str(caught.value)


NOBODY = "http://127.0.0.1:9/api/v1"


class NoSuchName(AbstractResolver):
    """A resolver that knows no name but an address's own."""

    async def resolve(self, host: str, *_: object, **_options: object) -> list[ResolveResult]:
        """Fail as the system's resolver does."""
        raise OSError(-2, f"Name or service not known: {host}")

    async def close(self) -> None:
        """Have nothing to close."""


@pytest.fixture(autouse=True)
def no_memory_of_other_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The budget of an address beyond loopback is remembered."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


async def attempts(policy: RetryPolicy, address: str = "https://nowhere.example/api/v1") -> int:
    """How often a POST to a name that nobody knows is tried, nothing being in doubt at the end."""
    connector = aiohttp.TCPConnector(resolver=NoSuchName())
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        SeedanceClient(KEY, address, session=session, retry=policy) as client,
    ):
        with pytest.raises(ConnectionFailedError) as caught:
            await client.submit(PICTURE)
        if address != NOBODY:
            assert "check its spelling and the network (nowhere.example)" in caught.value.message
        return client.usage.submits


async def test_a_name_that_nobody_knows_is_given_up_soon_where_somebody_waits() -> None:
    """Everywhere else an outage is waited for, and so is a server that does not listen yet."""
    assert await attempts(RetryPolicy(max_unresolved=8.0)) <= 6  # with pauses of some 1, 2, 4 and 8 s
    assert await attempts(RetryPolicy(max_elapsed=100.0)) >= 7
    assert await attempts(RetryPolicy(max_unresolved=8.0, max_elapsed=100.0), NOBODY) >= 7


async def test_the_commands_that_somebody_waits_for_are_not_patient_with_a_name() -> None:
    """And the batch is."""
    connection = Connection(api_key=KEY, base_url=NOBODY)

    assert connection.client()._policy.max_unresolved == UNRESOLVED_FOR
    assert connection.client(somebody_waits=False)._policy.max_unresolved is None


async def test_a_batch_says_until_when_it_tries(caplog: pytest.LogCaptureFixture) -> None:
    """By the clock on the wall, and in seconds."""
    caplog.set_level(logging.WARNING)
    async with SeedanceClient(KEY, NOBODY, retry=RetryPolicy(max_elapsed=100.0)) as client:
        with pytest.raises(ConnectionFailedError):
            await client.submit(PICTURE)

    assert [record.message for record in caplog.records if "trying on until" in record.message]

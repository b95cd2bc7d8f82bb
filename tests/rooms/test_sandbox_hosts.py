"""A sandbox at another host than loopback: allowed by the environment, and for no live key."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from seedance_async import ConfigurationError, DownloadError, NanoBananaPro, SeedanceClient
from seedance_async.sandbox import Sandbox
from seedance_async.sandbox_hosts import parse_sandbox_hosts
from tests.rooms.file_store import finished, save

if TYPE_CHECKING:
    from pathlib import Path

BOAT = NanoBananaPro(prompt="A paper boat on a pond")
HOSTS = "SEEDANCE_SANDBOX_HOSTS"


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that are looked up; all of them lead here, as one of a container network does."""
    asked: list[str] = []

    async def look_up(host: str, port: int, *_: object, **__: object) -> list[object]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    return asked


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(HOSTS, raising=False)


@pytest.mark.parametrize("listed", ["sandbox", "other, Sandbox.", "10.0.0.5,sandbox,"])
async def test_a_named_host_serves_api_and_files(
    listed: str, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the POST to the file, under the name that the container network knows."""
    monkeypatch.setenv(HOSTS, listed)
    async with Sandbox(url_host="sandbox") as sandbox:
        async with SeedanceClient(sandbox.api_key, sandbox.base_url) as client:
            task = await client.generate(BOAT)
            (path,) = await client.download(task, tmp_path)

        assert "http://sandbox:" in task.urls[0]
        assert path.stat().st_size > 1000
        assert {"sandbox"} == set(names)
        assert 1 == len(sandbox.paid_tasks)
        assert [] == sandbox.leaks


@pytest.mark.parametrize("listed", [None, "", "sandbox2", "box,sand", "sandbox.example"])
async def test_a_host_that_is_not_named_gets_nothing(
    listed: str | None, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key would go over the network in the clear."""
    if listed is not None:
        monkeypatch.setenv(HOSTS, listed)

    with pytest.raises(ConfigurationError, match=f"unencrypted; .* {HOSTS}"):
        SeedanceClient("sk_test_sandbox", "http://sandbox:8000/api/v1")

    assert [] == names


@pytest.mark.parametrize("key", ["sk_live_abc", " sk_live_abc\n"])
@pytest.mark.parametrize("host", ["sandbox", "10.0.0.5"])
def test_a_live_key_goes_to_no_such_host(key: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pays with real credits is for https, whatever the environment allows."""
    monkeypatch.setenv(HOSTS, "sandbox,10.0.0.5")

    with pytest.raises(ConfigurationError, match="a live API key unencrypted") as caught:
        SeedanceClient(key, f"http://{host}:8000/api/v1")

    assert "sk_live" not in str(caught.value)


@pytest.mark.parametrize(
    "listed",
    ["http://sandbox", "sandbox:8000", "*", "sandbox/api", "a b", "seedance2ai.io", "x,WWW.seedance2ai.io."],
)
def test_what_is_no_host_or_the_vendors_is_refused(listed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told with the variable's name, also where the base URL does not need it."""
    monkeypatch.setenv(HOSTS, listed)

    with pytest.raises(ConfigurationError, match=HOSTS):
        SeedanceClient("sk_test_sandbox", "http://127.0.0.1:9/api/v1")


def test_an_address_is_named_as_a_url_has_it_or_without_brackets() -> None:
    """Both are in use."""
    assert (
        {"fd00::5", "10.0.0.5"}
        == parse_sandbox_hosts("[fd00::5], 10.0.0.5")
        == parse_sandbox_hosts("FD00::5,10.0.0.5")
    )


@pytest.mark.parametrize(
    ("api", "url"),
    [
        ("http://sandbox:1/api/v1", "http://other:{port}/a.png"),
        ("http://sandbox:1/api/v1", "http://10.0.0.5:{port}/a.png"),
        ("https://sandbox:1/api/v1", "http://sandbox:{port}/a.png"),
        ("https://sandbox:1/api/v1", "http://127.0.0.1:{port}/a.png"),
        ("https://seedance2ai.io/api/v1", "http://seedance2ai.io:{port}/a.png"),
    ],
)
async def test_files_come_over_http_from_the_sandboxes_own_host_only(
    api: str, url: str, names: list[str], tmp_path: Path
) -> None:
    """An answer cannot send the client to other machines of the network."""
    with pytest.raises(DownloadError, match="refused"):
        await save(finished(url.format(port=80)), tmp_path, api=api)

    assert [] == names

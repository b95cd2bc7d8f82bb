"""The addresses of engines: what is read of them, and that a password is shown nowhere."""

from __future__ import annotations

import traceback

import pytest

from seedance_async import ConfigurationError
from seedance_async.integrations.engine import BatchEngine
from seedance_async.integrations.engine.addresses import EngineAddress, engine_address

SECRET = "pass_of_a_canary"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"postgresql://studio:{SECRET}@db.example:5433/jobs", "postgresql://studio@db.example:5433/jobs"),
        (f"postgres://studio:{SECRET}@[::1]/jobs?sslmode=require", "postgresql://studio@[::1]/jobs"),
        ("postgresql:///jobs?host=/run/postgresql", "postgresql:///jobs"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    """The repr of the engine has it so, too."""
    address = engine_address(url)

    assert isinstance(address, EngineAddress)
    assert shown == address.shown
    assert SECRET not in f"{address!r} {BatchEngine(url)!r}"
    assert url.partition("://")[2] == address.url.removeprefix("postgresql://")


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://studio:{SECRET}@db/jobs",
        f"postgresql://studio:{SECRET}@db",
        f"postgresql://studio:{SECRET}@db:port/jobs",
        f"postgresql://studio:12/{SECRET}@db/jobs",
        f"postgresql://studio:12/{SECRET}/@db",
        f"postgresql//studio:{SECRET}@db/jobs",
        f"sqlite:///{SECRET}/there/is/no/such/directory",
        f"sqlite://{SECRET}",
        "sqlite:///:memory:",
        "",
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(url: str) -> None:
    """Neither in the message nor in a frame that a traceback shows."""
    with pytest.raises(ConfigurationError) as refused:
        BatchEngine(url)

    found = [frame.f_locals for frame, _ in traceback.walk_tb(refused.tb)][1:]  # without this function's own
    assert found
    if "@" in url:
        assert SECRET not in f"{refused.value} {[each | {'self': None} for each in found]}"


async def test_a_server_that_is_away_is_named_without_its_password() -> None:
    """Said at once, before anything is enqueued or sent."""
    engine = BatchEngine(f"postgresql://studio:{SECRET}@127.0.0.1:1/jobs")
    with pytest.raises(ConfigurationError, match=r"postgresql://studio@127\.0\.0\.1:1/jobs cannot") as away:
        async with engine:
            pytest.fail("there is none")

    assert SECRET not in "".join(traceback.format_exception(away.value))

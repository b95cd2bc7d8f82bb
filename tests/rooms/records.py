"""What the tests of the account's record share: clients, scripts, and what the sandbox's ledger says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from seedance_async import Forecast, NanoBananaPro, RateLimit, SeedanceClient
from seedance_async.record import Reader, record_path
from tests.batch.helpers import charged
from tests.canary import clean

if TYPE_CHECKING:
    import pytest
    from anyio.abc import Process

    from seedance_async.sandbox import Sandbox

PROGRAM = Path(__file__).with_name("record_process.py")

BOAT = NanoBananaPro(prompt="A paper boat on a pond")
SINKS = NanoBananaPro(prompt="A paper boat that sinks [[sandbox:fail]]")


def keep_record(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the record of a sandbox's account, in a state directory of the test's own; returns it.

    The request budget is not there: it lives in real time.
    """
    monkeypatch.setenv("XDG_STATE_HOME", str(directory / "state"))
    monkeypatch.setenv("SEEDANCE_RECORD", "on")
    return directory / "state" / "seedance_async"


def client_of(sandbox: Sandbox) -> SeedanceClient:
    """A client on the sandbox's clock."""
    speed = sandbox.conditions.speed
    limit, forecast = RateLimit(requests=30, period=60.0 / speed), Forecast(scale=1 / speed)
    return SeedanceClient(sandbox.api_key, sandbox.base_url, rate_limit=limit, forecasts=forecast)


def reader_of(sandbox: Sandbox) -> Reader:
    """The record of the sandbox's account."""
    return Reader(record_path(client_of(sandbox).account))


async def script(sandbox: Sandbox, deed: str, argument: str, **variables: str) -> Process:
    """Start a script; what it says can be read."""
    return await anyio.open_process(
        [sys.executable, str(PROGRAM), deed, sandbox.base_url, argument],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def refunded(sandbox: Sandbox) -> int:
    """Credits given back."""
    return sum(entry.credits for entry in sandbox.ledger if entry.kind == "refund")


def spent_in(sandbox: Sandbox) -> int:
    """Credits taken and not given back."""
    return charged(sandbox) - refunded(sandbox)


async def texts_of(process: Process) -> tuple[str, str]:
    """What a script writes to its end, to stdout and to stderr."""
    assert process.stdout is not None
    assert process.stderr is not None
    said = [b"".join([part async for part in stream]) for stream in (process.stdout, process.stderr)]
    assert 0 == await process.wait()
    return said[0].decode(), clean(said[1].decode())

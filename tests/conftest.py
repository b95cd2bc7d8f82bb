"""What every test lives under: virtual time, and no network beyond loopback.

A test module that needs the real clock, for child processes say, overrides one fixture::

    @pytest.fixture
    def anyio_backend():
        return "asyncio"
"""

from __future__ import annotations

import ipaddress
import sys

import pytest
from hypothesis import settings

from seedance_async.sandbox.virtual_time import VirtualLoop

settings.register_profile("house", deadline=None)  # a busy machine is no finding
settings.load_profile("house")


class OutsideWorldError(AssertionError):
    """A test reached for a host beyond loopback. No ``except OSError`` in the code under test can hide it."""


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, object]]:
    """Run async tests and fixtures in virtual time."""
    return "asyncio", {"loop_factory": VirtualLoop}


def pytest_configure() -> None:
    """Guard the sockets from inside the interpreter: no library can go around an audit hook."""
    sys.addaudithook(_refuse_the_outside_world)


def _refuse_the_outside_world(event: str, args: tuple[object, ...]) -> None:
    match event, args:
        case (("socket.connect" | "socket.sendto"), (_, (host, *_))):
            pass
        case "socket.getaddrinfo", (host, *_):
            pass
        case _:
            return
    if not _is_loopback(host):
        raise OutsideWorldError(f"{event} to {host!r}: tests talk to loopback only")


def _is_loopback(host: object) -> bool:
    if host in {"localhost", "", None}:
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False

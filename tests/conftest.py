"""What every test lives under: virtual time, no network beyond loopback, and no key left behind.

A test module that needs the real clock, for child processes say, overrides one fixture::

    @pytest.fixture
    def anyio_backend():
        return "asyncio"
"""

from __future__ import annotations

import ipaddress
import os
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest
import trustme
from hypothesis import settings

from seedance_async.sandbox.virtual_time import VirtualLoop
from tests.canary import SECRETS, files_with_a_key
from tests.rooms.s3 import bucket, s3_endpoint
from tests.servers import postgres_server, postgres_url, redis_server, redis_url

__all__ = ["bucket", "postgres_server", "postgres_url", "redis_server", "redis_url", "s3_endpoint"]

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

collect_ignore = ["outside"]
"""Projects of users', which .ci/outside runs in environments of their own."""

# Every process that imports aiohttp reads all authorities that the machine trusts: 0.1 s. One is enough here.
AUTHORITY = tempfile.NamedTemporaryFile(suffix=".pem")  # noqa: SIM115 - until the tests have ended
trustme.CA().cert_pem.write_to_path(AUTHORITY.name)
os.environ |= {"SSL_CERT_FILE": AUTHORITY.name, "SSL_CERT_DIR": os.devnull}

settings.register_profile("house", deadline=None)  # a busy machine is no finding
settings.load_profile("house")


class OutsideWorldError(AssertionError):
    """A test reached for a host beyond loopback. No ``except OSError`` in the code under test can hide it."""


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, object]]:
    """Run async tests and fixtures in virtual time."""
    return "asyncio", {"loop_factory": VirtualLoop}


@pytest.fixture(scope="session", autouse=True)
def no_file_holds_a_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Search all that the tests have written once the last of them is over."""
    yield
    found = [str(path) for path in files_with_a_key(tmp_path_factory.getbasetemp())]
    assert not found, f"a secret was written into {found}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test in whose captured output, warnings or logs a key or a signed URL of an input stands."""
    report = yield
    where = [title for title, text in report.sections if any(secret in text for secret in SECRETS)]
    if where and not report.failed:
        report.outcome, report.longrepr = "failed", f"a secret stands in: {', '.join(where)}"
    return report


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

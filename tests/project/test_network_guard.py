"""Tests of the network guard: no test of this suite can reach a host beyond loopback."""

from __future__ import annotations

import asyncio
import socket

import pytest

DOCUMENTATION_ADDRESS = "192.0.2.1"  # RFC 5737: belongs to nobody


def test_connecting_beyond_loopback_fails_the_test() -> None:
    """The refusal is no OSError, which code under test might take for a network that is down."""
    with socket.socket() as outside, pytest.raises(AssertionError, match="loopback only"):
        outside.connect((DOCUMENTATION_ADDRESS, 443))


async def test_looking_up_a_foreign_name_fails_the_test() -> None:
    """A name server is the outside world too."""
    with pytest.raises(AssertionError, match="loopback only"):
        await asyncio.get_running_loop().getaddrinfo("seedance.example", 443)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
async def test_looking_up_loopback_is_allowed(host: str) -> None:
    """The sandbox listens there."""
    assert await asyncio.get_running_loop().getaddrinfo(host, 80)

"""What tests of the client's rooms start with: an account with money, and its record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from seedance_async.record import Reader, record_path
from seedance_async.sandbox import Sandbox
from tests.faults.helpers import client_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """An account with money."""
    async with Sandbox() as running:
        yield running


@pytest.fixture
def reader(sandbox: Sandbox) -> Reader:
    """The record of the account."""
    return Reader(record_path(client_for(sandbox).account))

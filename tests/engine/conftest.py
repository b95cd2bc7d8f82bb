"""What the tests of workers share: a process in which many of them run one after the other."""

from __future__ import annotations

import logging

import pytest


@pytest.fixture(autouse=True)
def no_handler_of_an_earlier_test() -> None:
    """DBOS keeps its log handler, and with it the captured stderr of an earlier test, which is closed."""
    logging.getLogger("dbos").handlers.clear()

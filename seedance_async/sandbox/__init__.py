"""A local emulator of the whole API: stateful, seeded, with money, a limit, and faults on demand.

::

    async with Sandbox(credits=500, speed=60) as sandbox:
        ...  # point a client at sandbox.base_url with sandbox.api_key, and Forecast(scale=sandbox.time_scale)

It is an independent witness: written from the vendor's documents, it shares no code with the client. The
names here are loaded when first used, because a pytest plugin lives in this package and must cost nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from seedance_async.sandbox.exchange import Record
    from seedance_async.sandbox.faults import Fault
    from seedance_async.sandbox.ledger import Entry
    from seedance_async.sandbox.options import AccountSpec, Behaviour, Conditions
    from seedance_async.sandbox.service import Sandbox
    from seedance_async.sandbox.tasks import Task

__all__ = ["AccountSpec", "Behaviour", "Conditions", "Entry", "Fault", "Record", "Sandbox", "Task"]

_HOME: Final = {
    "AccountSpec": "options",
    "Behaviour": "options",
    "Conditions": "options",
    "Entry": "ledger",
    "Fault": "faults",
    "Record": "exchange",
    "Sandbox": "service",
    "Task": "tasks",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)

"""A local emulator of the whole API: stateful and seeded, with credits, a rate limit and injected faults.

::

    async with Sandbox(credits=500, speed=60) as sandbox:
        ...  # point a client at sandbox.base_url with sandbox.api_key, and Forecast(scale=sandbox.time_scale)

It is written from the vendor's documents and shares no code with the client, so tests can trust its records.
The names here are loaded when first used, because pytest imports the plugin of this package in every run.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from seedance_async.sandbox.calls import Record
    from seedance_async.sandbox.faults import Fault
    from seedance_async.sandbox.ledger import Entry
    from seedance_async.sandbox.options import AccountSpec, Behaviour, Conditions
    from seedance_async.sandbox.service import Sandbox
    from seedance_async.sandbox.tasks import Task

__all__ = ["AccountSpec", "Behaviour", "Conditions", "Entry", "Fault", "Record", "Sandbox", "Task"]

_MODULES: Final = {
    "AccountSpec": "options",
    "Behaviour": "options",
    "Conditions": "options",
    "Entry": "ledger",
    "Fault": "faults",
    "Record": "calls",
    "Sandbox": "service",
    "Task": "tasks",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)

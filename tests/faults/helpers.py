"""Helpers of the fault tests: a client, the jobs, and the check of what the account has paid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seedance_async import RetryPolicy, Seedance2Video, SeedanceClient
from seedance_async.sandbox import Conditions

if TYPE_CHECKING:
    from seedance_async.sandbox import Sandbox

VIDEO = Seedance2Video(prompt="A glass train crosses a snowy bridge")
PRICE = 30
"""Credits of this clip in the sandbox."""

SECONDS = Conditions(duration=lambda _order, _chance: 100.0)
IMPATIENT = RetryPolicy(max_elapsed=100.0, conflict_wait=100.0)


def client_for(sandbox: Sandbox, **options: object) -> SeedanceClient:
    """A client of this sandbox's account."""
    settings = {"api_key": sandbox.api_key, "base_url": sandbox.base_url, **options}
    return SeedanceClient(**settings)  # type: ignore[arg-type]  # each test names real options


def posts(sandbox: Sandbox) -> list[tuple[str | None, bytes]]:
    """Key and body of every POST that arrived."""
    return [(record.idempotency_key, record.body) for record in sandbox.requests if record.method == "POST"]


def polls(sandbox: Sandbox) -> list[float]:
    """When each poll arrived."""
    return [record.at for record in sandbox.requests if record.endpoint == "task"]

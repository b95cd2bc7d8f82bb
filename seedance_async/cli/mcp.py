"""``seedance mcp``: the MCP server, for agents that run batches within the credits that a person allows."""

from __future__ import annotations

import os
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated, Final

import anyio
from anyio import to_thread
from cyclopts import Parameter

from seedance_async.cli.connection import KEY_VARIABLE, Connection
from seedance_async.cli.output import write_data, write_message
from seedance_async.credit_format import credit_count
from seedance_async.errors import ConfigurationError
from seedance_async.exit_codes import ExitCode

if TYPE_CHECKING:
    from seedance_async import SeedanceClient
    from seedance_async.integrations.mcp.settings import Settings

NEEDED: Final = "mcp>=2.3"
LAST_PORT: Final = 65535


async def mcp(
    *,
    workspace: Annotated[
        Path | None,
        Parameter(
            help="The only folder whose files it reads and writes; default SEEDANCE_MCP_WORKSPACE, else the "
            "current folder."
        ),
    ] = None,
    http: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Serve over HTTP at 127.0.0.1, with a token.")
    ] = False,
    port: Annotated[int, Parameter(show_default=False, help="Port for --http; by default a free one.")] = 0,
    allow: Annotated[
        str | None, Parameter(help="As a person, allow the plan with this id, and exit; needs --max-credits.")
    ] = None,
    max_credits: Annotated[
        float | None, Parameter(help="With --allow: the most credits that the plan may cost.")
    ] = None,
    connection: Connection | None = None,
) -> int:
    """Serve an agent over MCP: it plans, a person's limit decides, it submits and waits.

    Serves on stdin and stdout until the client disconnects; with --http it prints
    the URL and the token and serves until Ctrl-C. The credits of
    SEEDANCE_MCP_UNASKED_CREDITS_DAY may be spent in a day without asking a
    person; without that variable, a person is asked about each plan. Needs the
    extra mcp. To try it without a key:

      seedance sandbox --speed 20 -- seedance mcp

    Example: seedance mcp --workspace film
    """
    if not find_spec("mcp"):
        command = shlex.join([sys.executable, "-m", "pip", "install", NEEDED])
        raise ConfigurationError(f"seedance mcp needs the package of its extra, mcp: {command}")
    if not 0 <= port <= LAST_PORT:
        raise ConfigurationError(f"--port must be 0 to {LAST_PORT}; got {port}")
    if port and not http:
        raise ConfigurationError("--port goes with --http")
    # Imported late: the protocol's library takes a second to load, and may be missing.
    from seedance_async.integrations.mcp.settings import read_settings  # noqa: PLC0415 - as above

    settings = read_settings(workspace)
    if allow is not None or max_credits is not None:
        await _allow(settings, connection, allow, max_credits)
        return ExitCode.OK
    try:
        await (_serve_http(settings, connection, port) if http else _serve_stdio(settings, connection))
    except anyio.get_cancelled_exc_class():
        write_message("mcp: ended; the next server continues the batches that were running")
    return ExitCode.OK  # the client's disconnecting, and Ctrl-C, are the normal end


async def _allow(
    settings: Settings, connection: Connection | None, plan_id: str | None, most: float | None
) -> None:
    """Record a person's permission; the server sends the plan, if it is still the same plan."""
    from seedance_async.integrations.mcp.orders import Orders, orders_path  # noqa: PLC0415 - as above

    if plan_id is None or most is None or not 0 < most < float("inf"):
        raise ConfigurationError("--allow PLAN goes with --max-credits CREDITS, a number above 0")
    client = _client(connection or Connection())
    if client is None:
        raise ConfigurationError(f"--allow needs {KEY_VARIABLE}: plans are recorded by account")
    orders = Orders(orders_path(client.account), settings.workspace)
    order = await to_thread.run_sync(orders.permit, plan_id, most)
    if order is None:
        raise ConfigurationError(
            f"--allow {plan_id!r:.60}: no plan of {settings.workspace} has this id, for this API key"
        )
    most_now = credit_count(order.most)  # more than this command's number, if that was allowed before
    write_message(f"mcp: plan {plan_id} ({order.jobs:,} jobs) may cost up to {most_now}; submit sends it")


async def _serve_stdio(settings: Settings, connection: Connection | None) -> None:
    from seedance_async.integrations.mcp.desk import Desk  # noqa: PLC0415 - as above
    from seedance_async.integrations.mcp.server import serve_stdio  # noqa: PLC0415 - as above

    async with Desk(settings, _client(connection or Connection())) as desk:
        await serve_stdio(desk)


async def _serve_http(settings: Settings, connection: Connection | None, port: int) -> None:
    from seedance_async.integrations.mcp.desk import Desk  # noqa: PLC0415 - as above
    from seedance_async.integrations.mcp.server import listening, serve_http  # noqa: PLC0415 - as above

    with listening(port) as listener:
        async with Desk(settings, _client(connection or Connection())) as desk:
            write_data(listener.url)
            write_data(f"Authorization: Bearer {listener.token}")
            write_message("mcp: give this URL and this header to a client; Ctrl-C ends it")
            await serve_http(desk, listener)


def _client(connection: Connection) -> SeedanceClient | None:
    """Return the client; None without a key: the tools then say what the person has to provide."""
    if connection.api_key or os.environ.get(KEY_VARIABLE):
        return connection.client(somebody_waits=False)
    write_message(f"mcp: {KEY_VARIABLE} is not set, so nothing can be planned or sent")
    return None

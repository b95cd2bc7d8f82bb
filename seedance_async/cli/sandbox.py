"""``seedance sandbox``: the emulator of the whole API, as a server or for one command that is run with it."""

from __future__ import annotations

import asyncio
import json
import math
import os
import shlex
import signal
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated, Final

import anyio
from cyclopts import Parameter

import seedance_async
from seedance_async import sandbox as emulator
from seedance_async.cli.output import write_data, write_message
from seedance_async.credit_format import counted, credit_count
from seedance_async.errors import ConfigurationError
from seedance_async.exit_codes import ExitCode
from seedance_async.models import RateLimit
from seedance_async.network import is_host, is_loopback
from seedance_async.sandbox.account_file import AccountFile, Terms
from seedance_async.sandbox.options import API_KEY, WindowName

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from anyio.abc import Process

    from seedance_async import MediaStore, SeedanceClient
    from seedance_async.sandbox import Behaviour, Fault, Sandbox

SPEED: Final = 20.0
"""Speed of a sandbox that a command starts itself: a clip of three minutes' work is ready in nine seconds."""

LAST_PORT: Final = 65_535

ANY_ADDRESS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - read, not listened at

Command = Annotated[str, Parameter(name="COMMAND", allow_leading_hyphen=True)]


async def sandbox(
    *command: Command,
    host: str = "127.0.0.1",
    port: int = 0,
    media_port: int = 0,
    url_host: str | None = None,
    state: Path | None = None,
    api_key: str | None = None,
    credits: int | None = None,  # noqa: A002 - the vendor's own word
    speed: float | None = None,
    seed: int | None = None,
    reference_checks: int | None = None,
    window: WindowName | None = None,
    behaviour: Path | None = None,
    faults: Path | None = None,
    list_faults: bool = False,
) -> int:
    r"""Serve the whole API on this machine: no account, no money, real files.

    Without COMMAND it serves until Ctrl-C. It prints the environment variables
    that point a client at it: paste them into another shell.

    Example: seedance sandbox --speed 20 -- python script.py

    Args:
        command: Run this with the variables set, and exit with its exit code; put -- first if it has flags.
        host: Address to listen on.
        port: Port of the API; 0 takes a free one.
        media_port: Port of the output files; 0 takes a free one.
        url_host: Host name in the URLs that it returns, if clients reach it by a name other than --host.
        state: File that keeps its tasks and credits; started with it again, the sandbox continues from there.
        api_key: The key of its one account, default sk_test_sandbox; a live key is refused.
        credits: Credits of that account at the start, default 100000.
        speed: Factor by which time runs faster, the window of the limit included; default 1.
        seed: The same seed and the same requests give the same ids, durations and failures; default 0.
        reference_checks: Limit of POSTs with pictures or clips in 60 s; default none.
        window: How the server counts its 30 requests per 60 s; default as in --behaviour, else a sliding log.
        behaviour: JSON file with an object of switches, the fields of seedance_async.sandbox.Behaviour.
        faults: JSON file with a list of faults, with the fields of seedance_async.sandbox.Fault.
        list_faults: List the faults that a prompt can ask for, as [\[fault:NAME]], and exit.
    """
    if list_faults:
        _list_faults()
        return ExitCode.OK
    _check(
        ports={"--port": port, "--media-port": media_port}, url_host=url_host, speed=speed, api_key=api_key
    )
    if reference_checks is not None and reference_checks < 1:
        raise ConfigurationError(f"--reference-checks must be at least 1; got {reference_checks}")
    async with AsyncExitStack() as opened:
        with refusals_as_mistakes():
            begun = _terms(state)
            server = emulator.Sandbox(
                host=host,
                port=port,
                media_port=media_port,
                url_host=url_host,
                memory=state,
                api_key=API_KEY if api_key is None else api_key,
                credits=begun.credits if credits is None else credits,
                speed=begun.speed if speed is None else speed,
                seed=begun.seed if seed is None else seed,
                window=window,
                conditions=emulator.Conditions(reference_checks=reference_checks),
                behaviour=_read_behaviour(behaviour) if behaviour else None,
                faults=_read_faults(faults) if faults else (),
            )
            if state is not None:
                opened.enter_context(AccountFile(state).held())
            await opened.enter_async_context(server)
        if state is not None:
            _write_state(state, server)
        if url_host is None and host in ANY_ADDRESS:
            write_message(
                f"sandbox: its URLs have the host {server.url_host}; for other machines give --url-host NAME"
            )
        return await (_run(command, server) if command else _serve(server))


def _check(
    *, ports: Mapping[str, int], url_host: str | None, speed: float | None, api_key: str | None
) -> None:
    for flag, port in ports.items():
        if not 0 <= port <= LAST_PORT:
            raise ConfigurationError(f"{flag} must be 0 to {LAST_PORT}; got {port}")
    if url_host is not None and not is_host(url_host):
        raise ConfigurationError(f"--url-host must be a host name, without scheme and port; got {url_host!r}")
    if speed is not None and not 0 < speed < math.inf:
        raise ConfigurationError(f"--speed must be a number above 0; got {speed:g}")
    if api_key is not None and not api_key.strip():
        raise ConfigurationError("--api-key is empty; leave it out for the default key")


@contextmanager
def refusals_as_mistakes() -> Iterator[None]:
    """Turn the sandbox's `ValueError` into a `ConfigurationError` of the command line."""
    try:
        yield
    except ValueError as problem:
        raise ConfigurationError(str(problem)) from None


def _terms(state: Path | None) -> Terms:
    """Return the options that the sandbox of a state file was started with; without a file, the defaults.

    Raises:
        ConfigurationError: it is a directory or a device.
        ValueError: it is not the file of a sandbox.
    """
    if state is not None and state.is_dir():
        raise ConfigurationError(f"--state {state} is a directory; name a file in it")
    if state is not None and state.exists() and not state.is_file():
        raise ConfigurationError(f"--state {state} is a device or a pipe; name a file")
    return (state and AccountFile(state).terms) or Terms()


def _write_state(state: Path, server: Sandbox) -> None:
    tasks, credit = counted(len(server.tasks), "task"), credit_count(server.balance())
    write_message(f"sandbox: {tasks} and {credit}, kept in {state}")


def _traffic(server: Sandbox) -> str:
    return (
        f"received {counted(len(server.requests), 'request')} and made {counted(len(server.tasks), 'task')}"
    )


def variables(server: Sandbox) -> dict[str, str]:
    """Return the environment variables that point a client, and this command, at a running sandbox."""
    exported = {"SEEDANCE_BASE_URL": server.base_url, "SEEDANCE_API_KEY": server.api_key}
    if not is_loopback(server.url_host):
        exported["SEEDANCE_SANDBOX_HOSTS"] = server.url_host
    if server.conditions.speed != 1:
        exported["SEEDANCE_RATE_LIMIT"] = rate_limit(server.conditions.speed)
        exported["SEEDANCE_TIME_SCALE"] = f"{server.time_scale:.9g}"
    return exported


def rate_limit(speed: float) -> str:
    """Return the default rate limit for a clock that runs ``speed`` times as fast, such as ``30/3``."""
    usual = RateLimit()
    return f"{usual.requests}/{f'{usual.period / speed:.9f}'.rstrip('0').rstrip('.')}"


def sandbox_client(server: Sandbox, *, media_store: str | MediaStore | None = None) -> SeedanceClient:
    """Return a client for a running sandbox, set to the sandbox's clock; not opened yet."""
    speed = server.conditions.speed
    # Imported late: the HTTP stack takes long to load, and a help page does not need it.
    return seedance_async.SeedanceClient(
        server.api_key,
        server.base_url,
        rate_limit=RateLimit.parse(rate_limit(speed)),
        forecasts=seedance_async.Forecast(scale=1 / speed),
        record=False,  # play money, and the account ends with this process
        credit_limits=seedance_async.CreditLimits(),
        media_store=media_store,
    )


async def _serve(server: Sandbox) -> int:
    for name, value in variables(server).items():
        write_data(f"export {name}={shlex.quote(value)}")
    write_message(
        f"sandbox: serving at {server.base_url} · its requests: {server.admin_url}/requests · Ctrl-C stops it"
    )
    try:
        await anyio.sleep_forever()
    except anyio.get_cancelled_exc_class():
        write_message(f"sandbox: stopped; it {_traffic(server)}")
    return ExitCode.OK  # Ctrl-C is the normal end


async def _run(command: Sequence[str], server: Sandbox) -> int:
    write_message(f"sandbox: {shlex.join(command)} at {server.base_url}")
    async with await anyio.open_process(
        command, stdin=None, stdout=None, stderr=None, env={**os.environ, **variables(server)}
    ) as process:
        try:
            with _forwarding_sigterm(process):
                ending = await process.wait()
        except anyio.get_cancelled_exc_class():
            # Ctrl-C reaches the whole foreground process group: the command ends on its own.
            with anyio.CancelScope(shield=True):
                await process.wait()
            return ExitCode.INTERRUPTED
    write_message(f"sandbox: {_traffic(server)}")
    return ending if ending >= 0 else 128 - ending  # as shells report a death by signal


@contextmanager
def _forwarding_sigterm(process: Process) -> Iterator[None]:
    """Forward SIGTERM to the command, whose end then ends this process; otherwise it would go on."""
    loop = asyncio.get_running_loop()

    def forward() -> None:
        with suppress(ProcessLookupError):
            process.terminate()

    with suppress(NotImplementedError):  # Windows
        loop.add_signal_handler(signal.SIGTERM, forward)
    try:
        yield
    finally:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGTERM)


def _list_faults() -> None:
    """Write each named fault with its rule, in the form that ``--faults`` reads."""
    from seedance_async.sandbox.faults import NAMED  # noqa: PLC0415 - nothing else here needs the tables

    width = max(map(len, NAMED))
    for name, fault in NAMED.items():
        write_data(f"{name:{width}}  {json.dumps(fault.document(whole=False))}")


def _read_faults(path: Path) -> list[Fault]:
    rules = _read_json(path)
    if not isinstance(rules, list):
        raise ValueError(f"{path} must hold a JSON list of faults")  # noqa: TRY004 - not a wrong call
    with _naming(path):
        return emulator.Fault.read_all(rules)


def _read_behaviour(path: Path) -> Behaviour:
    switches = _read_json(path)
    with _naming(path):
        return emulator.Behaviour.read(switches)


def _read_json(path: Path) -> object:
    try:
        document: object = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise ValueError(f"{path} is not JSON: {problem}") from None
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply") from None
    return document


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the file's name in front of an error in it."""
    try:
        yield
    except ValueError as problem:
        raise ValueError(f"{path}, {problem}") from None

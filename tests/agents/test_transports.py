"""`seedance mcp` as a process of its own, over stdio and HTTP, killed and started again. Real time."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import aiohttp
import httpx2
import pytest
from attrs import frozen
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from seedance_async.cli.sandbox import variables
from seedance_async.sandbox import Sandbox
from tests.agents.agent import ERAS, PRICE, Agent, Person, agent_of, pictures
from tests.canary import clean

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

Era = Literal["auto", "legacy"]
SPEED = 60
pytestmark = pytest.mark.timeout(180)  # a server takes seconds to start on a busy machine
TOKEN = "a token of the person's own"  # with blanks, so it is refused
MCP = [sys.executable, "-m", "seedance_async", "mcp"]


@pytest.fixture
def anyio_backend() -> str:
    """The real clock: there are other processes."""
    return "asyncio"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A sandbox in this process, for servers in others."""
    async with Sandbox(speed=SPEED) as running:
        yield running


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The workspace, beside the state directory."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@frozen
class Host:
    """What a person has set up for a server."""

    sandbox: Sandbox
    workspace: Path
    unasked: float = 1_000.0

    @property
    def environment(self) -> Mapping[str, str]:
        """Of the server: the key and the limits stand in it."""
        return {
            **os.environ,
            **variables(self.sandbox),
            "SEEDANCE_MCP_UNASKED_CREDITS_DAY": f"{self.unasked:g}",
            "SEEDANCE_MCP_WORKSPACE": str(self.workspace),
        }

    @asynccontextmanager
    async def stdio(self, era: Era, person: Person | None = None) -> AsyncIterator[tuple[Agent, int]]:
        """An agent whose host starts the server; and the server's process id."""
        note = self.workspace / "server.pid"
        words = ["-c", f'echo $$ > "{note}"; exec "$@"', "server", *MCP]
        parameters = StdioServerParameters(command="sh", args=words, env=dict(self.environment))
        async with agent_of(stdio_client(parameters), person=person, era=era) as agent:
            yield agent, int(note.read_text())

    @contextmanager
    def http(self) -> Iterator[tuple[str, str, subprocess.Popen[str]]]:
        """A server over HTTP: its URL, the header that it asks for, and its process."""
        with subprocess.Popen(
            [*MCP, "--http"], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            try:
                url, header = process.stdout.readline().strip(), process.stdout.readline().strip()
                yield url, header.removeprefix("Authorization: "), process
            finally:
                process.send_signal(signal.SIGINT)
                _, said = process.communicate(timeout=30)
                clean(said)


@asynccontextmanager
async def http_agent(url: str, header: str, era: Era, person: Person | None = None) -> AsyncIterator[Agent]:
    """An agent at a server over HTTP."""
    async with (
        httpx2.AsyncClient(headers={"Authorization": header}, timeout=60) as session,
        agent_of(streamable_http_client(url, http_client=session), person=person, era=era) as agent,
    ):
        yield agent


async def works(agent: Agent, sandbox: Sandbox, workspace: Path) -> None:
    """The whole way: plan, submit, wait, look, make anew, fetch; one paid task a job."""
    before = len(sandbox.paid_tasks)
    wrong = await agent("plan", jobs=[{"model": "nano-banana-pro", "prompt": "a"}])
    assert "ManifestError" == wrong["error"]
    batch = await agent.sent(pictures(2))
    assert ["boat-1", "boat-0"] == (await agent("look", batch_id=batch))["shown"]
    assert agent.picture
    anew = await agent("reroll", batch_id=batch, names=["boat-1"])
    await agent("submit", plan_id=anew["plan_id"])
    assert {"saved": 2} == (await agent.ended(batch))["counts"]
    tasks = (await agent("list_tasks"))["tasks"]
    fetched = await agent("download", task_ids=tasks[0]["ids"])
    assert (workspace / fetched["tasks"][0]["files"][0]).stat().st_size > 1000
    again = await agent("submit", plan_id=anew["plan_id"])
    assert "submitted before" in again["note"]
    assert 3 == len(sandbox.paid_tasks) - before


@pytest.mark.parametrize("era", ERAS)
async def test_over_stdio_an_agent_makes_looks_at_and_fetches_pictures(
    sandbox: Sandbox, work: Path, era: Era
) -> None:
    """In both versions of the protocol."""
    async with Host(sandbox, work).stdio(era) as (agent, _):
        await works(agent, sandbox, work)


@pytest.mark.parametrize("era", ERAS)
async def test_over_http_an_agent_makes_looks_at_and_fetches_pictures(
    sandbox: Sandbox, work: Path, era: Era
) -> None:
    """With the token that was printed."""
    with Host(sandbox, work).http() as (url, header, _):
        async with http_agent(url, header, era) as agent:
            await works(agent, sandbox, work)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_above_the_limit_the_form_asks_and_without_forms_the_command_is_told(
    sandbox: Sandbox, work: Path, era: Era, transport: str
) -> None:
    """Over both transports, in both versions of the protocol."""
    host, person = Host(sandbox, work, unasked=0), Person()

    async def asks(agent: Agent) -> None:
        plan = await agent("plan", jobs=pictures(1))
        await agent("submit", plan_id=plan["plan_id"])
        assert {"saved": 1} == (await agent.ended(plan["batch_id"]))["counts"]

    async def tells(agent: Agent) -> None:
        plan = await agent("plan", jobs=pictures(1))
        refused = await agent("submit", plan_id=plan["plan_id"])
        assert "NeedsAPerson" == refused["error"]
        assert "--max-credits 12" in refused["command"]

    if transport == "stdio":
        async with host.stdio(era, person) as (agent, _):
            await asks(agent)
        async with host.stdio(era) as (agent, _):
            await tells(agent)
    else:
        with host.http() as (url, header, _):
            async with http_agent(url, header, era, person) as agent:
                await asks(agent)
            async with http_agent(url, header, era) as agent:
                await tells(agent)

    assert 1 == len(person.questions)
    assert 1 == len(sandbox.paid_tasks)


async def test_a_server_that_is_killed_after_a_post_left_pays_nothing_twice(
    sandbox: Sandbox, work: Path
) -> None:
    """The POST was charged and its answer never came; the next server sends the same bytes under its key."""
    hangs: dict[str, object] = {**pictures(1)[0], "name": "hangs", "prompt": "A boat [[fault:hang]]"}
    host = Host(sandbox, work, unasked=3 * PRICE)
    with host.http() as (url, header, process):
        async with http_agent(url, header, "auto") as agent:
            plan = await agent("plan", jobs=[*pictures(2), hangs])
            await agent("submit", plan_id=plan["plan_id"])
            while len(sandbox.paid_tasks) < 3:
                await agent("wait", batch_id=plan["batch_id"], seconds=0.2)
            process.kill()
            process.wait()
    with host.http() as (url, header, _):
        async with http_agent(url, header, "auto") as agent:
            ended = await agent.ended(plan["batch_id"])
            again = await agent("submit", plan_id=plan["plan_id"])
            above = await agent("plan", jobs=pictures(1, "kite"))

    posts = [call for call in sandbox.requests if call.method == "POST"]
    assert {"saved": 3} == ended["counts"] == again["counts"]
    assert 3 == len(sandbox.paid_tasks)
    assert len(posts) > 3  # it was sent again
    assert 3 == len({call.idempotency_key for call in posts})
    assert above["needs_a_person"]  # what was allowed before the kill still counts


async def test_a_stdio_server_that_is_killed_is_gone_on_with_by_the_next(
    sandbox: Sandbox, work: Path
) -> None:
    """Also in the middle of making jobs anew: no second take is ordered."""
    host = Host(sandbox, work)
    async with host.stdio("auto") as (agent, _):
        batch = await agent.sent(pictures(3))
        anew = await agent("reroll", batch_id=batch, names=["*"])
    async with host.stdio("auto") as (agent, process):
        await agent("submit", plan_id=anew["plan_id"])
        while len(sandbox.paid_tasks) < 4:
            await agent("wait", batch_id=batch, seconds=0.2)
        os.kill(process, signal.SIGKILL)
    async with host.stdio("auto") as (agent, _):
        ended = await agent.ended(batch)
        again = await agent("submit", plan_id=anew["plan_id"])

    assert "ended" == ended["state"] == again["state"]
    assert 6 == len(sandbox.paid_tasks)


async def test_over_http_nobody_without_the_token_or_from_elsewhere_gets_through(
    sandbox: Sandbox, work: Path
) -> None:
    """No header, another token, another host, another page."""
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    with Host(sandbox, work).http() as (url, header, _):
        known = {"Authorization": header, "Accept": "application/json, text/event-stream"}
        tries: dict[str, dict[str, str]] = {
            "none": {},
            "other": known | {"Authorization": "Bearer " + "x" * 43},
            "basic": known | {"Authorization": header.replace("Bearer", "Basic")},
            "host": known | {"Host": "evil.example"},
            "origin": known | {"Origin": "https://evil.example"},
        }
        async with aiohttp.ClientSession() as session:
            found = {}
            for name, headers in tries.items():
                async with session.post(url, json=call, headers=headers) as answer:
                    found[name] = answer.status

    assert {"none": 401, "other": 401, "basic": 401, "host": 421, "origin": 403} == found


def test_a_client_that_dies_in_the_middle_of_an_answer_ends_the_server_in_good_order(
    work: Path,
) -> None:
    """No traceback, and no process that is left behind."""
    address = {"SEEDANCE_API_KEY": "sk_test_sandbox", "SEEDANCE_BASE_URL": "http://127.0.0.1:9/api/v1"}
    environment = {**os.environ, **address}
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    with subprocess.Popen(
        [*MCP, "--workspace", str(work)], env=environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        ask = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
        process.stdin.write(f"{json.dumps(ask)}\n")
        process.stdin.flush()
        assert "result" in json.loads(process.stdout.readline())
        process.stdout.close()
        with suppress(BrokenPipeError):
            process.stdin.write('{"jsonrpc": "2.0", "id": 2, "method": "tools/list"}\n')
            process.stdin.flush()
            process.stdin.close()
        said = clean(process.stderr.read())

    assert 0 == process.returncode
    assert "Traceback" not in said


def test_a_server_that_cannot_start_says_why_and_sends_nothing(tmp_path: Path, work: Path) -> None:
    """Whoever reads the host's log finds a line, not a traceback."""
    environment = {**os.environ, "SEEDANCE_API_KEY": "sk_test_sandbox", "HOME": str(tmp_path)}
    tries = {
        ("--workspace", str(tmp_path)): "would open everything in it",
        ("--http",): "SEEDANCE_MCP_TOKEN must be 20 or more",
    }
    for words, reason in tries.items():
        ending = subprocess.run(
            [*MCP, *words], env={**environment, "SEEDANCE_MCP_TOKEN": TOKEN}, cwd=work, timeout=30,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (2, "") == (ending.returncode, ending.stdout)
        assert re.search(f"error: .*{re.escape(reason)}", clean(ending.stderr))

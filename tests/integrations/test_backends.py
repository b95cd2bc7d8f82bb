"""Backends of both frameworks in processes of their own: bodies, errors, events, leaving, and the end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import sys
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import anyio
import pytest

from seedance_async.sandbox import Conditions, Fault, Sandbox
from tests.integrations.applications import with_fastapi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

PROGRAM = Path(__file__).with_name("applications.py")
ROOT = Path(__file__).parents[2]
PICTURES = {"model": "gpt-image-2", "prompt": "a fox asleep on a roof", "batch_count": 2}
CLIP = {"prompt": "a paper boat crosses a pond", "duration": 4}
FRAMEWORKS = ("fastapi", "aiohttp")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The processes live in real time."""
    return "asyncio"


@pytest.fixture(scope="module", params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> str:
    """Each of them."""
    return str(request.param)


class Backend:
    """A backend's process, and a session with it."""

    def __init__(self, process: asyncio.subprocess.Process, session: aiohttp.ClientSession) -> None:
        self.process = process
        self.session = session

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        async with self.session.request(method, path, json=body, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def end(self) -> int | None:
        """Ask it to end, and wait until it has."""
        self.process.send_signal(signal.SIGTERM)
        with anyio.fail_after(20):
            return await self.process.wait()


@asynccontextmanager
async def backend(framework: str, sandbox: Sandbox, state: Path) -> AsyncIterator[Backend]:
    """Run a backend for the sandbox."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    environment = {
        **os.environ,
        "PORT": str(port),
        "PYTHONPATH": str(ROOT),
        "SEEDANCE_API_KEY": sandbox.api_key,
        "SEEDANCE_BASE_URL": sandbox.base_url,
        "SEEDANCE_RATE_LIMIT": "1000/1",
        "SEEDANCE_TIME_SCALE": str(sandbox.time_scale),
        "SEEDANCE_STATE_DIR": str(state),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), framework, env=environment, cwd=ROOT
    )
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        try:
            with anyio.fail_after(30):
                while not await _answers(session):  # noqa: ASYNC110 - another process
                    await anyio.sleep(0.05)
            yield Backend(process, session)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _answers(session: aiohttp.ClientSession) -> bool:
    try:
        async with session.get("/"):
            return True
    except aiohttp.ClientConnectionError:
        return False


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what other processes do."""
    with anyio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - nobody there sets an event
            await anyio.sleep(0.02)


QUICK = Conditions(speed=100, requests=1000, period=1.0)


@pytest.fixture(scope="module")
async def quick(
    framework: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Sandbox, Backend]]:
    """A sandbox and a backend for several tests."""
    state = tmp_path_factory.mktemp(framework)
    async with Sandbox(conditions=QUICK) as sandbox, backend(framework, sandbox, state) as served:
        yield sandbox, served


async def test_requests_come_in_and_tasks_go_out(quick: tuple[Sandbox, Backend]) -> None:
    """One key is one payment; any model is read by its word."""
    sandbox, served = quick
    before = len(sandbox.paid_tasks)
    key = {"Idempotency-Key": "k-1"}
    accepted, submission = await served.ask("POST", "/clips", CLIP, **key)
    _, again = await served.ask("POST", "/clips", CLIP, **key)
    _, pictures = await served.ask("POST", "/any", PICTURES)
    made, task = await served.ask("POST", "/clips/made", CLIP)
    _, status = await served.ask("GET", f"/tasks/{task['id']}")

    assert (202, 200) == (accepted, made)
    assert (submission["id"], "k-1") == (again["id"], again["idempotency_key"])
    assert 2 == len(pictures["task_ids"])
    assert "completed" == task["status"] == status["status"]
    assert 1 + 2 + 1 == len(sandbox.paid_tasks) - before


async def test_errors_are_problem_documents(quick: tuple[Sandbox, Backend], framework: str) -> None:
    """With the API's own words where they are the caller's business; what is wrong is not sent."""
    sandbox, served = quick
    sandbox.faults.add(Fault(effect="status", on="submit", moment="before", status=402))
    poor, payment = await served.ask("POST", "/clips", CLIP)
    missing, nobody = await served.ask("GET", "/tasks/sd2_nobody")
    failed, given_up = await served.ask("POST", "/clips/made", {**CLIP, "prompt": "it will [[sandbox:fail]]"})
    before = len(sandbox.requests)
    wrong, problems = await served.ask("POST", "/clips", {**CLIP, "duration": 99, "promt": 1})
    strange, _ = await served.ask("POST", "/any", {**CLIP, "model": "sora"})

    assert (402, "InsufficientCreditsError") == (poor, payment["title"])
    assert (404, "sd2_nobody") == (missing, nobody["task_id"])
    assert (502, "TaskFailedError") == (failed, given_up["title"])
    assert given_up["task_id"]
    assert given_up["idempotency_key"]
    assert 422 == wrong == strange
    fields = (
        [problem["loc"][-1] for problem in problems["detail"]]
        if framework == "fastapi"
        else [problem["field"] for problem in problems["errors"]]
    )
    assert {"duration", "promt"} == set(fields)
    assert before == len(sandbox.requests)


async def test_events_come_and_go_on_where_they_broke_off(quick: tuple[Sandbox, Backend]) -> None:
    """As the header says; at the end the browser is told not to come back."""
    _, served = quick
    _, submission = await served.ask("POST", "/clips", CLIP)
    events = f"/tasks/{submission['id']}/events"
    async with served.session.get(events) as answer:
        kind = answer.headers["Content-Type"]
        text = await answer.text()
    async with served.session.get(events, headers={"Last-Event-ID": submission["id"]}) as answer:
        over = answer.status, await answer.text()

    assert "text/event-stream; charset=utf-8" == kind
    assert text.startswith("retry: ")
    assert [f"id: {submission['id']}"] == [line for line in text.splitlines() if line.startswith("id")]
    assert "event: end" in text
    assert (204, "") == over


async def test_whoever_goes_away_loses_nothing_that_was_paid(framework: str, tmp_path: Path) -> None:
    """The POST had left: it is paid once, and collected under its key."""
    slow = Conditions(speed=100, requests=1000, period=1.0, latency=(0.3, 0.3))
    async with Sandbox(conditions=slow) as sandbox, backend(framework, sandbox, tmp_path) as served:
        key = {"Idempotency-Key": "k-gone"}
        leaving = asyncio.create_task(served.ask("POST", "/clips", CLIP, **key))
        await until(lambda: any(request.method == "POST" for request in sandbox.requests))
        leaving.cancel()
        await asyncio.wait([leaving])
        _, again = await served.ask("POST", "/clips", CLIP, **key)

    assert [again["id"]] == [task.id for task in sandbox.paid_tasks]


async def test_an_end_answers_those_who_wait_and_leaves_the_rest_on_record(
    framework: str, tmp_path: Path
) -> None:
    """A waiting request and a stream of events do not hold the server up; the record has what was paid."""
    endless = Conditions(speed=1, requests=1000, period=1.0, duration=lambda _order, _chance: 3600.0)
    async with Sandbox(conditions=endless) as sandbox, backend(framework, sandbox, tmp_path) as served:
        _, submission = await served.ask("POST", "/clips", CLIP)
        events = await served.session.get(f"/tasks/{submission['id']}/events")
        assert b"retry: 2000\n" == await events.content.readline()
        waiting = asyncio.create_task(served.ask("POST", "/clips/made", CLIP))
        await until(lambda: len(recorded(tmp_path)) == 2)
        code = await served.end()
        status, problem = await waiting
        rest = await events.text()

    assert code in {0, -signal.SIGTERM}
    assert (503, "ClientStateError") == (status, problem["title"])
    assert "event: end" not in rest
    assert {submission["id"], problem["task_id"]} == {task.id for task in sandbox.paid_tasks}
    assert {submission["id"], problem["task_id"]} == recorded(tmp_path)


def recorded(state: Path) -> set[str]:
    """The tasks in the account's record."""
    found: set[str] = set()
    for path in state.glob("record-*.sqlite"):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            found.update(task_id for (task_id,) in connection.execute("SELECT id FROM tasks"))
    return found


def test_the_openapi_document_describes_it_all() -> None:
    """Bodies with words, bounds and defaults, and every status of an error."""
    paths = json.loads(json.dumps(with_fastapi.openapi()))["paths"]
    answers = paths["/clips"]["post"]["responses"]
    clip, any_body = (
        paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        for path in ("/clips", "/any")
    )
    clip = clip["properties"]

    assert {"minimum": 4, "maximum": 15, "default": 5, "type": "integer"} == clip["duration"]
    assert ["mini", "standard", "pro"] == clip["quality_tier"]["enum"]
    assert {"202", "402", "404", "409", "422", "500", "502", "503", "504"} == set(answers)
    assert ["seedance2", "gpt-image-2", "nano-banana-pro"] == [
        each["properties"]["model"]["const"] for each in any_body["oneOf"]
    ]

"""Streams of events: every end is told once, listeners can come back, and nothing more is polled."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from attrs import frozen

from seedance_async import (
    BatchRunner,
    Job,
    NanoBananaPro,
    Seedance2Video,
    SeedanceClient,
    ValidationError,
)
from seedance_async.integrations.events import EventStream, batch_events, task_events
from seedance_async.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CLIP = Seedance2Video(prompt="a paper boat crosses a pond", duration=4)


@frozen
class Told:
    """What a listener got."""

    name: str
    data: Any
    id: str | None


class Listener:
    """Reads a stream as a browser does."""

    def __init__(self, leave_after: int | None = None) -> None:
        self.events: list[Told] = []
        self.comments = 0
        self._leave_after = leave_after

    @property
    def last_id(self) -> str | None:
        """What is sent as ``Last-Event-ID``."""
        return next((event.id for event in reversed(self.events) if event.id is not None), None)

    async def write(self, chunk: bytes) -> None:
        """Take a chunk, which is one event, a comment, or the beginning."""
        text = chunk.decode()
        assert text.endswith("\n\n")
        fields = dict(line.split(": ", 1) for line in text.strip("\n").split("\n"))
        if "event" in fields:
            self.events.append(Told(fields["event"], json.loads(fields["data"]), fields.get("id")))
        elif "" in fields:
            self.comments += 1
        if self._leave_after is not None and len(self.events) >= self._leave_after:
            raise ConnectionResetError

    async def listen(self, stream: EventStream) -> Listener:
        """Listen until the stream ends, or until this one leaves."""
        try:
            await stream.serve(self.write)
        except* ConnectionResetError:
            pass
        return self


async def heard(stream: EventStream, *, leave_after: int | None = None) -> Listener:
    """What a listener got of a stream."""
    return await Listener(leave_after).listen(stream)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A sandbox."""
    async with Sandbox() as running:
        yield running


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[SeedanceClient]:
    """A client of it."""
    async with SeedanceClient(sandbox.api_key, sandbox.base_url) as opened:
        yield opened


def polls(sandbox: Sandbox) -> int:
    """GETs that the sandbox saw."""
    return sum(request.method == "GET" for request in sandbox.requests)


async def test_a_task_is_told_when_it_is_final(client: SeedanceClient) -> None:
    """Once, with its fields; meanwhile comments keep the connection alive."""
    submission = await client.submit(CLIP)
    listener = await heard(task_events(client, submission.id))

    task, end = listener.events
    assert ("task", "completed", submission.id) == (task.name, task.data["status"], task.id)
    assert 2 == len(task.data["output"]) - 1  # the clip and its last frame, beside the seed
    assert ("end", None) == (end.name, end.id)
    assert 3 < listener.comments


async def test_a_listener_that_comes_back_is_told_the_rest(client: SeedanceClient) -> None:
    """By the id of what it got last, also from a process that knows nothing; then it is told to stop."""
    ids = [(await client.submit(NanoBananaPro(prompt=f"a fox on roof {roof}"))).id for roof in range(4)]
    first = await heard(task_events(client, ids), leave_after=2)
    rest = await heard(task_events(client, ids, last_event_id=first.last_id))

    told = [event.data["id"] for event in (*first.events, *rest.events) if event.name == "task"]
    assert sorted(ids) == sorted(told)
    assert 2 == len(first.events)
    assert "end" == rest.events[-1].name
    over = task_events(client, ids, last_event_id=rest.last_id)
    assert 204 == over.status
    assert [] == (await heard(over)).events


async def test_listeners_cost_no_requests(client: SeedanceClient, sandbox: Sandbox) -> None:
    """A hundred tabs are one poller."""
    submission = await client.submit(CLIP)
    listeners = [Listener() for _ in range(100)]
    async with anyio.create_task_group() as group:
        for listener in listeners:
            group.start_soon(listener.listen, task_events(client, submission.id))

    assert {"task"} == {listener.events[0].name for listener in listeners}
    assert polls(sandbox) < 20


async def test_a_task_that_is_not_there_is_a_problem(client: SeedanceClient) -> None:
    """The others are told all the same."""
    submission = await client.submit(CLIP)
    listener = await heard(task_events(client, ["sd2_nobody", submission.id]))

    assert {
        ("problem", "NotFoundError", "sd2_nobody"),
        ("task", None, None),
        ("end", None, None),
    } == {(each.name, each.data.get("title"), each.data.get("task_id")) for each in listener.events}


async def test_a_stream_ends_with_the_client_and_without_an_end(sandbox: Sandbox, tmp_path: Path) -> None:
    """So that a browser comes back to the next process, where the task is told."""
    listeners = Listener(), Listener()
    async with SeedanceClient(sandbox.api_key, sandbox.base_url) as first:
        submission = await first.submit(CLIP)
        async with anyio.create_task_group() as group:
            group.start_soon(listeners[0].listen, task_events(first, submission.id))
            group.start_soon(listeners[1].listen, batch_events(first, tmp_path))
            await anyio.sleep(20)
            await first.aclose()
    async with SeedanceClient(sandbox.api_key, sandbox.base_url) as second:
        again = await heard(task_events(second, submission.id))

    assert [[], []] == [listener.events for listener in listeners]
    assert ["task", "end"] == [event.name for event in again.events]
    assert 1 == len(sandbox.paid_tasks)


@pytest.mark.parametrize("ids", [[], ["a,b"], ["a\nb"], ["x" * 65], [f"sd2_{n}" for n in range(101)]])
async def test_ids_that_would_not_fit_are_refused(client: SeedanceClient, ids: list[str]) -> None:
    """Before the stream begins."""
    with pytest.raises(ValidationError):
        task_events(client, ids)


def jobs(number: int) -> list[Job]:
    """Pictures."""
    return [Job(NanoBananaPro(prompt=f"a fox on roof {roof}"), name=f"fox-{roof}") for roof in range(number)]


async def test_a_batch_is_told_while_it_runs_and_to_its_end(client: SeedanceClient, tmp_path: Path) -> None:
    """Each job once, without its signed URLs; a listener that comes in later is told all."""
    ended = anyio.Event()
    early = Listener()
    async with anyio.create_task_group() as group:
        group.start_soon(early.listen, batch_events(client, tmp_path, ended=ended))
        async with BatchRunner(client, tmp_path) as batch:
            async for result in batch.run(jobs(6)):
                assert result.error is None
                await anyio.sleep(2)
                assert result.name in {event.data["name"] for event in early.events}
        ended.set()
    late = await heard(batch_events(client, tmp_path, ended=ended))

    for listener in (early, late):
        *told, end = listener.events
        assert {f"fox-{roof}" for roof in range(6)} == {event.data["name"] for event in told}
        assert ("end", "end") == (end.name, end.id)
        assert all(event.data["state"] == "saved" and "urls" not in event.data for event in told)
    assert 6 == len(late.events) - 1
    assert 204 == batch_events(client, tmp_path, last_event_id="end").status


async def test_a_listener_of_a_batch_goes_on_where_it_was(client: SeedanceClient, tmp_path: Path) -> None:
    """In the same file; where it was written anew, it is told all again, and nothing is left out."""
    async with BatchRunner(client, tmp_path) as batch:
        async for _ in batch.run(jobs(5)):
            pass
    ended = anyio.Event()
    ended.set()
    first = await heard(batch_events(client, tmp_path), leave_after=2)
    rest = await heard(batch_events(client, tmp_path, last_event_id=first.last_id, ended=ended))
    written_anew = tmp_path / "anew"
    written_anew.write_bytes((tmp_path / "results.jsonl").read_bytes())
    written_anew.replace(tmp_path / "results.jsonl")
    again = await heard(batch_events(client, tmp_path, last_event_id=first.last_id, ended=ended))

    assert (2, 3, 5) == (len(first.events), len(rest.events) - 1, len(again.events) - 1)
    assert [f"fox-{roof}" for roof in range(5)] == [
        event.data["name"] for event in (*first.events, *rest.events[:-1])
    ]


async def test_half_a_line_is_not_told(client: SeedanceClient, tmp_path: Path) -> None:
    """It is, once the rest of it is there."""
    results = tmp_path / "results.jsonl"
    results.write_bytes(b'{"name": "a"}\n{"name"')
    listener, ended = Listener(), anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(listener.listen, batch_events(client, tmp_path, ended=ended))
        await anyio.sleep(5)
        assert ["a"] == [event.data["name"] for event in listener.events]
        with results.open("ab") as file:
            file.write(b': "b"}\nno line of ours\n')
        ended.set()

    assert ["a", "b"] == [event.data["name"] for event in listener.events[:-1]]

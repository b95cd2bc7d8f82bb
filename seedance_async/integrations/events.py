"""Server-sent events of tasks and batches: what is told, under which ids, and how a listener goes on.

A browser's ``EventSource`` connects again by itself when a connection breaks, and sends the id of the last
event that it got as ``Last-Event-ID``. Ids here say what was told up to them, and nothing is kept at the
server: any worker process can go on where another one ended.

* ``task_events``: an event ``task`` for each task that becomes final, with the task's fields; ``problem``
  where waiting for it has ended otherwise, with a problem document and the ``task_id``. An id lists all that
  were told.
* ``batch_events``: an event ``job`` for each line of a batch's ``results.jsonl``, whoever runs the batch:
  this process, another worker, the command. Its id is a place in the file. Where the file was written anew
  meanwhile, jobs are told again, so a listener keeps them by ``name``.

At the end comes an event ``end``. A listener that connects again all the same is answered 204, upon which
``EventSource`` stops. When the client of the API is closed, streams end without ``end``, and listeners come
back to the next process.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Final, TypeAlias

import anyio
from anyio import to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from attrs import field, frozen

from seedance_async.arguments import check
from seedance_async.client import SeedanceClient
from seedance_async.errors import ClientStateError, SeedanceError, ValidationError
from seedance_async.integrations.problems import problem_of
from seedance_async.integrations.results_tail import Place, Tail
from seedance_async.models.rules import whole_number

KEEP_ALIVE: Final = 15.0
"""Seconds without an event after which a comment is sent, so that no proxy takes the connection for dead."""

RECONNECT: Final = 2000
"""Milliseconds that a browser waits before it connects again."""

MOST_TASKS: Final = 100
"""Tasks of one stream: their ids have to fit into a header."""

MOST_ID: Final = 64
"""Characters of a task's id in a stream, as above."""

LOOK_EVERY: Final = 0.5
"""Seconds between two looks at a batch's results."""

END: Final = "end"
"""The name of the last event, and its id in a batch."""

HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would keep events back
}

PREAMBLE: Final = f"retry: {RECONNECT}\n\n".encode()
"""The beginning of a stream, sent at once: the listener learns that it is connected."""

COMMENT: Final = b": \n\n"


@frozen(kw_only=True)
class Event:
    """One event.

    Attributes:
        name: its type, for ``addEventListener``.
        data: JSON values.
        id: what a listener that comes back sends; None leaves the last one as it is.
    """

    name: str
    data: object
    id: str | None = None

    def encode(self) -> bytes:
        """The event as it is sent: JSON escapes line breaks, so the data is one line."""
        identity = "" if self.id is None else f"id: {self.id}\n"
        return f"event: {self.name}\n{identity}data: {json.dumps(self.data, ensure_ascii=False)}\n\n".encode()


Told: TypeAlias = MemoryObjectSendStream[Event]
"""Where a source puts its events."""


@frozen
class EventStream:
    """The events for one listener, served once.

    Attributes:
        source: tells the events, and returns after the last one; None where all were told before.
    """

    source: Callable[[Told], Awaitable[None]] | None = field(repr=False)

    @property
    def status(self) -> int:
        """Of the answer: 200, or 204, upon which a browser does not come back."""
        return 204 if self.source is None else 200

    async def serve(self, write: Callable[[bytes], Awaitable[object]]) -> None:
        """Write the events as they come, and a comment wherever none came for ``KEEP_ALIVE`` seconds.

        Args:
            write: sends bytes to the listener. What it raises ends the stream.
        """
        if self.source is None:
            return
        told, events = anyio.create_memory_object_stream[Event](1)
        await write(PREAMBLE)
        async with anyio.create_task_group() as group, events:
            group.start_soon(_until_its_end, self.source, told)
            while (chunk := await _next(events)) is not None:
                await write(chunk)
            group.cancel_scope.cancel()


def task_events(
    client: SeedanceClient, task_ids: str | Iterable[str], *, last_event_id: str | None = None
) -> EventStream:
    """The events of some tasks, as each becomes final.

    However many listen, the API is asked by the client's one poller only.

    Args:
        client: open in this loop.
        task_ids: one, or up to 100, of tasks that this or any other process has submitted.
        last_event_id: the header ``Last-Event-ID`` of a listener that comes back.

    Raises:
        ValidationError: no ids, too many, or one that cannot be one.
    """
    ids = tuple(dict.fromkeys([task_ids] if isinstance(task_ids, str) else task_ids))
    check("task_events", task_ids=(whole_number(1, MOST_TASKS, of="tasks"), len(ids)))
    if wrong := next((each for each in ids if not _is_plain(each)), None):
        raise ValidationError([("task_ids", f"{wrong!r:.80} is no id of a task")], subject="task_events")
    told = frozenset((last_event_id or "").split(",")) & frozenset(ids)
    return EventStream(None if len(told) == len(ids) else partial(_tell_tasks, client, ids, told))


def batch_events(
    client: SeedanceClient,
    directory: str | PathLike[str],
    *,
    last_event_id: str | None = None,
    ended: anyio.Event | None = None,
) -> EventStream:
    """The events of a batch, as each of its jobs ends: ``job``, with the fields of its line but for ``urls``.

    Args:
        client: open in this loop; when it is closed, the stream ends.
        directory: of the batch; there need be nothing yet.
        last_event_id: the header ``Last-Event-ID`` of a listener that comes back.
        ended: set by whoever runs the batch when it is over: what is left is told, then ``end``. Without it,
            the stream goes on as long as somebody listens.
    """
    if last_event_id == END:
        return EventStream(None)
    tail = Tail(Path(directory), Place.parse(last_event_id))
    return EventStream(partial(_tell_jobs, client, tail, ended))


async def _until_its_end(source: Callable[[Told], Awaitable[None]], told: Told) -> None:
    async with told:
        try:
            await source(told)
        except anyio.BrokenResourceError:  # nobody listens any more
            return


async def _next(events: MemoryObjectReceiveStream[Event]) -> bytes | None:
    """What is to be written next; None after the last event."""
    with anyio.move_on_after(KEEP_ALIVE):
        try:
            return (await events.receive()).encode()
        except anyio.EndOfStream:
            return None
    return COMMENT


async def _tell_tasks(
    client: SeedanceClient, ids: tuple[str, ...], before: frozenset[str], told: Told
) -> None:
    known = [each for each in ids if each in before]
    is_closed = False

    async def tell(task_id: str) -> None:
        nonlocal is_closed
        try:
            name, data = "task", (await client.wait(task_id)).to_dict()
        except ClientStateError:
            is_closed = True
            return
        except SeedanceError as error:
            name, data = "problem", {**problem_of(error).document, "task_id": task_id}
        known.append(task_id)
        await told.send(Event(name=name, data=data, id=",".join(known)))

    async with anyio.create_task_group() as waiters:
        for task_id in ids:
            if task_id not in before:
                waiters.start_soon(tell, task_id)
    if not is_closed:
        await told.send(Event(name=END, data={"tasks": len(ids)}))


async def _tell_jobs(client: SeedanceClient, tail: Tail, ended: anyio.Event | None, told: Told) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(_cancel_when_closed, client, group.cancel_scope)
        while True:
            is_over = (
                ended is not None and ended.is_set()
            )  # before the reading: what ends later is read later
            lines = await to_thread.run_sync(tail.read)
            for line in lines or ():
                await told.send(Event(name="job", data=line.facts, id=str(line.place)))
            if lines is None and is_over:
                break
            if lines is None:
                await _look_again(ended)
        await told.send(Event(name=END, data={}, id=END))
        group.cancel_scope.cancel()


async def _look_again(ended: anyio.Event | None) -> None:
    with anyio.move_on_after(LOOK_EVERY):
        await (anyio.sleep_forever() if ended is None else ended.wait())


async def _cancel_when_closed(client: SeedanceClient, scope: anyio.CancelScope) -> None:
    with suppress(ClientStateError):
        await client.running_engine().end()
    scope.cancel()


def _is_plain(task_id: object) -> bool:
    """Whether an id fits into a header, among others."""
    return (
        isinstance(task_id, str)
        and 0 < len(task_id) <= MOST_ID
        and task_id.isascii()
        and task_id.isprintable()
        and not {",", " "} & set(task_id)
    )

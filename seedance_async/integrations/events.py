"""Server-sent events of tasks and batches, with ids by which a listener can reconnect.

A browser's ``EventSource`` reconnects automatically when a connection breaks, and sends the id of the last
event that it received as ``Last-Event-ID``. An id here says what was sent before, and the server keeps no
state: any worker process can continue the stream of another one.

* ``task_events``: an event ``task`` for each task that becomes final, with the task's fields, or an event
  ``problem`` if waiting for it has failed, with a problem document and the ``task_id``. An id lists all tasks
  sent so far.
* ``batch_events``: an event ``job`` for each line of a batch's ``results.jsonl``, whichever process runs the
  batch: this one, another worker, the command. An id is a place in the file. If the file has been rewritten
  in the meantime, jobs are sent again, so a listener should store them by ``name``.

The last event is ``end``. A listener that reconnects after it is answered 204, on which ``EventSource``
stops. When the client of the API is closed, streams end without ``end``, and listeners reconnect to the next
process.
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
"""Seconds without an event after which a comment is sent, so that no proxy closes the connection as idle."""

RECONNECT: Final = 2000
"""Milliseconds that a browser waits before it reconnects."""

MOST_TASKS: Final = 100
"""Most tasks of one stream, because their ids must fit into a header."""

MOST_ID: Final = 64
"""Most characters of a task's id in a stream, for the same reason."""

READ_INTERVAL: Final = 0.5
"""Seconds between two reads of a batch's results."""

END: Final = "end"
"""The name of the last event, and its id in a batch."""

HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # otherwise nginx buffers events
}

PREAMBLE: Final = f"retry: {RECONNECT}\n\n".encode()
"""The beginning of a stream, sent at once, so that the listener knows that it is connected."""

COMMENT: Final = b": \n\n"


@frozen(kw_only=True)
class Event:
    """One event.

    Attributes:
        name: its type, for ``addEventListener``.
        data: JSON values.
        id: sent by a listener that reconnects; None keeps the last one.
    """

    name: str
    data: object
    id: str | None = None

    def encode(self) -> bytes:
        """Return the event as it is sent; JSON escapes line breaks, so the data is one line."""
        identity = "" if self.id is None else f"id: {self.id}\n"
        return f"event: {self.name}\n{identity}data: {json.dumps(self.data, ensure_ascii=False)}\n\n".encode()


Sink: TypeAlias = MemoryObjectSendStream[Event]
"""The stream that a source sends its events to."""


@frozen
class EventStream:
    """The events for one listener, served once.

    Attributes:
        source: sends the events, and returns after the last one; None if all have been sent before.
    """

    source: Callable[[Sink], Awaitable[None]] | None = field(repr=False)

    @property
    def status(self) -> int:
        """Status of the response: 200, or 204, after which a browser does not reconnect."""
        return 204 if self.source is None else 200

    async def serve(self, write: Callable[[bytes], Awaitable[object]]) -> None:
        """Write the events as they occur, and a comment after each ``KEEP_ALIVE`` seconds without one.

        Args:
            write: sends bytes to the listener. An exception from it ends the stream.
        """
        if self.source is None:
            return
        sink, events = anyio.create_memory_object_stream[Event](1)
        await write(PREAMBLE)
        async with anyio.create_task_group() as group, events:
            group.start_soon(_until_its_end, self.source, sink)
            while (chunk := await _next(events)) is not None:
                await write(chunk)
            group.cancel_scope.cancel()


def task_events(
    client: SeedanceClient, task_ids: str | Iterable[str], *, last_event_id: str | None = None
) -> EventStream:
    """Return the events of some tasks, as each becomes final.

    However many listeners there are, only the client's one poller asks the API.

    Args:
        client: open in this loop.
        task_ids: one, or up to 100, of tasks that this or any other process has submitted.
        last_event_id: the header ``Last-Event-ID`` of a listener that reconnects.

    Raises:
        ValidationError: no ids, too many, or one that cannot be a task's id.
    """
    ids = tuple(dict.fromkeys([task_ids] if isinstance(task_ids, str) else task_ids))
    check("task_events", task_ids=(whole_number(1, MOST_TASKS, of="tasks"), len(ids)))
    if wrong := next((each for each in ids if not _is_plain(each)), None):
        raise ValidationError([("task_ids", f"{wrong!r:.80} is not a task id")], subject="task_events")
    sent = frozenset((last_event_id or "").split(",")) & frozenset(ids)
    return EventStream(None if len(sent) == len(ids) else partial(_send_tasks, client, ids, sent))


def batch_events(
    client: SeedanceClient,
    directory: str | PathLike[str],
    *,
    last_event_id: str | None = None,
    ended: anyio.Event | None = None,
) -> EventStream:
    """Return the events of a batch, as its jobs end: ``job``, with the fields of its line except ``urls``.

    Args:
        client: open in this loop; when it is closed, the stream ends.
        directory: of the batch; it need not exist yet.
        last_event_id: the header ``Last-Event-ID`` of a listener that reconnects.
        ended: set by the code that runs the batch when it has ended: the remaining events are sent, then
            ``end``. Without it, the stream goes on as long as there is a listener.
    """
    if last_event_id == END:
        return EventStream(None)
    tail = Tail(Path(directory), Place.parse(last_event_id))
    return EventStream(partial(_send_jobs, client, tail, ended))


async def _until_its_end(source: Callable[[Sink], Awaitable[None]], sink: Sink) -> None:
    async with sink:
        try:
            await source(sink)
        except anyio.BrokenResourceError:  # the listener has disconnected
            return


async def _next(events: MemoryObjectReceiveStream[Event]) -> bytes | None:
    """Return the next bytes to write; None after the last event."""
    with anyio.move_on_after(KEEP_ALIVE):
        try:
            return (await events.receive()).encode()
        except anyio.EndOfStream:
            return None
    return COMMENT


async def _send_tasks(
    client: SeedanceClient, ids: tuple[str, ...], before: frozenset[str], sink: Sink
) -> None:
    known = [each for each in ids if each in before]
    is_closed = False

    async def send(task_id: str) -> None:
        nonlocal is_closed
        try:
            name, data = "task", (await client.wait(task_id)).to_dict()
        except ClientStateError:
            is_closed = True
            return
        except SeedanceError as error:
            name, data = "problem", {**problem_of(error).document, "task_id": task_id}
        known.append(task_id)
        await sink.send(Event(name=name, data=data, id=",".join(known)))

    async with anyio.create_task_group() as waiters:
        for task_id in ids:
            if task_id not in before:
                waiters.start_soon(send, task_id)
    if not is_closed:
        await sink.send(Event(name=END, data={"tasks": len(ids)}))


async def _send_jobs(client: SeedanceClient, tail: Tail, ended: anyio.Event | None, sink: Sink) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(_cancel_when_closed, client, group.cancel_scope)
        while True:
            is_over = (
                ended is not None and ended.is_set()
            )  # before reading: the lines of a batch that ends later are read next time
            lines = await to_thread.run_sync(tail.read)
            for line in lines or ():
                await sink.send(Event(name="job", data=line.facts, id=str(line.place)))
            if lines is None and is_over:
                break
            if lines is None:
                await _wait(ended)
        await sink.send(Event(name=END, data={}, id=END))
        group.cancel_scope.cancel()


async def _wait(ended: anyio.Event | None) -> None:
    with anyio.move_on_after(READ_INTERVAL):
        await (anyio.sleep_forever() if ended is None else ended.wait())


async def _cancel_when_closed(client: SeedanceClient, scope: anyio.CancelScope) -> None:
    with suppress(ClientStateError):
        await client.running_engine().end()
    scope.cancel()


def _is_plain(task_id: object) -> bool:
    """Whether an id can be in a header, in a list with others."""
    return (
        isinstance(task_id, str)
        and 0 < len(task_id) <= MOST_ID
        and task_id.isascii()
        and task_id.isprintable()
        and not {",", " "} & set(task_id)
    )

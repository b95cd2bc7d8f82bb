"""A small studio in the browser: compose, submit, watch the cards fill in, play.

seedance sandbox --speed 20 -- python examples/fastapi_studio/studio.py     # then: http://127.0.0.1:8000

README.md, next to this file, says what is where.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import anyio
import uvicorn
from anyio import to_thread
from anyio.abc import TaskGroup
from fastapi import Body, Depends, FastAPI, Header, Request
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import FileResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from pydantic import TypeAdapter

from seedance_async import (
    ClientEvent,
    ClientStateError,
    SeedanceClient,
    SeedanceError,
    TaskFailedError,
    TaskFinished,
    UncertainSubmissionError,
    lint_prompt,
)
from seedance_async.integrations.events import Event, Sink
from seedance_async.integrations.fastapi import (
    AnyRequest,
    EventResponse,
    EventStream,
    LastEventId,
    error_handlers,
    error_responses,
    lifespan_with,
)
from seedance_async.prompts import Finding, Level

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
DIRECTORY = Path(os.environ.get("STUDIO_DIRECTORY", "studio")).resolve()
HOSTS = ["127.0.0.1", "localhost", *os.environ.get("STUDIO_HOSTS", "").split()]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Cards:
    """The cards on disk, so that neither a crash nor a reload loses one.

    ``changed`` grows with every change of any card: it is the id of the page's events.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._transaction() as db:
            db.execute(
                "CREATE TABLE IF NOT EXISTS cards (key TEXT PRIMARY KEY, request TEXT NOT NULL, "
                "state TEXT NOT NULL, facts TEXT NOT NULL, changed INTEGER NOT NULL UNIQUE)"
            )

    def add(self, key: str, request: AnyRequest) -> bool:
        """Write down what is about to be asked for; False where it is there already."""
        fields = json.dumps({"model": request.model, **request.to_dict()})
        facts = json.dumps({"asked_at": time.time()})
        with self._transaction() as db:
            insert = f"INSERT OR IGNORE INTO cards VALUES (?, ?, ?, ?, {NEXT})"  # noqa: S608 - a constant
            return db.execute(insert, (key, fields, SENDING, facts)).rowcount == 1

    def set(self, key: str, state: str, **facts: object) -> None:
        """Change a card's state, and add facts."""
        with self._transaction() as db:
            (before,) = db.execute("SELECT facts FROM cards WHERE key = ?", (key,)).fetchone()
            update = f"UPDATE cards SET state = ?, facts = ?, changed = {NEXT} WHERE key = ?"  # noqa: S608
            db.execute(update, (state, json.dumps({**json.loads(before), **facts}), key))

    def expire(self) -> None:
        """Give up what is unanswered for so long that, sent again, it might be paid a second time."""
        for card in self.since(0):
            is_unanswered = card["state"] in {SENDING, OPEN} and "task_ids" not in card
            if is_unanswered and time.time() - card["asked_at"] > KEY_TRUSTED:
                self.set(card["key"], FAILED, reason="left unanswered: look for it in your account")

    def reopen(self, key: str) -> dict[str, Any] | None:
        """Let a card that is open go on; None for any other."""
        with self._transaction() as db:
            update = f"UPDATE cards SET state = ?, changed = {NEXT} WHERE key = ? AND state = ?"  # noqa: S608
            if not db.execute(update, (SENDING, key, OPEN)).rowcount:
                return None
        return next(card for card in self.since(0) if card["key"] == key)

    def since(self, changed: int) -> list[dict[str, Any]]:
        """The cards that have changed since, as the page takes them."""
        with self._transaction() as db:
            rows = db.execute("SELECT * FROM cards WHERE changed > ? ORDER BY changed", (changed,)).fetchall()
        return [
            {**json.loads(facts), "key": key, "request": json.loads(request), "state": state, "changed": now}
            for key, request, state, facts, now in rows
        ]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path)) as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection


SENDING, RUNNING, DONE, FAILED = "sending", "running", "done", "failed"
OPEN = "open"
"""It may be paid, and is not collected: the same key collects it."""

NEXT = "(SELECT COALESCE(MAX(changed), 0) + 1 FROM cards)"
KEY_TRUSTED = 20 * 3600.0
"""Seconds for which the server is taken to remember an idempotency key."""


class Studio:
    """Takes every card from its submit to its files, whether anybody looks at the page or not."""

    def __init__(self, client: SeedanceClient, cards: Cards, group: TaskGroup) -> None:
        self.client = client
        self.cards = cards
        self._group = group
        self._changed = anyio.Event()

    async def add(self, key: str, request: AnyRequest) -> None:
        """Begin a card, or go on with one that is open; under the same key, nothing is paid twice."""
        card = None
        if await to_thread.run_sync(self.cards.add, key, request):
            self._group.start_soon(self._work, key, request, None)
        else:
            await to_thread.run_sync(self.cards.expire)
            card = await to_thread.run_sync(self.cards.reopen, key)
        if card is not None:
            self._group.start_soon(
                self._work, key, REQUEST.validate_python(card["request"]), card.get("task_ids")
            )
        self._tell()

    async def resume(self) -> None:
        """Go on with what an earlier process has left."""
        await to_thread.run_sync(self.cards.expire)
        for card in await to_thread.run_sync(self.cards.since, 0):
            if card["state"] in {SENDING, RUNNING}:
                request = REQUEST.validate_python(card["request"])
                self._group.start_soon(self._work, card["key"], request, card.get("task_ids"))

    async def events(self, last: int, sink: Sink) -> None:
        """Tell a page of the cards that have changed, and of the gauges, until the client is closed."""
        while True:
            changed = self._changed
            for card in await to_thread.run_sync(self.cards.since, last):
                last = card["changed"]
                await sink.send(Event(name="card", data=card, id=str(last)))
            try:
                await sink.send(Event(name="gauges", data=self.gauges()))
            except ClientStateError:
                return
            with anyio.move_on_after(1.0):
                await changed.wait()

    def gauges(self) -> dict[str, object]:
        """Credits and the request budget, as they are now."""
        usage, allowance = self.client.usage, self.client.allowance()
        return {
            "requests_free": allowance.unspent,
            "requests_most": allowance.requests,
            "period": allowance.period,
            "credits_spent": usage.credits_used - usage.credits_refunded,
            "balance": usage.balance,
        }

    def metrics(self) -> str:
        """The same for Prometheus."""
        usage = self.client.usage
        lines = [
            f'seedance_requests_total{{method="POST"}} {usage.submits}',
            f'seedance_requests_total{{method="GET"}} {usage.polls}',
            f"seedance_retries_total {usage.retries}",
            f"seedance_refusals_total {usage.refusals}",
            f"seedance_credits_used_total {usage.credits_used:g}",
            f"seedance_credits_refunded_total {usage.credits_refunded:g}",
            f"seedance_requests_free {self.client.allowance().unspent}",
            *(
                f'seedance_tasks_total{{model="{model}",status="{status}"}} {count}'
                for (model, status), count in FINISHED.items()
            ),
        ]
        return "\n".join(lines) + "\n"

    async def _work(self, key: str, request: AnyRequest, task_ids: list[str] | None) -> None:
        """Take one card as far as it goes. What the disk refuses leaves it as it is, for the next process."""
        try:
            await self._make(key, request, task_ids)
        except (sqlite3.Error, OSError):
            log.exception("the card %s is left as it is", key)

    async def _make(self, key: str, request: AnyRequest, task_ids: list[str] | None) -> None:
        """Submit, wait, download. A closed client leaves the card as it is, for the next process."""
        try:
            if task_ids is None:
                submission = await self.client.submit(request, idempotency_key=key)
                task_ids = list(submission.task_ids)
                expected = self.client.forecast(request).quantile(0.5)
                paid = submission.credits_used
                facts = {"task_ids": task_ids, "credits": paid, "expected": expected, "sent_at": time.time()}
                await self._set(key, RUNNING, **facts)
            await self._set(key, DONE, files=await self._files(task_ids))
        except ClientStateError:
            return
        except SeedanceError as error:
            is_paid = task_ids is not None or isinstance(error, UncertainSubmissionError)
            is_open = is_paid and not isinstance(error, TaskFailedError)
            await self._set(key, OPEN if is_open else FAILED, reason=error.message)

    async def _files(self, task_ids: list[str]) -> list[str]:
        """Save the files of all tasks that complete."""
        tasks = [await self.client.wait(task_id) for task_id in task_ids]
        completed = [task for task in tasks if task.is_completed]
        if not completed:
            raise TaskFailedError(tasks[0])
        saved = [await self.client.download(task, DIRECTORY / "files") for task in completed]
        return [path.name for paths in saved for path in paths]

    async def _set(self, key: str, state: str, **facts: object) -> None:
        await to_thread.run_sync(partial(self.cards.set, key, state, **facts))
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


@asynccontextmanager
async def studio_lifespan(app: FastAPI) -> AsyncIterator[dict[str, Studio]]:
    """Open the studio once the client is open."""
    async with anyio.create_task_group() as group:
        studio = Studio(app.state.seedance, Cards(DIRECTORY / "cards.sqlite"), group)
        await studio.resume()
        yield {"studio": studio}
        group.cancel_scope.cancel()


FINISHED: Counter[tuple[str, str]] = Counter()


def count(event: ClientEvent) -> None:
    """Count the tasks that have ended; a client calls it with every event."""
    if isinstance(event, TaskFinished):
        FINISHED[event.model, event.status] += 1


def get_studio(request: Request) -> Studio:
    """The studio of the application."""
    studio: Studio = request.state.studio
    return studio


OurStudio = Annotated[Studio, Depends(get_studio)]
REQUEST: TypeAdapter[AnyRequest] = TypeAdapter(AnyRequest)

(DIRECTORY / "files").mkdir(parents=True, exist_ok=True)
app = FastAPI(
    title="Studio",
    lifespan=lifespan_with(lambda: SeedanceClient(on_event=count), inner=studio_lifespan),
    exception_handlers=error_handlers,
    responses=error_responses,
)
app.add_middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)  # a foreign page's name for this machine
app.mount("/files", StaticFiles(directory=DIRECTORY / "files"))
app.mount("/static", StaticFiles(directory=HERE / "static"))


@app.get("/")
async def page() -> FileResponse:
    """The page; nothing of it comes from elsewhere."""
    return FileResponse(HERE / "page.html", headers={"Content-Security-Policy": POLICY})


@app.post("/lint")
def lint(request: Annotated[AnyRequest, Body()]) -> list[Finding]:
    """What the prompt guide says about what is being composed: its words, and its fields. Costs nothing."""
    return [finding for finding in lint_prompt(request) if finding.level is not Level.NOTE]


@app.post("/cards", status_code=202)
async def add(
    request: Annotated[AnyRequest, Body()],
    key: Annotated[str, Header(alias="Idempotency-Key", pattern="^[A-Za-z0-9-]{8,64}$")],
    studio: OurStudio,
) -> None:
    """Begin a card. The header is the page's own, so no foreign page can send it unasked."""
    await studio.add(key, request)


@app.get("/events")
async def events(studio: OurStudio, last: LastEventId = None) -> EventResponse:
    """Everything that the page shows, as it comes."""
    since = int(last) if last and last.isdecimal() else 0
    return EventResponse(EventStream(partial(studio.events, since)))


@app.get("/metrics")
async def metrics(studio: OurStudio) -> PlainTextResponse:
    """For Prometheus."""
    return PlainTextResponse(studio.metrics())


if __name__ == "__main__":
    # Longer than POSTs on the wire get for their answers; then listeners that do not read are dropped.
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")), timeout_graceful_shutdown=15)

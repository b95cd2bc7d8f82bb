"""The API's origin: HTTP in, the state's answer out, and every fault at its own place in between.

The way of one exchange, with the moments at which a fault can strike::

    latency -> arrival noted, counted -> [before] -> work done -> [after] -> latency -> answer written

Time is the running loop's, so that the whole emulator also runs on a loop whose hours pass in milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
from aiohttp import web
from attrs import evolve

from seedance_async.sandbox import admin
from seedance_async.sandbox.delivery import changed, deliver
from seedance_async.sandbox.exchange import BASE_PATH, Answer, Call, Endpoint, Record, fingerprint, refusal
from seedance_async.sandbox.state import SUBMIT_PATHS, TASKS_PATH, Admission

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from seedance_async.sandbox.faults import Fault, Moment
    from seedance_async.sandbox.world import World


class ApiServer:
    """Answers what arrives at the API's port."""

    def __init__(self, world: Callable[[], World], *, reset: Callable[[], None]) -> None:
        """``world()`` is the world of now; ``reset()`` puts a fresh one in its place."""
        self._world = world
        self._reset = reset

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one HTTP request."""
        if request.path.startswith(admin.PREFIX):
            return await admin.handle(request, self._world(), reset=self._reset)
        world = self._world()
        await world.latency()
        call = _read_call(request, await _read_body(request), number=world.recorder.next_number)
        faults = world.faults.strike(call, now=anyio.current_time(), prompt=world.prompt_behind(call))
        admission = self._arrive(world, call, faults)
        if any(fault.effect == "duplicate" for fault in faults):
            return await self._twice(request, world, admission, faults)
        return await self._exchange(request, world, admission, faults)

    async def _exchange(
        self, request: web.BaseRequest, world: World, admission: Admission, faults: tuple[Fault, ...]
    ) -> web.StreamResponse:
        number = admission.call.number
        try:
            answer = await self._answer(world, admission, faults, request.headers)
            await world.latency()
            date = world.state.calendar.http_date(anyio.current_time())
            return await deliver(request, answer, date=date, faults=faults)
        finally:
            world.state.written(admission)
            world.recorder.close(number, at=anyio.current_time())

    async def _twice(
        self, request: web.BaseRequest, world: World, first: Admission, faults: tuple[Fault, ...]
    ) -> web.StreamResponse:
        """The same bytes again while the first delivery is being worked on; its answer is lost."""
        await self._answer(world, first, (), request.headers)
        call = evolve(first.call, number=world.recorder.next_number)
        try:
            return await self._exchange(request, world, self._arrive(world, call, faults), faults)
        finally:
            world.state.written(first)
            world.recorder.close(first.call.number, at=anyio.current_time())

    def _arrive(self, world: World, call: Call, faults: Iterable[Fault]) -> Admission:
        now = anyio.current_time()
        admission = world.state.admit(call, now)
        world.recorder.note(_record(admission, at=now, faults=faults))
        return admission

    async def _answer(
        self, world: World, admission: Admission, faults: tuple[Fault, ...], asked: Mapping[str, str]
    ) -> Answer:
        await _delay(faults, "before")
        if any(fault.prevents for fault in faults):
            answer = _NOTHING_DONE
        else:
            answer = world.state.process(admission, anyio.current_time())
            world.remember(admission.call, answer)
            await _delay(faults, "after")
        said = changed(answer, faults, asked)
        if said is not answer:
            said = evolve(said, task_ids=answer.task_ids)
        if any(fault.effect == "status" for fault in faults):
            world.state.replace(admission, said, anyio.current_time())
        if said is not _NOTHING_DONE:
            world.recorder.answered(admission.call.number, said)
        return said


async def _delay(faults: Iterable[Fault], moment: Moment) -> None:
    """Let the moment's delays pass."""
    for fault in faults:
        if fault.moment == moment and fault.effect == "delay":
            await anyio.sleep(fault.seconds)


async def _read_body(request: web.BaseRequest) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        return b""  # past a megabyte it is no body of this API, and is refused as one that cannot be read


def _read_call(request: web.BaseRequest, body: bytes, *, number: int) -> Call:
    path = request.rel_url.raw_path.removeprefix(BASE_PATH)
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return Call(
        number=number,
        endpoint=_endpoint(request.method, request.rel_url.raw_path),
        method=request.method,
        path=path,
        key=fingerprint(key.strip()) if scheme.lower() == "bearer" and key.strip() else None,
        idempotency_key=request.headers.get("Idempotency-Key") or None,
        content_type=request.content_type,
        body=body,
    )


def _endpoint(method: str, raw_path: str) -> Endpoint:
    path = raw_path.removeprefix(BASE_PATH)
    if path == raw_path:
        return "other"
    if method == "POST" and path in SUBMIT_PATHS:
        return "submit"
    one_task = path.startswith(TASKS_PATH) and "/" not in path.removeprefix(TASKS_PATH)
    return "task" if method == "GET" and one_task else "other"


def _record(admission: Admission, *, at: float, faults: Iterable[Fault]) -> Record:
    call = admission.call
    return Record(
        number=call.number,
        at=at,
        endpoint=call.endpoint,
        method=call.method,
        path=call.path,
        account=admission.account,
        key=call.key,
        idempotency_key=call.idempotency_key,
        body=call.body,
        admitted=admission.refusal is None or not admission.refusal.over_limit,
        fault=",".join(fault.effect for fault in faults),
    )


_NOTHING_DONE: Final = refusal("service_busy", "Nothing was done")

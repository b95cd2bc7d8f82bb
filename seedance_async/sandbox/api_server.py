"""The API server: it answers HTTP requests with the state's replies, and applies each fault at its moment.

The steps of one exchange, with the moments at which a fault can be applied::

    latency -> arrival noted, counted -> [before] -> work done -> [after] -> latency -> reply written

Time is that of the event loop, so that the whole emulator also runs in virtual time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
from aiohttp import web
from anyio import to_thread
from attrs import evolve

from seedance_async.sandbox import admin
from seedance_async.sandbox.calls import BASE_PATH, Call, Endpoint, Record, Reply, fingerprint, refusal
from seedance_async.sandbox.delivery import apply_reply_effects, deliver
from seedance_async.sandbox.inputs import local_urls
from seedance_async.sandbox.local_media import look
from seedance_async.sandbox.state import SUBMIT_PATHS, TASKS_PATH, Admission

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from seedance_async.sandbox.faults import Fault, FaultMoment
    from seedance_async.sandbox.runtime import Emulator, Runtime


class ApiServer:
    """The request handler of the API's origin."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one HTTP request."""
        if request.path.startswith(admin.PREFIX):
            return await admin.handle(request, self._emulator)
        runtime = self._emulator.runtime
        await runtime.wait_latency()
        body = await _read_body(request)
        local = await _look_at_local_media(body, runtime.state.signer.media_url)
        call = _read_call(request, body, number=runtime.recorder.next_number, local_media=local)
        faults = runtime.faults.triggered_by(call, now=anyio.current_time(), prompt=runtime.prompt_of(call))
        admission = self._arrive(runtime, call, faults)
        if any(fault.effect == "duplicate" for fault in faults):
            return await self._deliver_duplicate(request, runtime, admission, faults)
        return await self._exchange(request, runtime, admission, faults)

    async def _exchange(
        self, request: web.BaseRequest, runtime: Runtime, admission: Admission, faults: tuple[Fault, ...]
    ) -> web.StreamResponse:
        number = admission.call.number
        try:
            reply = await self._decide(runtime, admission, faults, request.headers)
            await runtime.wait_latency()
            date = runtime.state.calendar.http_date(anyio.current_time())
            return await deliver(request, reply, date=date, faults=faults)
        finally:
            runtime.state.finish(admission)
            runtime.recorder.set_answered(number, at=anyio.current_time())

    async def _deliver_duplicate(
        self, request: web.BaseRequest, runtime: Runtime, first: Admission, faults: tuple[Fault, ...]
    ) -> web.StreamResponse:
        """Process the same request a second time before the first is answered; the first reply is lost."""
        await self._decide(runtime, first, (), request.headers)
        call = evolve(first.call, number=runtime.recorder.next_number)
        try:
            return await self._exchange(request, runtime, self._arrive(runtime, call, faults), faults)
        finally:
            runtime.state.finish(first)
            runtime.recorder.set_answered(first.call.number, at=anyio.current_time())

    def _arrive(self, runtime: Runtime, call: Call, faults: Iterable[Fault]) -> Admission:
        now = anyio.current_time()
        admission = runtime.state.admit(call, now)
        runtime.recorder.put(_record(admission, at=now, faults=faults))
        return admission

    async def _decide(
        self,
        runtime: Runtime,
        admission: Admission,
        faults: tuple[Fault, ...],
        request_headers: Mapping[str, str],
    ) -> Reply:
        await _delay(faults, "before")
        if any(fault.prevents for fault in faults):
            reply = _NOT_PROCESSED
        else:
            reply = runtime.state.process(admission, anyio.current_time())
            runtime.persist(admission.call, reply)
            await _delay(faults, "after")
        changed = apply_reply_effects(reply, faults, request_headers)
        if changed is not reply:
            changed = evolve(changed, task_ids=reply.task_ids)
        if any(fault.effect == "status" for fault in faults):
            runtime.state.store_reply(admission, changed, anyio.current_time())
        if changed is not _NOT_PROCESSED:
            runtime.recorder.set_reply(admission.call.number, changed)
        return changed


async def _delay(faults: Iterable[Fault], moment: FaultMoment) -> None:
    """Wait for the delays of this moment."""
    for fault in faults:
        if fault.moment == moment and fault.effect == "delay":
            await anyio.sleep(fault.seconds)


async def _read_body(request: web.BaseRequest) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        return b""  # above a megabyte; refused as a body that is not JSON


async def _look_at_local_media(body: bytes, media_url: str) -> Mapping[str, str]:
    urls = local_urls(body, media_url=media_url)
    return await to_thread.run_sync(look, urls) if urls else {}


def _read_call(request: web.BaseRequest, body: bytes, *, number: int, local_media: Mapping[str, str]) -> Call:
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
        local_media=local_media,
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


_NOT_PROCESSED: Final = refusal("service_busy", "Nothing was done")

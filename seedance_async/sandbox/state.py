"""The state of the emulated service: accounts, keys, windows, credits and tasks, and the reply to each call.

A submit passes these steps, and the switches U1 to U7 move the checks around the idempotency layer::

    checks named in ``before_key``  ->  idempotency layer  ->  the other checks  ->  charge, accept, remember

A poll passes ``auth`` and ``limit`` only. The first half, :meth:`ServiceState.admit`, is a separate step, so
that a fault can be applied after a request was counted and before any work was done for it.

It changes only its own state: the clock is the argument ``now``, in seconds, which must not decrease, and
random numbers come from the seed. It is written from the vendor's documentation and shares no code with the
client.
"""

from __future__ import annotations

from heapq import heappop, heappush
from random import Random
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from seedance_async.sandbox.calls import Call, Reply, fingerprint, json_bytes, refusal
from seedance_async.sandbox.directives import BATCH_FAILED_DIRECTIVE, FAIL_DIRECTIVE
from seedance_async.sandbox.idempotency import KeyStore
from seedance_async.sandbox.inputs import local_urls, media_of, refusal_reason
from seedance_async.sandbox.ledger import Ledger
from seedance_async.sandbox.options import CHECKS, AccountSpec, Behaviour, Conditions, SubmitCheck
from seedance_async.sandbox.tasks import ID_PREFIX, Calendar, Task, submission_document, task_document
from seedance_async.sandbox.validation import TABLES, GenerationRequest, InvalidBodyError, parse_request
from seedance_async.sandbox.windows import RateWindow, open_window, retry_after

if TYPE_CHECKING:
    from collections.abc import Iterable

    from seedance_async.sandbox.signed_urls import UrlSigner


@frozen
class Admission:
    """A call that was counted and checked, before any work is done for it.

    Attributes:
        account: owner of the key; None if the key is unknown.
        request: the valid body of a submit, or the reply that refuses it; None for a poll.
        refusal: the reply, if the call is already refused.
    """

    call: Call
    account: str | None
    request: GenerationRequest | Reply | None = None
    refusal: Reply | None = None


class ServiceState:
    """One emulated service, from its start to its reset."""

    def __init__(
        self,
        *,
        behaviour: Behaviour,
        conditions: Conditions,
        accounts: Iterable[AccountSpec],
        calendar: Calendar,
        signer: UrlSigner,
    ) -> None:
        self.behaviour = behaviour
        self.conditions = conditions
        self.calendar = calendar
        self.signer = signer
        self.ledger: Ledger = Ledger()
        self.tasks: dict[str, Task] = {}
        self.revoked: set[str] = set()
        self._now = calendar.started_at
        self._owners: dict[str, str] = {}
        self._windows: dict[str, RateWindow] = {}
        self._reference_windows: dict[str, RateWindow] = {}
        self._due_refunds: list[tuple[float, str]] = []  # a heap: when each failing task fails
        self._ids, self._durations, self._outcomes = (
            Random(f"{conditions.seed}/{stream}") for stream in ("ids", "durations", "fates")
        )
        key_life = conditions.real(behaviour.key_life)
        self._keys = KeyStore(behaviour, key_life=key_life, tasks=self.tasks)
        for spec in accounts:
            self._open_account(spec)

    # --- what the server calls, in this order

    def admit(self, call: Call, now: float) -> Admission:
        """Find the account, and run the checks that come before any work."""
        self.settle(now)
        account = self._owners.get(call.key or "")
        if call.endpoint == "other":
            return Admission(call, account, refusal=_no_route(call))
        if account is None:
            return Admission(call, None, refusal=_unauthorized("Missing or invalid API key"))
        admission = Admission(call, account, self._read(call) if call.endpoint == "submit" else None)
        return evolve(
            admission, refusal=self._first_refusal(self._checks_before_key(call), admission, account)
        )

    def process(self, admission: Admission, now: float) -> Reply:
        """Do the work of a call unless it was refused, and return the reply."""
        self.settle(now)
        if admission.refusal or admission.account is None:
            return admission.refusal or _unauthorized("Missing or invalid API key")
        work = self._poll if admission.call.endpoint == "task" else self._submit
        return work(admission, admission.account)

    def store_reply(self, admission: Admission, reply: Reply, now: float) -> None:
        """Store the reply of a fault under the call's key, if replies of its class are stored (U3)."""
        self.settle(now)
        if admission.account is not None:
            self._keys.store(admission.call, admission.account, reply, now)

    def finish(self, admission: Admission) -> None:
        """Note that the exchange has ended, so that its key no longer counts as running."""
        if admission.account is not None:
            self._keys.finish(admission.call, admission.account)

    def restore_submit(self, call: Call, at: float) -> None:
        """Accept a submit that an earlier process accepted at this instant; the rate limit is not checked."""
        self.settle(at)
        account = self._owners.get(call.key or "")
        if account is not None:
            urls = local_urls(call.body, media_url=self.signer.media_url)
            call = evolve(call, local_media=dict.fromkeys(urls, ""))  # they were checked when it was accepted
            self._submit(Admission(call, account, self._read(call)), account)
            self._keys.finish(call, account)

    # --- what the operator calls

    def settle(self, now: float) -> None:
        """Advance the time to ``now``, and refund the tasks that have failed, in the order of failure."""
        self._now = now
        while self._due_refunds and self._due_refunds[0][0] <= now:
            self.ledger.refund(self.tasks[heappop(self._due_refunds)[1]])

    def top_up(self, account: str, amount: int, now: float) -> None:
        """Add credits to an account.

        Raises:
            KeyError: there is no such account.
            ValueError: the amount is negative.
        """
        if account not in self._windows:
            raise KeyError(account)
        self.settle(now)
        self.ledger.top_up(account, amount, at=now)

    def revoke(self, key: str) -> None:
        """Refuse an API key from now on."""
        self.revoked.add(fingerprint(key))

    @property
    def accounts(self) -> tuple[str, ...]:
        """Names of the accounts, in the order in which they were opened."""
        return tuple(self._windows)

    # --- the checks

    def _checks_before_key(self, call: Call) -> tuple[SubmitCheck, ...]:
        if call.endpoint == "task":
            return ("auth", "limit") if self.behaviour.gets_count else ("auth",)
        return tuple(check for check in CHECKS if check in self.behaviour.before_key)

    def _first_refusal(
        self, checks: Iterable[SubmitCheck], admission: Admission, account: str
    ) -> Reply | None:
        answers = (self._check(check, admission, account) for check in checks)
        return next((reply for reply in answers if reply), None)

    def _check(self, check: SubmitCheck, admission: Admission, account: str) -> Reply | None:
        request = admission.request
        match check:
            case "auth":
                revoked = admission.call.key in self.revoked
                return _unauthorized("API key was revoked") if revoked else None
            case "limit":
                return self._limit(account)
            case "validation":
                return request if isinstance(request, Reply) else None
            case "balance":
                return self._balance(request, account) if isinstance(request, GenerationRequest) else None

    def _limit(self, account: str) -> Reply | None:
        wait = self._windows[account].admit(self._now)
        if wait is None:
            return None
        limit = f"{self.conditions.requests} requests per {self.conditions.period:g} seconds"
        reply = refusal("rate_limited", f"Too many requests: the limit is {limit} per account")
        header = {"Retry-After": retry_after(wait, self.behaviour.retry_after)}
        return evolve(reply, headers=header, over_limit=True)

    def _balance(self, request: GenerationRequest, account: str) -> Reply | None:
        required = self.conditions.price(request) * request.batch_count
        available = self.ledger.balance(account)
        if required <= available:
            return None
        message = f"Not enough credits: {required} required, {available} available"
        return refusal(
            "insufficient_credits", message, required_credits=required, available_credits=available
        )

    # --- the work of submits and polls

    def _submit(self, admission: Admission, account: str) -> Reply:
        call, request = admission.call, admission.request
        if (known := self._keys.find_reply(call, account, self._now)) is not None:
            return known
        # The balance is checked again: since the call was admitted, another one may have spent it.
        early = set(self._checks_before_key(call)) - {"balance"}
        late: list[SubmitCheck] = [check for check in CHECKS if check not in early]
        refused = (
            self._first_refusal(late, admission, account) or self._media(request, account) or self._busy()
        )
        reply = refused or self._accept(request, call, account)
        self._keys.store(call, account, reply, self._now)
        return reply

    def _media(self, request: GenerationRequest | Reply | None, account: str) -> Reply | None:
        """Check the input media of a request, which counts in the account's limit of such checks."""
        if not isinstance(request, GenerationRequest) or not any(media_of(request.fields)):
            return None
        window = self._reference_windows.get(account)
        if window is not None and window.admit(self._now) is not None:
            return refusal("rate_limited", "Too many reference media to validate")
        reason = refusal_reason(request, signer=self.signer, tasks=self.tasks, now=self._now)
        return refusal("invalid_request", reason) if reason else None

    def _busy(self) -> Reply | None:
        most = self.conditions.busy_above
        if most is None or sum(task.ends_at > self._now for task in self.tasks.values()) < most:
            return None
        return refusal("service_busy", "All workers are busy, try again later")

    def _accept(self, request: GenerationRequest | Reply | None, call: Call, account: str) -> Reply:
        if not isinstance(request, GenerationRequest):
            raise TypeError("the validation, early or late, refuses an invalid request")
        refused = min(_refused_of_batch(request), request.batch_count - 1)
        tasks = tuple(self._create(request, call, account) for _ in range(request.batch_count - refused))
        document = submission_document(
            tasks,
            request_id=f"kie_{self._random_id()}",
            remaining=self.ledger.balance(account),
            refused=refused,
        )
        return Reply(status=202, body=json_bytes(document), task_ids=tuple(task.id for task in tasks))

    def _create(self, request: GenerationRequest, call: Call, account: str) -> Task:
        duration = self.conditions.duration(request, self._durations)
        fails = self._outcomes.random() < self.conditions.failure_rate or FAIL_DIRECTIVE in request.prompt
        seed = request.fields.get("seed")
        task = Task(
            id=ID_PREFIX[request.model] + self._random_id(),
            account=account,
            request=request,
            credits=self.conditions.price(request),
            accepted_at=self._now,
            ends_at=self._now + self.conditions.real(duration),
            outcome="failed" if fails else "completed",
            seed=seed if isinstance(seed, int) and seed >= 0 else self._ids.getrandbits(32),
            idempotency_key=call.idempotency_key,
            call=call.number,
        )
        self.tasks[task.id] = task
        self.ledger.charge(task)
        if fails:
            heappush(self._due_refunds, (task.ends_at, task.id))
        return task

    def _poll(self, admission: Admission, account: str) -> Reply:
        task = self.tasks.get(admission.call.path.removeprefix(TASKS_PATH))
        if task is None or task.account != account:
            return refusal("not_found", "Task does not exist or does not belong to this key owner")
        document = task_document(task, self._now, calendar=self.calendar, signer=self.signer)
        return Reply(status=200, body=json_bytes(document), task_ids=(task.id,))

    def _open_account(self, spec: AccountSpec) -> None:
        self._owners |= {fingerprint(key): spec.name for key in spec.keys}
        self._windows[spec.name] = self._open_window(self.conditions.requests)
        if self.conditions.reference_checks is not None:
            self._reference_windows[spec.name] = self._open_window(self.conditions.reference_checks)
        self.ledger.top_up(spec.name, spec.credits, at=self._now)

    def _open_window(self, requests: int) -> RateWindow:
        return open_window(
            self.behaviour.window,
            requests=requests,
            period=self.conditions.real(self.conditions.period),
            origin=self.calendar.started_at + self.conditions.real(self.behaviour.window_phase),
            refused_count=self.behaviour.refused_count,
        )

    def _read(self, call: Call) -> GenerationRequest | Reply:
        if call.content_type != "application/json":
            return refusal("invalid_request", "Content-Type must be application/json")
        try:
            return parse_request(
                call.path, call.body, media_url=self.signer.media_url, local_media=call.local_media
            )
        except InvalidBodyError as error:
            seen = next(filter(None, call.local_media.values()), "")
            return refusal("invalid_request", f"{error} ({seen})" if seen else str(error))

    def _random_id(self) -> str:
        return "".join(self._ids.choices(_ID_ALPHABET, k=16))


def _no_route(call: Call) -> Reply:
    if call.path in SUBMIT_PATHS or call.path.startswith(TASKS_PATH):
        reply = refusal("invalid_request", f"Method {call.method} is not allowed here")
        return evolve(reply, status=405, headers={"Allow": "POST" if call.path in SUBMIT_PATHS else "GET"})
    return refusal("not_found", "No such endpoint")


def _unauthorized(message: str) -> Reply:
    return refusal("unauthorized", message)


def _refused_of_batch(request: GenerationRequest) -> int:
    """How many images of a batch are not accepted, by ``[[sandbox:batch-failed=2]]`` in the prompt."""
    directive = BATCH_FAILED_DIRECTIVE.search(request.prompt)
    return int(directive[1]) if directive else 0


SUBMIT_PATHS: Final = frozenset(TABLES)
TASKS_PATH: Final = "/tasks/"
_ID_ALPHABET: Final = "abcdefghijkmnpqrstuvwxyz23456789"

"""The emulator's mind: accounts, keys, windows, credits and tasks, and what each call is answered.

A submit passes these steps, and the switches U1 to U7 move the checks around the idempotency layer::

    checks named in ``before_key``  ->  idempotency layer  ->  the other checks  ->  charge, accept, remember

A poll passes ``auth`` and ``limit`` only. The first half of the way, :meth:`State.admit`, is a step of its
own so that a fault can strike after a request was counted and before any work was done for it.

Pure but for its own memory: the clock comes in as ``now``, in seconds, and must not run backwards; chance
comes from the seed. Written from the vendor's documents; it shares no code with the client.
"""

from __future__ import annotations

from heapq import heappop, heappush
from random import Random
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from seedance_async.sandbox.exchange import Answer, Call, fingerprint, json_bytes, refusal
from seedance_async.sandbox.idempotency import KeyStore
from seedance_async.sandbox.ledger import Ledger
from seedance_async.sandbox.magic import BATCH_WORD, FAIL_WORD
from seedance_async.sandbox.options import CHECKS, AccountSpec, Behaviour, Check, Conditions
from seedance_async.sandbox.tasks import PREFIX, Calendar, Task, submission_document, task_document
from seedance_async.sandbox.validation import TABLES, Order, RefusedError, read_order
from seedance_async.sandbox.windows import Window, open_window, retry_after

if TYPE_CHECKING:
    from collections.abc import Iterable

    from seedance_async.sandbox.outputs import Links


@frozen
class Admission:
    """A call that was counted and looked at, before any work is done for it.

    Attributes:
        account: whose it is; None if the key is unknown.
        order: what a submit asks for, or why its body is refused; None for a poll.
        refusal: the answer, if that is the end of it already.
    """

    call: Call
    account: str | None
    order: Order | Answer | None = None
    refusal: Answer | None = None


class State:
    """One emulated service, from its start to its reset."""

    def __init__(
        self,
        *,
        behaviour: Behaviour,
        conditions: Conditions,
        accounts: Iterable[AccountSpec],
        calendar: Calendar,
        links: Links,
    ) -> None:
        self.behaviour = behaviour
        self.conditions = conditions
        self.calendar = calendar
        self.links = links
        self.ledger: Ledger = Ledger()
        self.tasks: dict[str, Task] = {}
        self.revoked: set[str] = set()
        self._now = calendar.started_at
        self._owners: dict[str, str] = {}
        self._windows: dict[str, Window] = {}
        self._doomed: list[tuple[float, str]] = []  # tasks that will fail, by the instant of it
        self._ids, self._durations, self._fates = (
            Random(f"{conditions.seed}/{what}") for what in ("ids", "durations", "fates")
        )
        self._keys = KeyStore(
            behaviour,
            key_life=conditions.real(behaviour.key_life),
            is_final=lambda task_id: self.tasks[task_id].status(self._now) != "processing",
        )
        for spec in accounts:
            self._open(spec)

    # --- what the server calls, in this order

    def admit(self, call: Call, now: float) -> Admission:
        """Find the account and run the checks that come before any work."""
        self.settle(now)
        account = self._owners.get(call.key or "")
        if call.endpoint == "other":
            return Admission(call, account, refusal=_no_route(call))
        if account is None:
            return Admission(call, None, refusal=_unauthorized("Missing or invalid API key"))
        admission = Admission(call, account, _read(call) if call.endpoint == "submit" else None)
        return evolve(admission, refusal=self._first_refusal(self._early(call), admission, account))

    def process(self, admission: Admission, now: float) -> Answer:
        """Answer a call, doing its work if it was not refused."""
        self.settle(now)
        if admission.refusal or admission.account is None:
            return admission.refusal or _unauthorized("Missing or invalid API key")
        work = self._show if admission.call.endpoint == "task" else self._submit
        return work(admission, admission.account)

    def replace(self, admission: Admission, answer: Answer, now: float) -> None:
        """A fault answers in the place of the state: remember its answer if that class is remembered (U3)."""
        self.settle(now)
        if admission.account is not None:
            self._keys.keep(admission.call, admission.account, answer, now)

    def written(self, admission: Admission) -> None:
        """The exchange is over; its key no longer counts as running."""
        if admission.account is not None:
            self._keys.written(admission.call, admission.account)

    def replay(self, call: Call, at: float) -> None:
        """Accept a submit that was accepted at this instant in an earlier life; the window is not asked."""
        self.settle(at)
        account = self._owners.get(call.key or "")
        if account is not None:
            self._submit(Admission(call, account, _read(call)), account)
            self._keys.written(call, account)

    # --- what an operator does

    def settle(self, now: float) -> None:
        """Let time pass up to ``now``: refund what has failed, in the order in which it failed."""
        self._now = now
        while self._doomed and self._doomed[0][0] <= now:
            self.ledger.refund(self.tasks[heappop(self._doomed)[1]])

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
        """Let an API key be refused from now on."""
        self.revoked.add(fingerprint(key))

    @property
    def accounts(self) -> tuple[str, ...]:
        """Names of the accounts, in the order in which they were opened."""
        return tuple(self._windows)

    # --- the checks

    def _early(self, call: Call) -> tuple[Check, ...]:
        if call.endpoint == "task":
            return ("auth", "limit") if self.behaviour.gets_count else ("auth",)
        return tuple(check for check in CHECKS if check in self.behaviour.before_key)

    def _first_refusal(self, checks: Iterable[Check], admission: Admission, account: str) -> Answer | None:
        answers = (self._check(check, admission, account) for check in checks)
        return next((answer for answer in answers if answer), None)

    def _check(self, check: Check, admission: Admission, account: str) -> Answer | None:
        order = admission.order
        match check:
            case "auth":
                revoked = admission.call.key in self.revoked
                return _unauthorized("API key was revoked") if revoked else None
            case "limit":
                return self._limit(account)
            case "validation":
                return order if isinstance(order, Answer) else None
            case "balance":
                return self._balance(order, account) if isinstance(order, Order) else None

    def _limit(self, account: str) -> Answer | None:
        wait = self._windows[account].admit(self._now)
        if wait is None:
            return None
        limit = f"{self.conditions.requests} requests per {self.conditions.period:g} seconds"
        answer = refusal("rate_limited", f"Too many requests: the limit is {limit} per account")
        header = {"Retry-After": retry_after(wait, self.behaviour.retry_after)}
        return evolve(answer, headers=header, over_limit=True)

    def _balance(self, order: Order, account: str) -> Answer | None:
        required = self.conditions.price(order) * order.batch_count
        available = self.ledger.balance(account)
        if required <= available:
            return None
        message = f"Not enough credits: {required} required, {available} available"
        return refusal(
            "insufficient_credits", message, required_credits=required, available_credits=available
        )

    # --- the work

    def _submit(self, admission: Admission, account: str) -> Answer:
        call, order = admission.call, admission.order
        if (known := self._keys.look(call, account, self._now)) is not None:
            return known
        # The balance is looked at again: since the call was admitted, another one may have spent it.
        early = set(self._early(call)) - {"balance"}
        late: list[Check] = [check for check in CHECKS if check not in early]
        refused = self._first_refusal(late, admission, account) or self._busy()
        answer = refused or self._accept(order, call, account)
        self._keys.keep(call, account, answer, self._now)
        return answer

    def _busy(self) -> Answer | None:
        most = self.conditions.busy_above
        if most is None or sum(task.ends_at > self._now for task in self.tasks.values()) < most:
            return None
        return refusal("service_busy", "All workers are busy, try again later")

    def _accept(self, order: Order | Answer | None, call: Call, account: str) -> Answer:
        if not isinstance(order, Order):
            raise TypeError("validation, early or late, refuses what is no order")
        refused = min(_refused_of_batch(order), order.batch_count - 1)
        tasks = tuple(self._create(order, call, account) for _ in range(order.batch_count - refused))
        document = submission_document(
            tasks,
            request_id=f"kie_{self._word()}",
            remaining=self.ledger.balance(account),
            refused=refused,
        )
        return Answer(status=202, body=json_bytes(document), task_ids=tuple(task.id for task in tasks))

    def _create(self, order: Order, call: Call, account: str) -> Task:
        duration = self.conditions.duration(order, self._durations)
        fails = self._fates.random() < self.conditions.failure_rate or FAIL_WORD in order.prompt
        seed = order.fields.get("seed")
        task = Task(
            id=PREFIX[order.model] + self._word(),
            account=account,
            order=order,
            credits=self.conditions.price(order),
            accepted_at=self._now,
            ends_at=self._now + self.conditions.real(duration),
            fate="failed" if fails else "completed",
            seed=seed if isinstance(seed, int) and seed >= 0 else self._ids.getrandbits(32),
            idempotency_key=call.idempotency_key,
            call=call.number,
        )
        self.tasks[task.id] = task
        self.ledger.charge(task)
        if fails:
            heappush(self._doomed, (task.ends_at, task.id))
        return task

    def _show(self, admission: Admission, account: str) -> Answer:
        task = self.tasks.get(admission.call.path.removeprefix(TASKS_PATH))
        if task is None or task.account != account:
            return refusal("not_found", "Task does not exist or does not belong to this key owner")
        document = task_document(
            task,
            self._now,
            calendar=self.calendar,
            link=lambda task, name: self.links.sign(task.id, name, self._now),
        )
        return Answer(status=200, body=json_bytes(document), task_ids=(task.id,))

    def _open(self, spec: AccountSpec) -> None:
        self._owners |= {fingerprint(key): spec.name for key in spec.keys}
        self._windows[spec.name] = open_window(
            self.behaviour.window,
            requests=self.conditions.requests,
            period=self.conditions.real(self.conditions.period),
            origin=self.calendar.started_at + self.conditions.real(self.behaviour.window_phase),
            refused_count=self.behaviour.refused_count,
        )
        self.ledger.top_up(spec.name, spec.credits, at=self._now)

    def _word(self) -> str:
        return "".join(self._ids.choices(_LETTERS, k=16))


def _read(call: Call) -> Order | Answer:
    if call.content_type != "application/json":
        return refusal("invalid_request", "Content-Type must be application/json")
    try:
        return read_order(call.path, call.body)
    except RefusedError as error:
        return refusal("invalid_request", str(error))


def _no_route(call: Call) -> Answer:
    if call.path in SUBMIT_PATHS or call.path.startswith(TASKS_PATH):
        answer = refusal("invalid_request", f"Method {call.method} is not allowed here")
        return evolve(answer, status=405, headers={"Allow": "POST" if call.path in SUBMIT_PATHS else "GET"})
    return refusal("not_found", "No such endpoint")


def _unauthorized(message: str) -> Answer:
    return refusal("unauthorized", message)


def _refused_of_batch(order: Order) -> int:
    """``[[sandbox:batch-failed=2]]`` in a prompt: so many images of a batch are not accepted, nor charged."""
    word = BATCH_WORD.search(order.prompt)
    return int(word[1]) if word else 0


SUBMIT_PATHS: Final = frozenset(TABLES)
TASKS_PATH: Final = "/tasks/"
_LETTERS: Final = "abcdefghijkmnpqrstuvwxyz23456789"

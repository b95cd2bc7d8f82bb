"""Properties of the ledger, whatever is submitted, fails, is topped up or refused."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_async.sandbox.calls import Call, Reply, fingerprint
from seedance_async.sandbox.ledger import Ledger
from seedance_async.sandbox.options import AccountSpec, Behaviour, Conditions
from seedance_async.sandbox.signed_urls import UrlSigner
from seedance_async.sandbox.state import ServiceState
from seedance_async.sandbox.tasks import Calendar

BODIES = {
    "/video/seedance2": {"prompt": "A train"},
    "/image/gpt-image-2": {
        "type": "text-to-image",
        "prompt": "A shoe",
        "resolution": "4K",
        "aspect_ratio": "1:1",
        "batch_count": 3,
    },
    "/image/nano-banana-pro": {"type": "text-to-image", "prompt": "A shoe"},
}

steps = st.lists(
    st.tuples(
        st.floats(min_value=0, max_value=100),
        st.sampled_from(sorted(BODIES)),
        st.sampled_from(["k1", "k2", "k3", None]),
        st.integers(min_value=0, max_value=60),
    ),
    max_size=40,
)


def new_state(*, failure_rate: float = 0.5) -> ServiceState:
    """Return a state with 200 credits in which every other task fails."""
    return ServiceState(
        behaviour=Behaviour(),
        conditions=Conditions(failure_rate=failure_rate, requests=1000),
        accounts=[AccountSpec(credits=200)],
        calendar=Calendar(0.0, datetime(2026, 6, 3, tzinfo=UTC)),
        signer=UrlSigner("http://media.test", b"secret", 60.0),
    )


def submit(state: ServiceState, path: str, *, now: float, number: int, key: str | None = None) -> Reply:
    """Let one POST pass through the state."""
    call = Call(
        number=number,
        endpoint="submit",
        method="POST",
        path=path,
        key=fingerprint("sk_test_sandbox"),
        idempotency_key=key,
        content_type="application/json",
        body=json.dumps(BODIES[path]).encode(),
    )
    admission = state.admit(call, now)
    answer = state.process(admission, now)
    state.finish(admission)
    return answer


@given(steps)
def test_the_balance_is_topups_minus_charges_plus_refunds_at_every_entry(
    steps: list[tuple[float, str, str | None, int]],
) -> None:
    """And never below zero; and each task is charged once and refunded at most once, in order of time."""
    state, now = new_state(), 0.0
    for number, (gap, path, key, bought) in enumerate(steps, start=1):
        now += gap
        submit(state, path, now=now, number=number, key=key)
        if bought > 50:
            state.top_up("account-1", bought, now)
    state.settle(now + 1e6)

    balance = 0
    for entry in state.ledger.entries:
        balance += -entry.credits if entry.kind == "charge" else entry.credits
        assert balance == entry.balance >= 0
    assert balance == state.ledger.balance("account-1")
    assert [e.at for e in state.ledger.entries] == sorted(e.at for e in state.ledger.entries)

    moves = Counter((entry.kind, entry.task_id) for entry in state.ledger.entries if entry.task_id)
    assert set(moves.values()) <= {1}
    assert {("charge", task_id) for task_id in state.tasks} == {move for move in moves if move[0] == "charge"}
    failed = {task.id for task in state.tasks.values() if task.outcome == "failed"}
    assert failed == {task_id for kind, task_id in moves if kind == "refund"}


@given(steps)
def test_what_the_answers_say_is_what_was_charged(steps: list[tuple[float, str, str | None, int]]) -> None:
    """``credits_used`` of every accepted answer that is no replay adds up to the charges."""
    state, now, used = new_state(failure_rate=0.0), 0.0, 0
    for number, (gap, path, key, _) in enumerate(steps, start=1):
        now += gap
        answer = submit(state, path, now=now, number=number, key=key)
        if answer.status == 202 and not answer.replayed:
            used += json.loads(answer.body)["credits_used"]

    assert used == sum(entry.credits for entry in state.ledger.entries if entry.kind == "charge")


def test_a_refund_that_is_due_pays_for_the_next_submit() -> None:
    """Time is settled before a balance is looked at: the refund has long been made, though nobody polled."""
    state = new_state(failure_rate=1.0)
    answers = [submit(state, "/video/seedance2", now=0.0, number=number) for number in range(7)]
    late = submit(state, "/video/seedance2", now=3600.0, number=8)

    assert [202] * 6 + [402] == [answer.status for answer in answers]
    assert 202 == late.status


def test_the_ledger_refuses_what_cannot_be() -> None:
    """A negative top-up is a charge without a task."""
    with pytest.raises(ValueError, match="adds credits"):
        Ledger().top_up("a", -1, at=0.0)

"""The retry decision: money first, then patience."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from seedance_async import errors
from seedance_async.models import RetryPolicy
from seedance_async.protocol import Call, Failure, Outcome
from seedance_async.retry import KEY_TRUSTED, GiveUp, History, Wait, decide

POST = Call(method="POST", path="/video/seedance2", body=b"{}", idempotency_key="key-1")
GET = Call(method="GET", path="/tasks/sd2_a")
POLICY = RetryPolicy()

LOST = Failure(error=errors.ConnectionFailedError("lost"), outcome=Outcome.UNKNOWN)
NOT_SENT = Failure(error=errors.ConnectionFailedError("refused"), outcome=Outcome.NOT_SENT)
UNTRUSTED = Failure(error=errors.ConnectionFailedError("certificate"), outcome=Outcome.NOT_SENT, final=True)
BROKEN = Failure(
    error=errors.InternalServerError("500", code="internal_error", status=500), outcome=Outcome.UNKNOWN
)
BUSY = Failure(error=errors.ServiceBusyError("503", code="service_busy", status=503), outcome=Outcome.UNKNOWN)
CONFLICT = Failure(error=errors.IdempotencyConflictError("409", status=409), outcome=Outcome.UNKNOWN)
LIMITED = Failure(error=errors.RateLimitedError("429"), outcome=Outcome.REJECTED, retry_after=36.0)
NO_CREDITS = Failure(error=errors.InsufficientCreditsError("402"), outcome=Outcome.REJECTED)
REFUSED = Failure(error=errors.InvalidRequestError("400"), outcome=Outcome.REJECTED)
NO_KEY = Failure(error=errors.UnauthorizedError("401"), outcome=Outcome.REJECTED)
EVERY = [LOST, NOT_SENT, UNTRUSTED, BROKEN, BUSY, CONFLICT, LIMITED, NO_CREDITS, REFUSED, NO_KEY]


def judge(
    call: Call, *failures: Failure, elapsed: float = 0.0, age: float = 0.0, minted: bool = True
) -> Wait | GiveUp:
    """The decision after these failures in a row, the last at ``elapsed`` seconds."""
    history = History(minted=minted)
    for failure in failures:
        history = history.after(failure, elapsed=elapsed, age=age)
    return decide(call, failures[-1], history, policy=POLICY, jitter=0.5)


def given_up(
    call: Call, *failures: Failure, elapsed: float = 0.0, minted: bool = True
) -> errors.SeedanceError:
    """The error it gives up with."""
    decision = judge(call, *failures, elapsed=elapsed, minted=minted)
    assert isinstance(decision, GiveUp)
    return decision.error


@pytest.mark.parametrize("failure", [LOST, NOT_SENT, BROKEN, BUSY, CONFLICT, LIMITED])
def test_a_post_that_may_yet_succeed_is_sent_again(failure: Failure) -> None:
    """Under its key a repeat is safe, so a lost answer is asked for again."""
    assert isinstance(judge(POST, failure), Wait)


@pytest.mark.parametrize("failure", [REFUSED, NO_CREDITS, NO_KEY, UNTRUSTED])
def test_a_clear_refusal_of_an_untainted_post_is_final_and_certain(failure: Failure) -> None:
    """Nothing was charged, so the error is the refusal itself; it carries the key."""
    error = given_up(POST, failure)

    assert error is failure.error
    assert error.idempotency_key == "key-1"


@pytest.mark.case(86, 99)
@pytest.mark.parametrize("refusal", [REFUSED, NO_CREDITS, NO_KEY])
def test_uncertain_is_sticky(refusal: Failure) -> None:
    """Cases 86 and 99: a 4xx to a retry proves nothing about the attempt before it."""
    error = given_up(POST, LOST, refusal)

    assert isinstance(error, errors.UncertainSubmissionError)
    assert error.__cause__ is refusal.error
    assert error.idempotency_key == "key-1"


def test_patience_with_a_dead_server_ends_certain_if_nothing_left() -> None:
    """Never connected means never charged."""
    assert given_up(POST, NOT_SENT, elapsed=POLICY.max_elapsed) is NOT_SENT.error


@pytest.mark.case(16)
def test_patience_with_lost_answers_ends_uncertain() -> None:
    """Case 16: the job may run; the key says how to collect it."""
    error = given_up(POST, LOST, elapsed=POLICY.max_elapsed)

    assert type(error) is errors.UncertainSubmissionError
    assert "key-1" in str(error)


@pytest.mark.case(33)
def test_repeated_500s_are_taken_for_stored() -> None:
    """Case 33: after a few, asking on cannot help, and the outcome is open."""
    error = given_up(POST, *[BROKEN] * POLICY.max_server_errors)

    assert isinstance(error, errors.UncertainSubmissionError)
    assert isinstance(error, errors.InternalServerError)
    assert error.status == 500


@pytest.mark.case(34)
def test_a_busy_server_is_told_by_its_class() -> None:
    """Case 34: the API's own word for "come again"."""
    error = given_up(POST, BUSY, elapsed=POLICY.max_elapsed)

    assert isinstance(error, errors.ServiceBusyError)
    assert isinstance(error, errors.UncertainSubmissionError)


@pytest.mark.case(72, 74)
def test_a_conflict_on_our_own_bytes_is_waited_out() -> None:
    """Cases 72 and 74: under a key we minted 409 can only mean "still running"."""
    assert isinstance(judge(POST, CONFLICT, elapsed=60.0), Wait)
    assert isinstance(judge(POST, CONFLICT, elapsed=60.0, minted=False), GiveUp)
    assert isinstance(judge(POST, LOST, CONFLICT, elapsed=60.0, minted=False), Wait)


def test_a_brought_key_is_believed_no_later_than_an_own_one() -> None:
    """The caller's patience with conflicts bounds both."""
    history = History(minted=False).after(CONFLICT, elapsed=7.0)
    short = RetryPolicy(conflict_wait=5.0)

    assert isinstance(decide(POST, CONFLICT, history, policy=POLICY, jitter=0.5), Wait)
    assert isinstance(decide(POST, CONFLICT, history, policy=short, jitter=0.5), GiveUp)


@pytest.mark.parametrize(("failure", "first"), [(BUSY, POLICY.first_wait), (CONFLICT, 2.0)])
def test_pauses_double_up_to_the_longest(failure: Failure, first: float) -> None:
    """Half of each is chance; a hint of the server's never shortens one."""
    hinted = evolve(failure, retry_after=0.1)
    for attempts in range(1, 10):
        for each in (failure, hinted):
            judged = judge(POST, *[each] * attempts)
            assert judged == Wait(min(POLICY.max_wait, first * 2.0 ** (attempts - 1)) * 0.75)


@pytest.mark.case(75)
def test_a_conflict_for_ever_ends_uncertain_only_when_something_was_sent_in_doubt() -> None:
    """Case 75, and its innocent sibling: a brought key that stands for another body."""
    late = POLICY.conflict_wait
    doubtful = given_up(POST, LOST, CONFLICT, elapsed=late)

    assert isinstance(doubtful, errors.UncertainSubmissionError)
    assert given_up(POST, CONFLICT, elapsed=late, minted=False) is CONFLICT.error


@pytest.mark.parametrize("failures", [[LOST], [LOST, LIMITED], [LOST, NOT_SENT], [CONFLICT]])
def test_a_key_in_doubt_is_not_sent_when_it_may_be_forgotten(failures: list[Failure]) -> None:
    """A machine slept for a day: the same bytes under the same key may be a new job by now."""
    decision = judge(POST, *failures, age=KEY_TRUSTED + 1.0)

    assert isinstance(decision, GiveUp)
    assert isinstance(decision.error, errors.StaleKeyError)
    assert decision.error.__cause__ is failures[-1].error
    assert "look for it" in str(decision.error)
    assert "key-1" in str(decision.error)


@pytest.mark.parametrize("failure", EVERY)
def test_the_wall_clock_changes_nothing_else(failure: Failure) -> None:
    """Not a few hours, nor any age of a call that cannot have paid, nor a look at a task."""
    assert judge(POST, failure, age=KEY_TRUSTED) == judge(POST, failure)
    assert judge(POST, failure, age=-KEY_TRUSTED) == judge(POST, failure)
    assert judge(GET, failure, age=2 * KEY_TRUSTED) == judge(GET, failure)
    if failure.outcome is not Outcome.UNKNOWN:
        assert judge(POST, failure, age=2 * KEY_TRUSTED) == judge(POST, failure)


@pytest.mark.case(75)
def test_a_conflict_about_our_own_key_is_doubt() -> None:
    """Something has delivered it before us: neither it nor a later refusal says "not paid"."""
    late = POLICY.conflict_wait

    for failures in ([CONFLICT], [CONFLICT, NO_CREDITS]):
        assert isinstance(given_up(POST, *failures, elapsed=late), errors.UncertainSubmissionError)
    assert given_up(POST, CONFLICT, NO_CREDITS, elapsed=late, minted=False) is NO_CREDITS.error


def test_a_429_waits_at_the_gate_and_not_here() -> None:
    """The budget closes for everybody; a second wait of one call would only add to it."""
    assert judge(POST, LIMITED) == Wait(0.0)


@pytest.mark.case(39)
def test_an_absurd_retry_after_is_reported_and_not_slept() -> None:
    """Case 39: a wait of years is an error to read, not a sleep."""
    absurd = Failure(error=errors.RateLimitedError("429"), outcome=Outcome.REJECTED, retry_after=1e11)

    assert given_up(POST, absurd) is absurd.error


@pytest.mark.case(91)
@pytest.mark.parametrize("failure", [LOST, NOT_SENT, BUSY, LIMITED])
def test_a_get_is_asked_again_and_never_uncertain(failure: Failure) -> None:
    """Case 91: looking changes nothing."""
    assert isinstance(judge(GET, failure), Wait)
    assert given_up(GET, failure, elapsed=POLICY.max_elapsed) is failure.error


@given(
    st.lists(st.sampled_from(EVERY), min_size=1, max_size=12),
    st.floats(0, 2000),
    st.floats(0, 0.999),
    st.booleans(),
)
def test_laws_of_every_decision(failures: list[Failure], elapsed: float, jitter: float, minted: bool) -> None:
    """Waits are finite and obey the server; giving up in doubt always says so and names the key."""
    history = History(minted=minted)
    for failure in failures:
        history = history.after(failure, elapsed=elapsed)
    last = failures[-1]
    doubt = any(f.outcome is Outcome.UNKNOWN and (minted or f is not CONFLICT) for f in failures)

    match decide(POST, last, history, policy=POLICY, jitter=jitter):
        case Wait(seconds):
            assert 0.0 <= seconds <= POLICY.max_wait + POLICY.max_retry_after
        case GiveUp(error):
            assert error.idempotency_key == "key-1"
            assert doubt == isinstance(error, errors.UncertainSubmissionError)

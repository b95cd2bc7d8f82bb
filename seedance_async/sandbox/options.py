"""The options of the sandbox: switches for the vendor's open questions, conditions, and accounts.

The vendor's documentation leaves questions open that decide whether money is lost. Each is one switch of
:class:`Behaviour`, so that a client can be tested with every answer. The defaults are what users of the real
API reported, or else what is most common elsewhere. :class:`Conditions` holds everything else: speed, random
seed, prices and durations.

**Speed.** Options are in account seconds, as in the vendor's documentation, and are all scaled alike: with
``speed=60`` a window of 60 s passes in one second, a clip of 180 s is ready after three, a key of 24 h is
forgotten after 24 minutes. Values on the wire are in the caller's real seconds: ``updated_at`` minus
``created_at`` and ``Retry-After`` are divided by the speed too, because the caller compares them with its
clock.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, Literal, get_args

from attrs import Attribute, asdict, field, frozen, validators

from seedance_async.sandbox.catalogue import credits_for, typical_duration
from seedance_async.sandbox.field_checks import (
    FOR_EVER,
    flag,
    number,
    one_of,
    refuse_unknown,
    short_repr,
    some_of,
)
from seedance_async.sandbox.validation import GenerationRequest

WindowName = Literal["fixed", "sliding-log", "sliding-counter", "sliding-counter-strict", "token-bucket"]
SubmitCheck = Literal["auth", "limit", "validation", "balance"]
StatusClass = Literal["2xx", "4xx", "5xx"]
RepeatedKey = Literal["replay", "reject"]
StillRunning = Literal["request", "task"]
SameBody = Literal["bytes", "values", "ignored"]
KeyScope = Literal["endpoint", "account", "key"]
Rounding = Literal["up", "down", "exact"]

CHECKS: Final[tuple[SubmitCheck, ...]] = ("auth", "limit", "validation", "balance")
"""The checks of a submit, in the order in which they run."""

API_KEY: Final = "sk_test_sandbox"
"""The key of the only account, unless another is given."""

LIVE_PREFIX: Final = "sk_live_"
"""The prefix of the vendor's own keys."""


@frozen(kw_only=True)
class Behaviour:
    """The open questions of the vendor's documentation, one switch each (U1 to U9).

    Attributes:
        repeated_key: U1. A key that was used before gets its first reply again, or a 409.
        still_running: U2. A key counts as running until its first reply was written, or until its task is
            final.
        stored: U3. The classes of replies that are stored under a key. 401, 409 and 429 concern the caller,
            the key and the window, not the work, and are never stored.
        key_life: U4. Seconds for which a key is stored, counted from its first use.
        same_body: U5. Bodies are compared byte by byte, as JSON values, or not at all.
        key_scope: U5. The scope in which equal keys are the same key: one endpoint of an account, the
            account, or one API key.
        gets_count: U6. GETs count in the account's window too.
        before_key: U7. The checks that run before the idempotency layer, and so also refuse a retry whose
            first attempt was accepted.
        window: U8. The algorithm of the rate limit.
        window_phase: U8. Seconds from the sandbox's start to a boundary of its fixed windows.
        retry_after: U8. ``Retry-After`` in whole seconds rounded up or down, or exact with decimals.
        refused_count: U8. A refused request counts in the window too.
        url_life: U9. Seconds for which an output URL is valid, counted from the reply that contains it.
    """

    repeated_key: RepeatedKey = field(default="replay", validator=one_of(get_args(RepeatedKey)))
    still_running: StillRunning = field(default="request", validator=one_of(get_args(StillRunning)))
    stored: frozenset[StatusClass] = field(
        default=frozenset({"2xx"}), validator=some_of(get_args(StatusClass))
    )
    key_life: float = field(default=24 * 3600.0, validator=number(0, FOR_EVER, above=True))
    same_body: SameBody = field(default="bytes", validator=one_of(get_args(SameBody)))
    key_scope: KeyScope = field(default="endpoint", validator=one_of(get_args(KeyScope)))
    gets_count: bool = field(default=True, validator=flag)
    before_key: frozenset[SubmitCheck] = field(
        default=frozenset({"auth", "limit"}), validator=some_of(CHECKS)
    )
    window: WindowName = field(default="sliding-log", validator=one_of(get_args(WindowName)))
    window_phase: float = field(default=0.0, validator=number(-FOR_EVER, FOR_EVER))
    retry_after: Rounding = field(default="up", validator=one_of(get_args(Rounding)))
    refused_count: bool = field(default=False, validator=flag)
    url_life: float = field(default=24 * 3600.0, validator=number(0, FOR_EVER, above=True))

    @classmethod
    def read(cls, document: object) -> Behaviour:
        """Make switches from JSON; a missing one has its default.

        Raises:
            ValueError: not an object, an unknown field, or a value that its field does not accept.
        """
        if not isinstance(document, dict):
            raise ValueError(f"a behaviour must be a JSON object; got {short_repr(document)}")  # noqa: TRY004 - wrong input
        refuse_unknown(document, cls, what="a behaviour")
        sets = {name: _as_set(document[name]) for name in ("stored", "before_key") if name in document}
        return cls(**{**document, **sets})

    def document(self) -> dict[str, object]:
        """The switches as JSON, for ``read``."""
        return {
            name: sorted(value) if isinstance(value, frozenset) else value
            for name, value in asdict(self).items()
        }


def _as_set(given: object) -> object:
    """A list of words as a set, which JSON does not have; anything else unchanged, for the validator."""
    if isinstance(given, list) and all(isinstance(each, str) for each in given):
        return frozenset(given)
    return given


def _ordered(_: object, attribute: Attribute[tuple[float, float]], value: tuple[float, float]) -> None:
    low, high = value
    if not 0 <= low <= high:
        raise ValueError(f"{attribute.name} must be two seconds, 0 <= low <= high; got {value}")


@frozen(kw_only=True)
class Conditions:
    """The conditions of the emulated service that are not switches of :class:`Behaviour`.

    Attributes:
        seed: the same seed and the same sequence of requests give the same ids, durations and failures.
        speed: the factor by which time passes faster than at the vendor; see the module's docstring.
        requests: how many requests an account may send in one window.
        period: the length of the window in account seconds.
        latency: bounds, in real seconds, of the uniform delay added before and again after the work.
        failure_rate: share of tasks that fail, 0 to 1. ``[[sandbox:fail]]`` in a prompt makes its tasks fail.
        duration: draws the duration of a task in account seconds; with ``inf`` it never ends.
        price: the credits of one task.
        busy_above: the most tasks that the service processes at a time, for all accounts together; at that
            number a submit is answered 503 ``service_busy``. None: no such limit.
        reference_checks: how many submits with pictures or clips an account may send in one window, in
            addition to the limit of all requests; a further one is answered 429 without ``Retry-After``. The
            vendor's site states 3, its documentation states none. None: no such limit.
    """

    seed: int = 0
    speed: float = field(default=1.0, validator=validators.gt(0))
    requests: int = field(default=30, validator=validators.ge(1))
    period: float = field(default=60.0, validator=validators.gt(0))
    latency: tuple[float, float] = field(default=(0.0, 0.0), validator=_ordered)
    failure_rate: float = field(default=0.0, validator=[validators.ge(0), validators.le(1)])
    duration: Callable[[GenerationRequest, Random], float] = typical_duration
    price: Callable[[GenerationRequest], int] = credits_for
    busy_above: int | None = field(default=None, validator=validators.optional(validators.ge(1)))
    reference_checks: int | None = field(default=None, validator=validators.optional(validators.ge(1)))

    def real(self, seconds: float) -> float:
        """Convert account seconds to real seconds."""
        return seconds / self.speed


def _not_live(_: object, _attribute: object, keys: tuple[str, ...]) -> None:
    # The key is not repeated, as it may be a secret.
    if any(key.strip().startswith(LIVE_PREFIX) for key in keys):
        raise ValueError(
            f"an API key that begins with {LIVE_PREFIX} is one of the real API, and not for tests; "
            f"a sandbox takes any other, such as {API_KEY}"
        )


@frozen(kw_only=True)
class AccountSpec:
    """One account: its name, its API keys, and its initial credits.

    Raises:
        ValueError: one of the keys is a live one, which clients would send to the sandbox.
    """

    name: str = "account-1"
    keys: tuple[str, ...] = field(default=(API_KEY,), repr=False, validator=_not_live)
    credits: int = field(default=100_000, validator=validators.ge(0))

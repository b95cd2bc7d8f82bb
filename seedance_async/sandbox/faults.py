"""Misbehaviour on demand: what can go wrong, when it strikes, and how a test asks for it.

A fault has an *effect*, and strikes at one of two moments::

    request arrives -> counted -> [before] -> work done, credits charged -> [after] -> answer written

Struck ``before``, no work is done and nothing is charged. Struck ``after``, everything is done and paid, and
the caller does not learn of it: the only moment at which money can be lost.

Rules are given to the ``Sandbox``, posted to ``/_sandbox/faults``, or written into a prompt:
``[[fault:drop]]`` lets that fault strike the first request that carries exactly this body and key, and
``[[fault:drop*3]]`` the first three, so that a retry gets through.

Pure: chance comes from the seed.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from math import inf
from random import Random
from typing import TYPE_CHECKING, Final, Literal

from attrs import asdict, field, fields, frozen, validators

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from seedance_async.sandbox.exchange import Call

Effect = Literal["drop", "reset", "status", "delay", "garbage", "truncate", "duplicate"]
Moment = Literal["before", "after"]
Target = Literal["submit", "task", "media", "any"]

EFFECTS: Final[tuple[Effect, ...]] = ("drop", "reset", "status", "delay", "garbage", "truncate", "duplicate")


def _whole(
    name: str, low: int, high: float = inf, *, or_none: bool = False
) -> Callable[[object, object, object], None]:
    def validate(_instance: object, _attribute: object, value: object) -> None:
        # Exactly an int: True would pass for 1.
        if value is None and or_none:
            return
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"{name} must be a whole number from {low} to {high}, got {value!r}")

    return validate


def _number(name: str, low: float, high: float = inf) -> Callable[[object, object, object], None]:
    def validate(_instance: object, _attribute: object, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"{name} must be a number from {low} to {high}, got {value!r}")

    return validate


@frozen(kw_only=True)
class Fault:
    """One rule: what happens, to which exchanges, how often.

    Attributes:
        effect: ``drop`` closes the connection without an answer; ``reset`` does so with a TCP reset;
            ``status`` answers with ``status`` instead; ``delay`` waits ``seconds``; ``garbage`` writes bytes
            that are not HTTP; ``truncate`` writes the whole head and half of the body; ``duplicate`` delivers
            the request twice, as a proxy that retries does, and gives the caller the second answer.
        moment: before the work is done, or after it.
        on: the endpoint: a submit, a poll of a task, a download, or any of them.
        nth: strike from the nth matching exchange on, counted from 1.
        count: strike so many exchanges; None: all that follow.
        probability: of striking an exchange it would strike otherwise.
        status: HTTP status of the answer, for ``status``.
        code: word for the error envelope; empty: the documented one of that status, else a page of HTML.
        headers: of that answer, ``Retry-After`` for one.
        body: literal body of that answer, or of ``garbage``; empty: a fitting one.
        seconds: real seconds to wait, for ``delay``.
    """

    effect: Effect = field(validator=validators.in_(EFFECTS))
    moment: Moment = field(default="after", validator=validators.in_(("before", "after")))
    on: Target = field(default="any", validator=validators.in_(("submit", "task", "media", "any")))
    nth: int = field(default=1, validator=_whole("nth", 1))
    count: int | None = field(default=1, validator=_whole("count", 1, or_none=True))
    probability: float = field(default=1.0, validator=_number("probability", 0, 1))
    status: int = field(default=503, validator=_whole("status", 200, 599))
    code: str = field(default="", validator=validators.instance_of(str))
    headers: Mapping[str, str] = field(factory=dict[str, str], validator=validators.instance_of(dict))
    body: str = field(default="", validator=validators.instance_of(str))
    seconds: float = field(default=1.0, validator=_number("seconds", 0))

    @classmethod
    def read(cls, document: object) -> Fault:
        """A rule from JSON.

        Raises:
            ValueError: not an object, an unknown field, or a value out of range.
        """
        if not isinstance(document, dict):
            raise ValueError("a fault must be a JSON object")  # noqa: TRY004 - wrong input, not a wrong call
        if unknown := document.keys() - {attribute.name for attribute in fields(cls)}:
            raise ValueError(f"a fault has no field {', '.join(sorted(map(str, unknown)))}")
        try:
            return cls(**document)
        except TypeError as error:
            raise ValueError(f"not a fault: {error}") from error

    def document(self) -> dict[str, object]:
        """The rule as JSON."""
        return asdict(self)


NAMED: Final[Mapping[str, Fault]] = {
    "drop": Fault(effect="drop"),
    "drop-before": Fault(effect="drop", moment="before"),
    "reset": Fault(effect="reset"),
    "reset-before": Fault(effect="reset", moment="before"),
    "garbage": Fault(effect="garbage"),
    "truncate": Fault(effect="truncate"),
    "duplicate": Fault(effect="duplicate", moment="before"),
    "delay": Fault(effect="delay"),
    "busy": Fault(effect="status", moment="before", status=503),
    "busy-after": Fault(effect="status", status=503),
    "internal-error": Fault(effect="status", status=500),
    "bad-gateway": Fault(effect="status", status=502),
    "rate-limited": Fault(effect="status", moment="before", status=429, headers={"Retry-After": "1"}),
}
"""The faults that a prompt can ask for by name."""


class FaultBook:
    """The rules in force, and how often each has matched."""

    def __init__(self, rules: Iterable[Fault] = (), *, seed: int = 0) -> None:
        self._rules = list(rules)
        self._matches: Counter[int] = Counter()
        self._asked: Counter[tuple[str, bytes, str]] = Counter()
        self._rng = Random(f"{seed}/faults")

    @property
    def rules(self) -> tuple[Fault, ...]:
        """The rules, oldest first."""
        return tuple(self._rules)

    def add(self, rule: Fault) -> None:
        """Put one more rule in force; its counting starts now."""
        self._rules.append(rule)

    def clear(self) -> None:
        """Put every rule out of force."""
        self._rules.clear()
        self._matches.clear()

    def strike(self, call: Call) -> tuple[Fault, ...]:
        """The faults that strike this exchange, each rule's counting moved on by it."""
        rules = [rule for place, rule in enumerate(self._rules) if self._strikes(place, rule, call)]
        return (*rules, *self._asked_for(call))

    def _strikes(self, place: int, rule: Fault, call: Call) -> bool:
        if rule.on not in {"any", call.endpoint}:
            return False
        self._matches[place] += 1
        turn = self._matches[place] - rule.nth
        due = turn >= 0 and (rule.count is None or turn < rule.count)
        return due and (rule.probability >= 1 or self._rng.random() < rule.probability)

    def _asked_for(self, call: Call) -> Iterable[Fault]:
        for word in _MAGIC.finditer(call.body):
            name, count = word[1].decode(), int(word[2] or 1)
            seen = call.idempotency_key or "", call.body, name
            self._asked[seen] += 1
            if name not in NAMED:
                yield _unheard_of(name)
            elif self._asked[seen] <= count:
                yield NAMED[name]


def _unheard_of(name: str) -> Fault:
    """Refuse the request: a fault that is misspelt and never strikes would let a test pass for nothing."""
    message = f"The sandbox knows no fault {name!r}, only {', '.join(NAMED)}"
    envelope = {"error": {"code": "invalid_request", "message": message}}
    return Fault(effect="status", moment="before", status=400, body=json.dumps(envelope))


_MAGIC: Final = re.compile(rb"\[\[fault:([a-z-]+)(?:\*([0-9]+))?\]\]")

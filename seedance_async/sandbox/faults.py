"""Faults: rules that make the sandbox misbehave in selected exchanges.

A fault has an *effect*, and is applied at one of two moments::

    request arrives -> counted -> [before] -> work done, credits charged -> [after] -> reply written

Applied ``before``, no work is done and nothing is charged; the reply that the effect changes is a 503.
Applied ``after``, everything is done and paid, but the caller is not informed: only then can money be lost.

Faults are given to the ``Sandbox``, posted to ``/_sandbox/faults``, or written into a prompt:
``[[fault:drop]]`` applies that fault to the first submit with exactly this body and key, and
``[[fault:drop*3]]`` to the first three, so that a later retry succeeds. ``[[fault:drop@task]]`` applies to
polls of the prompt's task, and ``[[fault:drop@media]]`` to downloads of its files. A submit whose prompt
names an unknown fault is refused. ``drop`` and ``reset`` are applied after the charge by default; there is
also an explicit name for this: ``[[fault:drop-after-charge]]``.

Pure: random numbers come from the seed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from random import Random
from typing import Final, Literal, get_args

from attrs import asdict, field, frozen

from seedance_async.sandbox.calls import Call
from seedance_async.sandbox.directives import fault_directives
from seedance_async.sandbox.effects import REPLY_EFFECTS, WIRE_EFFECTS, EffectSettings
from seedance_async.sandbox.field_checks import (
    FOR_EVER,
    field_names,
    number,
    one_of,
    refuse_unknown,
    short_repr,
    whole,
)
from seedance_async.sandbox.other_files import OtherFile

FaultMoment = Literal["before", "after"]
Target = Literal["submit", "task", "media", "any"]

REQUEST_EFFECTS: Final = frozenset({"delay", "deliver", "duplicate", "ignore-range"})
"""The effects that act on the request; its work is done in any case."""

EFFECTS: Final[tuple[str, ...]] = (*sorted(REQUEST_EFFECTS), *REPLY_EFFECTS, *WIRE_EFFECTS)

MAX_JSON_DEPTH: Final = 50
"""The most levels of a rule's JSON; a deeper document could be read, but not written again."""


def _is_deeper(value: object, levels: int) -> bool:
    inner = [*value.values()] if isinstance(value, dict) else value if isinstance(value, list) else None
    return inner is not None and (levels == 0 or any(_is_deeper(each, levels - 1) for each in inner))


@frozen(kw_only=True)
class Fault(EffectSettings):
    """One rule: an effect, and the exchanges that it is applied to.

    Attributes:
        effect: a name of :data:`EFFECTS`. ``delay`` waits ``seconds``; ``duplicate`` delivers the request
            twice, as a proxy that retries does, and returns the second reply to the caller; ``ignore-range``
            serves the complete file; ``deliver`` makes a file that differs from the request; for the others
            see :mod:`seedance_async.sandbox.effects`.
        moment: before the work is done, or after it.
        on: the endpoint: a submit, a poll of a task, a download, or any of them.
        nth: apply from the nth matching exchange on, counted from 1.
        count: the most exchanges to which it is applied; None for no limit.
        lasts: the number of seconds, from the first match on, during which it is applied.
        probability: the probability of being applied to a matching exchange, drawn for each of them until
            ``count`` is reached.
        status: HTTP status of the reply, for ``status``.
        code: code of the error envelope; empty: the documented one of that status, else an HTML page.
        headers: headers of the reply, such as ``Retry-After``; a number is converted to text.
        body: literal body of that reply, or of ``garbage``; empty: a suitable one. ``{authorization}`` in it
            is replaced by what the caller sent.
        fields: fields to set in the reply's JSON, for ``edit``; properties of the file, for ``deliver``, see
            :class:`~seedance_async.sandbox.other_files.OtherFile`.
        without: fields to remove from the reply's JSON.
        seconds: real seconds to wait, for ``delay``, and between two bytes for ``dribble``.
    """

    effect: str = field(validator=one_of(EFFECTS))
    moment: FaultMoment = field(default="after", validator=one_of(get_args(FaultMoment)))
    on: Target = field(default="any", validator=one_of(get_args(Target)))
    nth: int = field(default=1, validator=whole(1))
    count: int | None = field(default=1, validator=whole(1, or_none=True))
    lasts: float = field(default=FOR_EVER, validator=number(0))
    probability: float = field(default=1.0, validator=number(0, 1))

    def __attrs_post_init__(self) -> None:
        if self.effect == "deliver":
            if self.on not in {"media", "any"}:
                raise ValueError(f"deliver is an effect on media; got on={short_repr(self.on)}")
            OtherFile.read(self.fields)

    @property
    def prevents(self) -> bool:
        """Whether it prevents the work of the request."""
        return self.moment == "before" and self.effect not in REQUEST_EFFECTS

    @classmethod
    def read(cls, document: object) -> Fault:
        """Make a rule from JSON.

        Raises:
            ValueError: not an object, an unknown field, or a value out of range.
        """
        if not isinstance(document, dict):
            raise ValueError(f"a fault must be a JSON object; got {short_repr(document)}")  # noqa: TRY004 - wrong input
        if _is_deeper(document, MAX_JSON_DEPTH):
            raise ValueError(f"a fault must not be nested deeper than {MAX_JSON_DEPTH} levels")
        refuse_unknown(document, cls, what="a fault")
        if "effect" not in document:
            raise ValueError(f"a fault needs an effect: one of {', '.join(EFFECTS)}")
        return cls(**document)

    @classmethod
    def read_all(cls, documents: Iterable[object]) -> list[Fault]:
        """Make rules from JSON.

        Raises:
            ValueError: as for one; the message says which one it is, counted from 1.
        """
        return [cls._read_numbered(number, each) for number, each in enumerate(documents, 1)]

    @classmethod
    def _read_numbered(cls, number: int, document: object) -> Fault:
        try:
            return cls.read(document)
        except ValueError as problem:
            raise ValueError(f"rule {number}: {problem}") from None

    def document(self, *, whole: bool = True) -> dict[str, object]:
        """The rule as JSON; ``whole`` includes the fields at their defaults."""
        values, defaults = asdict(self), asdict(Fault(effect=self.effect))
        return {
            name: values[name]
            for name in field_names(Fault)
            if whole or name == "effect" or values[name] != defaults[name]
        }


def _status_fault(status: int, moment: FaultMoment = "after", **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Fault(effect="status", moment=moment, status=status, headers=named)


NAMED: Final[Mapping[str, Fault]] = {
    **{effect: Fault(effect=effect) for effect in EFFECTS if effect not in {"status", "edit", "deliver"}},
    "drop-before": Fault(effect="drop", moment="before"),
    "drop-after-charge": Fault(effect="drop", moment="after"),
    "reset-before": Fault(effect="reset", moment="before"),
    "reset-after-charge": Fault(effect="reset", moment="after"),
    "duplicate": Fault(effect="duplicate", moment="before"),
    "bad-gateway": _status_fault(502),
    "busy": _status_fault(503, "before"),
    "busy-after": _status_fault(503),
    "internal-error": _status_fault(500),
    "rate-limited": _status_fault(429, "before", Retry_After="1"),
    "redirect": _status_fault(307, "before", Location="https://elsewhere.example/"),
    "echo-key": Fault(effect="status", moment="before", status=500, body="you sent {authorization}"),
    "no-id": Fault(effect="edit", without=("id",)),
    "other-id": Fault(effect="edit", fields={"id": "sd2_another"}),
    "path-id": Fault(effect="edit", fields={"id": "../../admin"}),
    "unknown-status": Fault(effect="edit", on="task", fields={"status": "queued", "output": None}),
    "backwards": Fault(effect="edit", on="task", fields={"status": "processing", "output": None}),
    "no-output": Fault(effect="edit", on="task", fields={"output": None}),
    "never": Fault(effect="edit", on="task", count=None, fields={"status": "processing", "output": None}),
    "lag": Fault(effect="status", moment="before", on="task", status=404),
    "vanish": Fault(effect="status", moment="before", on="task", nth=2, count=None, status=404),
    "expired": Fault(effect="status", on="media", status=403),
    "smaller": Fault(effect="deliver", on="media", count=None, fields={"scale": 2 / 3}),
    "shorter": Fault(effect="deliver", on="media", count=None, fields={"seconds": 2}),
    "silent": Fault(effect="deliver", on="media", count=None, fields={"audio": False}),
    "range-past-end": Fault(effect="status", on="media", status=416),
}
"""The faults that a prompt can request by name."""


class ActiveFaults:
    """The rules in force, and how often each has matched and has been applied."""

    def __init__(self, rules: Iterable[Fault] = (), *, seed: int = 0) -> None:
        self._rules = list(rules)
        self._matched: Counter[object] = Counter()
        self._applied: Counter[object] = Counter()
        self._first_match: dict[object, float] = {}
        self._rng = Random(f"{seed}/faults")

    @property
    def rules(self) -> tuple[Fault, ...]:
        """The rules, oldest first."""
        return tuple(self._rules)

    def add(self, rule: Fault) -> None:
        """Add a rule; its counts start at zero."""
        self._rules.append(rule)

    def clear(self) -> None:
        """Remove every rule."""
        self._rules.clear()
        self._matched.clear()
        self._applied.clear()
        self._first_match.clear()

    def triggered_by(self, call: Call, *, now: float = 0.0, prompt: str = "") -> tuple[Fault, ...]:
        """The faults to apply to this exchange, counted as applied.

        Args:
            call: the exchange.
            now: the server's clock, in seconds.
            prompt: the prompt of the task that the exchange is about; that of a submit is in its body.
        """
        rules: list[tuple[object, Fault]] = [*enumerate(self._rules), *_faults_in_prompt(call, prompt)]
        return tuple(rule for counted_as, rule in rules if self._applies(counted_as, rule, call, now))

    def _applies(self, counted_as: object, rule: Fault, call: Call, now: float) -> bool:
        if rule.on not in {"any", call.endpoint}:
            return False
        self._matched[counted_as] += 1
        since = now - self._first_match.setdefault(counted_as, now)
        due = self._matched[counted_as] >= rule.nth and since <= rule.lasts
        left = rule.count is None or self._applied[counted_as] < rule.count
        if not (due and left and (rule.probability >= 1 or self._rng.random() < rule.probability)):
            return False
        self._applied[counted_as] += 1
        return True


def _faults_in_prompt(call: Call, prompt: str) -> Iterator[tuple[object, Fault]]:
    """The faults requested in a prompt, each with the key under which it is counted."""
    submit = call.endpoint == "submit"
    counted_as = (call.idempotency_key, call.body) if submit else call.path
    try:
        directives = list(fault_directives(call.body.decode(errors="replace") if submit else prompt, NAMED))
    except ValueError as problem:
        yield (counted_as, "refused"), _refusing(str(problem))
        return
    for directive in directives:
        rule = NAMED[directive.name].document()
        rule["on"] = directive.on or ("submit" if rule["on"] == "any" else rule["on"])
        rule["count"] = rule["count"] if directive.count is None else directive.count
        yield (counted_as, directive.text), Fault.read(rule)


def _refusing(message: str) -> Fault:
    """A fault that refuses the request, as a misspelt fault without effect would let a test pass wrongly."""
    envelope = {"error": {"code": "invalid_request", "message": message}}
    return Fault(
        effect="status", moment="before", on="submit", count=None, status=400, body=json.dumps(envelope)
    )

"""Misbehaviour on demand: what can go wrong, when it strikes, and how a test asks for it.

A fault has an *effect*, and strikes at one of two moments::

    request arrives -> counted -> [before] -> work done, credits charged -> [after] -> answer written

Struck ``before``, no work is done and nothing is charged; the answer that the effect works on is a 503.
Struck ``after``, everything is done and paid, and the caller does not learn of it: the only moment at which
money can be lost.

Rules are given to the ``Sandbox``, posted to ``/_sandbox/faults``, or written into a prompt:
``[[fault:drop]]`` lets that fault strike the first submit that carries exactly this body and key, and
``[[fault:drop*3]]`` the first three, so that a retry gets through. ``[[fault:drop@task]]`` strikes polls of
the task that the prompt became, and ``[[fault:drop@media]]`` downloads of its files. A submit whose prompt
asks for what there is not is refused. ``drop`` and ``reset`` strike after the charge unless told otherwise,
and have a name that says so, too: ``[[fault:drop-after-charge]]``.

Pure: chance comes from the seed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING, Final, Literal, get_args

from attrs import asdict, field, frozen

from seedance_async.sandbox.effects import ANSWERS, WIRES
from seedance_async.sandbox.magic import shown, wishes
from seedance_async.sandbox.reading import FOR_EVER, number, one_of, refuse_unknown, text, whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from seedance_async.sandbox.exchange import Call

Moment = Literal["before", "after"]
Target = Literal["submit", "task", "media", "any"]

PASSING: Final = frozenset({"delay", "duplicate", "ignore-range"})
"""The effects that act on the request, and let its work be done whenever they strike."""

LEVELS: Final = 50
"""Of a rule's JSON; what is deeper could be read, and not be told again."""

EFFECTS: Final[tuple[str, ...]] = (*sorted(PASSING), *ANSWERS, *WIRES)

MOMENTS: Final[tuple[Moment, ...]] = get_args(Moment)
TARGETS: Final[tuple[Target, ...]] = get_args(Target)


def _mapping(_instance: object, _attribute: object, value: object) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"fields must be an object; got {shown(value)}")  # noqa: TRY004 - wrong input


def _words(given: Iterable[str]) -> tuple[str, ...]:
    # A lone word would come apart into its letters, and leave nothing out.
    words = [given] if isinstance(given, str) else given
    if not isinstance(words, list | tuple | set | frozenset) or not all(
        isinstance(word, str) for word in words
    ):
        raise ValueError(f"without must be a list of texts; got {shown(given)}")
    return tuple(words)


def _is_deeper(value: object, levels: int) -> bool:
    inner = [*value.values()] if isinstance(value, dict) else value if isinstance(value, list) else None
    return inner is not None and (levels == 0 or any(_is_deeper(each, levels - 1) for each in inner))


def _as_text(given: Mapping[str, str]) -> Mapping[str, str]:
    # {"Retry-After": 1} is what everybody writes first; anything else is left for the validator to refuse.
    if not isinstance(given, dict):
        return given
    return {name: str(value) if type(value) in {int, float} else value for name, value in given.items()}


def _headers(_instance: object, _attribute: object, value: object) -> None:
    texts = [*value, *value.values()] if isinstance(value, dict) else [None]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"headers must be an object of texts and numbers; got {shown(value)}")


@frozen(kw_only=True)
class Fault:
    """One rule: what happens, to which exchanges, how often.

    Attributes:
        effect: a name of :data:`EFFECTS`. ``delay`` waits ``seconds``; ``duplicate`` delivers the request
            twice, as a proxy that retries does, and gives the caller the second answer; ``ignore-range``
            serves the whole of a file; for the rest see :mod:`seedance_async.sandbox.effects`.
        moment: before the work is done, or after it.
        on: the endpoint: a submit, a poll of a task, a download, or any of them.
        nth: strike from the nth matching exchange on, counted from 1.
        count: strike so many exchanges, however many match; None: all that follow.
        lasts: strike for so many seconds from the first match on.
        probability: of striking an exchange it would strike otherwise, drawn anew for each of them until
            ``count`` are struck.
        status: HTTP status of the answer, for ``status``.
        code: word for the error envelope; empty: the documented one of that status, else a page of HTML.
        headers: of the answer, ``Retry-After`` for one; a number stands for its text.
        body: literal body of that answer, or of ``garbage``; empty: a fitting one. ``{authorization}`` in it
            becomes what the caller sent.
        fields: to set in the answer's JSON, for ``edit``.
        without: fields to leave out of it.
        seconds: real seconds to wait, for ``delay``, and between two bytes for ``dribble``.
    """

    effect: str = field(validator=one_of(EFFECTS))
    moment: Moment = field(default="after", validator=one_of(MOMENTS))
    on: Target = field(default="any", validator=one_of(TARGETS))
    nth: int = field(default=1, validator=whole(1))
    count: int | None = field(default=1, validator=whole(1, or_none=True))
    lasts: float = field(default=FOR_EVER, validator=number(0))
    probability: float = field(default=1.0, validator=number(0, 1))
    status: int = field(default=503, validator=whole(200, 599))
    code: str = field(default="", validator=text)
    headers: Mapping[str, str] = field(factory=dict[str, str], converter=_as_text, validator=_headers)
    body: str = field(default="", validator=text)
    fields: Mapping[str, object] = field(factory=dict[str, object], validator=_mapping)
    without: tuple[str, ...] = field(default=(), converter=_words)
    seconds: float = field(default=1.0, validator=number(0))

    @property
    def prevents(self) -> bool:
        """Whether no work is done."""
        return self.moment == "before" and self.effect not in PASSING

    @classmethod
    def read(cls, document: object) -> Fault:
        """A rule from JSON.

        Raises:
            ValueError: not an object, an unknown field, or a value out of range.
        """
        if not isinstance(document, dict):
            raise ValueError(f"a fault must be a JSON object; got {shown(document)}")  # noqa: TRY004 - wrong input
        if _is_deeper(document, LEVELS):
            raise ValueError(f"a fault must not be nested deeper than {LEVELS} levels")
        refuse_unknown(document, cls, what="a fault")
        if "effect" not in document:
            raise ValueError(f"a fault needs an effect: one of {', '.join(EFFECTS)}")
        return cls(**document)

    @classmethod
    def read_all(cls, documents: Iterable[object]) -> list[Fault]:
        """Rules from JSON.

        Raises:
            ValueError: as for one; the message tells which, counted from 1.
        """
        return [cls._read_numbered(number, each) for number, each in enumerate(documents, 1)]

    @classmethod
    def _read_numbered(cls, number: int, document: object) -> Fault:
        try:
            return cls.read(document)
        except ValueError as problem:
            raise ValueError(f"rule {number}: {problem}") from None

    def document(self, *, whole: bool = True) -> dict[str, object]:
        """The rule as JSON; ``whole`` tells the fields that are at their defaults, too."""
        plain = asdict(Fault(effect=self.effect))
        told = asdict(self).items()
        return {name: value for name, value in told if whole or name == "effect" or value != plain[name]}


def _said(status: int, moment: Moment = "after", **headers: str) -> Fault:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return Fault(effect="status", moment=moment, status=status, headers=told)


NAMED: Final[Mapping[str, Fault]] = {
    **{effect: Fault(effect=effect) for effect in EFFECTS if effect not in {"status", "edit"}},
    "drop-before": Fault(effect="drop", moment="before"),
    "drop-after-charge": Fault(effect="drop", moment="after"),
    "reset-before": Fault(effect="reset", moment="before"),
    "reset-after-charge": Fault(effect="reset", moment="after"),
    "duplicate": Fault(effect="duplicate", moment="before"),
    "bad-gateway": _said(502),
    "busy": _said(503, "before"),
    "busy-after": _said(503),
    "internal-error": _said(500),
    "rate-limited": _said(429, "before", Retry_After="1"),
    "redirect": _said(307, "before", Location="https://elsewhere.example/"),
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
    "range-past-end": Fault(effect="status", on="media", status=416),
}
"""The faults that a prompt can ask for by name."""


class FaultBook:
    """The rules in force, and how often each has matched and struck."""

    def __init__(self, rules: Iterable[Fault] = (), *, seed: int = 0) -> None:
        self._rules = list(rules)
        self._matches: Counter[object] = Counter()
        self._struck: Counter[object] = Counter()
        self._first: dict[object, float] = {}
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
        self._struck.clear()
        self._first.clear()

    def strike(self, call: Call, *, now: float = 0.0, prompt: str = "") -> tuple[Fault, ...]:
        """The faults that strike this exchange, each rule's counting moved on by it.

        Args:
            call: the exchange.
            now: the server's clock, in seconds.
            prompt: of the task that the exchange is about; a submit's is in its body.
        """
        rules: list[tuple[object, Fault]] = [*enumerate(self._rules), *_asked_for(call, prompt)]
        return tuple(rule for place, rule in rules if self._strikes(place, rule, call, now))

    def _strikes(self, place: object, rule: Fault, call: Call, now: float) -> bool:
        if rule.on not in {"any", call.endpoint}:
            return False
        self._matches[place] += 1
        since = now - self._first.setdefault(place, now)
        due = self._matches[place] >= rule.nth and since <= rule.lasts
        left = rule.count is None or self._struck[place] < rule.count
        if not (due and left and (rule.probability >= 1 or self._rng.random() < rule.probability)):
            return False
        self._struck[place] += 1
        return True


def _asked_for(call: Call, prompt: str) -> Iterator[tuple[object, Fault]]:
    """The faults a prompt asks for, each with what its strikes are counted under."""
    submit = call.endpoint == "submit"
    whose = (call.idempotency_key, call.body) if submit else call.path
    try:
        asked = list(wishes(call.body.decode(errors="replace") if submit else prompt, NAMED))
    except ValueError as problem:
        yield (whose, "refused"), _refusing(str(problem))
        return
    for wish in asked:
        rule = NAMED[wish.name].document()
        rule["on"] = wish.on or ("submit" if rule["on"] == "any" else rule["on"])
        rule["count"] = rule["count"] if wish.count is None else wish.count
        yield (whose, wish.word), Fault.read(rule)


def _refusing(message: str) -> Fault:
    """Refuse the request: a fault that is misspelt and never strikes would let a test pass for nothing."""
    envelope = {"error": {"code": "invalid_request", "message": message}}
    return Fault(
        effect="status", moment="before", on="submit", count=None, status=400, body=json.dumps(envelope)
    )

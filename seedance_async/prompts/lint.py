"""``lint_prompt``: the comparison of a prompt with the rules and with its request. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from seedance_async.errors import ValidationError
from seedance_async.models import REQUEST_TYPES, Request, Seedance2Video
from seedance_async.models.display import shown
from seedance_async.models.rules import Problem, one_of
from seedance_async.prompts.findings import Finding, Level, excerpt
from seedance_async.prompts.subject import Subject
from seedance_async.prompts.table import CERTAIN, CODES, RULES
from seedance_async.suggestions import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from seedance_async.prompts.table import Rule

_BETWEEN: Final = re.compile(r"[\s,;]+")


def lint_prompt(
    prompt: Request | str, *, ignore: str | Iterable[str] = (), model: str = Seedance2Video.model
) -> tuple[Finding, ...]:
    """Compare a prompt with the rules of the prompt guide.

    A request is compared as a whole: media, duration, aspect ratio, fixed lens and sound. For a text alone,
    the rules about the request find nothing.

    Args:
        prompt: a request, or the text of a prompt.
        ignore: codes of rules to switch off, such as ``["P15"]`` or ``"P15 P18"``.
        model: the model that a text is for, by the API's name; a request has its own.

    Returns:
        The findings: errors first, then warnings and notes, each in the order of the rules.

    Raises:
        ValidationError: ``prompt`` is neither a request nor text, or a code or the model is not known.

    Example:
        >>> clip = Seedance2Video(prompt="12-15 s: she waves", duration=5)
        >>> [finding.code for finding in lint_prompt(clip)]
        ['P06']
    """
    ignored, problems = read_codes(ignore, "ignore")
    if fault := _prompt_fault(prompt):
        problems.append(("prompt", fault))
    if fault := one_of(tuple(REQUEST_TYPES))(model):
        problems.append(("model", fault))
    if problems:
        raise ValidationError(problems, subject="lint_prompt")
    subject = _subject(prompt, model)
    found = (finding for rule in RULES if rule.code not in ignored for finding in _found(rule, subject))
    return tuple(sorted(found, key=lambda finding: (list(Level).index(finding.level), finding.code)))


def errors_of(request: Request, ignored: frozenset[str]) -> list[Finding]:
    """Return the errors in a request's prompt.

    Args:
        request: as it would be sent.
        ignored: codes of rules that are switched off.
    """
    subject = _subject(request, request.model)
    found = (finding for rule in CERTAIN if rule.code not in ignored for finding in _found(rule, subject))
    return [finding for finding in found if finding.level is Level.ERROR]


def read_codes(given: object, field: str) -> tuple[frozenset[str], list[Problem]]:
    """Return the given codes of rules, and the problems with them.

    Args:
        given: such as ``"P15 P18"``, ``"-P15,-P18"`` or a list of codes; None for no codes.
        field: named in the problems.
    """
    if isinstance(given, str):
        words: list[object] = [word for word in _BETWEEN.split(given) if word]
    elif given is None:
        words = []
    elif isinstance(given, Iterable):
        words = list(given)
    else:
        return frozenset(), [(field, f"must be codes of rules, such as -P15; got {shown(given)}")]
    codes = {word: str(word).strip().removeprefix("-").upper() for word in words}
    problems = [
        (field, f"has {shown(word)}, which is not a rule{suggestion(code, CODES) or f': they are {_CODES}'}")
        for word, code in codes.items()
        if code not in CODES
    ]
    return frozenset(codes.values()) & CODES, problems


def codes_fault(given: object) -> str | None:
    """Rule: codes of rules, as text or several."""
    _, problems = read_codes(given, "ignore")
    return problems[0][1] if problems else None


_CODES: Final = "P01 to P20, B01 and B02"


def _prompt_fault(prompt: object) -> str | None:
    """Rule: a request, or a prompt as text."""
    if isinstance(prompt, Request | str):
        return None
    return f"must be a request, or a prompt as text; got {shown(prompt)}"


def _subject(prompt: Request | str, model: str) -> Subject:
    if isinstance(prompt, str):
        return Subject(prompt, is_video=model == Seedance2Video.model)
    return Subject(prompt.prompt, prompt, is_video=isinstance(prompt, Seedance2Video))


def _found(rule: Rule, subject: Subject) -> Iterator[Finding]:
    if not (subject.is_video or rule.for_pictures):
        return
    for hit in rule.find(subject):
        yield Finding(
            code=rule.code,
            level=hit.level or rule.level,
            place=(hit.start, hit.end),
            excerpt=excerpt(subject.text, hit.start, hit.end),
            reason=hit.reason,
            fix=hit.fix,
        )

"""The expansion of an entry with a matrix into its jobs.

A ``matrix`` declares names, each with a list of values; the entry makes one job for every combination. The
values of names in ``zip`` are combined by position instead. A value replaces ``{name}`` everywhere, and fills
the request's field of that name if the entry does not have it. Other text in braces is kept, because braces
mark dialogue in prompts. A job is named after its values, so that adding a value does not rename other jobs.

Pure.
"""

from __future__ import annotations

import re
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import frozen

from seedance_async.models.display import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from seedance_async.models.rules import Problem

MATRIX_FIELDS: Final = ("matrix", "zip")
MOST_JOBS: Final = 10_000
"""Most jobs that one matrix may make; more are probably a mistake."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLACEHOLDER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NOT_IN_A_NAME: Final = re.compile(r"[^\w.-]+")
_LONGEST_PART: Final = 40


class MatrixError(Exception):
    """The problems of a matrix, as ``(field, reason)``."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems)
        self.problems = problems


@frozen
class _Value:
    """One value of a declared name: ``value`` for the request, and ``part`` for the name of the job."""

    value: object
    part: str


Choice: TypeAlias = "dict[str, _Value]"


def expand(fields: Mapping[str, object], known: Sequence[str]) -> Iterator[dict[str, object]]:
    """Return the fields of all jobs of an entry; those of the entry itself if it has no matrix.

    Args:
        fields: the fields of the entry.
        known: names of the fields that its request may have.

    Raises:
        MatrixError: with every problem, before the first job.
    """
    plain = {name: value for name, value in fields.items() if name not in MATRIX_FIELDS}
    declared = [fields[name] for name in MATRIX_FIELDS if fields.get(name) is not None]
    if not declared:
        return iter([plain])
    choices = _choices(fields.get("matrix"), fields.get("zip"))
    return (_job(plain, choice, known) for choice in choices)


def _choices(matrix: object, zipped: object) -> Iterator[Choice]:
    problems: list[Problem] = []
    free = _read("matrix", matrix, problems)
    together = _read("zip", zipped, problems)
    problems += [("zip", f"{name!r} is in the matrix, too") for name in free if name in together]
    problems += _size_problems(free, together)
    if problems:
        raise MatrixError(problems)
    rows = [dict(zip(together, row, strict=True)) for row in zip(*together.values(), strict=True)] or [{}]
    combinations = product(*free.values())
    return ({**dict(zip(free, some, strict=True)), **row} for some in combinations for row in rows)


def _size_problems(
    free: Mapping[str, Sequence[_Value]], together: Mapping[str, Sequence[_Value]]
) -> Iterator[Problem]:
    lengths = {name: len(values) for name, values in together.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        yield "zip", f"must have as many values of each name; {counts}"
    jobs = prod(len(values) for values in free.values()) * max(lengths.values(), default=1)
    if jobs > MOST_JOBS:
        yield "matrix", f"makes {jobs:,} jobs; at most {MOST_JOBS:,}"


def _read(where: str, declared: object, problems: list[Problem]) -> dict[str, list[_Value]]:
    """Return the values by name, and add problems to ``problems``."""
    if declared is None:
        return {}
    if not isinstance(declared, dict) or not declared:
        reason = "must be a table of names, each with a list of values"
        got = "it is empty: leave it out, or give it names" if declared == {} else f"got {shown(declared)}"
        problems.append((where, f"{reason}; {got}"))
        return {}
    values: dict[str, list[_Value]] = {}
    for name, given in declared.items():
        if fault := _name_fault(str(name)) or _values_fault(given):
            problems.append((where, f"{name!r:.60} {fault}"))
        else:
            values[str(name)] = [_Value(value, _part(word)) for word, value in _words(given)]
    return values


def _name_fault(name: str) -> str | None:
    return None if _NAME.fullmatch(name) else "is no name: use letters, digits and _"


def _values_fault(given: object) -> str | None:
    if not isinstance(given, list | dict):
        words = [word.strip() for word in given.split(",")] if isinstance(given, str) else [given]
        reason = f"must be a list of values, or a table with a word for each; got {shown(given)}"
        return f"{reason}; write {words!r:.200}"
    if not given:
        return "has no values, so there would be no job: give it at least one, or leave the name out"
    values = given.values() if isinstance(given, dict) else given
    foreign = [each for each in values if not isinstance(each, str | int | float)]
    return f"must have texts and numbers; got {foreign[0]!r:.60}" if foreign else None


def _words(given: list[object] | dict[str, object]) -> list[tuple[object, object]]:
    return list(given.items()) if isinstance(given, dict) else [(value, value) for value in given]


def _part(word: object) -> str:
    """Return a value as a part of a job name."""
    return _NOT_IN_A_NAME.sub("-", str(word)).strip("-")[:_LONGEST_PART] or "x"


def _job(fields: Mapping[str, object], choice: Choice, known: Sequence[str]) -> dict[str, object]:
    job = {key: _filled(value, choice) for key, value in fields.items() if key != "name"}
    for name, chosen in choice.items():
        if name in known and name not in fields:
            job[name] = chosen.value
    return {"name": _name(fields.get("name"), choice), **job}


def _name(given: object, choice: Choice) -> object:
    """Return the name with its placeholders replaced, followed by the values that it does not mention."""
    if given is not None and not isinstance(given, str):
        return given
    text = given or ""
    mentioned = set(_PLACEHOLDER.findall(text))
    filled = _PLACEHOLDER.sub(lambda found: choice[found[1]].part if found[1] in choice else found[0], text)
    parts = [chosen.part for name, chosen in choice.items() if name not in mentioned]
    return "-".join([filled, *parts] if filled else parts)


def _filled(value: object, choice: Choice) -> object:
    """Return a field's value with its placeholders replaced."""
    if isinstance(value, list):
        return [_filled(each, choice) for each in value]
    if not isinstance(value, str):
        return value
    whole = _PLACEHOLDER.fullmatch(value)
    if whole and whole[1] in choice:
        return choice[whole[1]].value  # keeps the type of a number
    return _PLACEHOLDER.sub(
        lambda found: str(choice[found[1]].value) if found[1] in choice else found[0], value
    )

"""Checks of the arguments of public calls, made before anything is sent, as a POST is paid."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from seedance_async.errors import ValidationError
from seedance_async.models import Request, Submission, Task
from seedance_async.models.display import shown

if TYPE_CHECKING:
    from seedance_async.models.rules import Rule


def check(call: str, **arguments: tuple[Rule, object]) -> None:
    """Check arguments against their rules.

    Raises:
        ValidationError: names all arguments of ``call`` that break their rule.
    """
    faults = [
        (name, fault) for name, (rule, value) in arguments.items() if (fault := rule(value)) is not None
    ]
    if faults:
        raise ValidationError(faults, subject=call)


def patience(value: object) -> str | None:
    """Rule: None, or seconds to wait, from 0 up."""
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value >= 0):
        return None  # NaN fails this comparison, as it should
    return f"must be a number of seconds from 0 up, or None; got {shown(value)}"


def amount(value: object) -> str | None:
    """Rule: None, or a number of credits, from 0 up."""
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value >= 0):
        return None
    return f"must be a number of credits, 0 or more; got {shown(value)}"


def text(value: object) -> str | None:
    """Rule: text that is not blank."""
    return None if isinstance(value, str) and value.strip() else f"must be text; got {shown(value)}"


def path(value: object) -> str | None:
    """Rule: a path, as text or a path-like object."""
    return None if isinstance(value, str | os.PathLike) else f"must be a path; got {shown(value)}"


def task(value: object) -> str | None:
    """Rule: a submission, a task, or a task id."""
    if isinstance(value, Submission | Task) or (isinstance(value, str) and value.strip()):
        return None
    return f"must be a submission, a task, or a task id; got {shown(value)}"


def id_of(given: Submission | Task | str) -> str:
    """Return the id of a task that a caller names.

    Raises:
        ValidationError: it is not a submission, a task, or a task id.
    """
    check("the call", task_id=(task, given))
    return str.__str__(given) if isinstance(given, str) else given.id


def iterable(value: object) -> str | None:
    """Rule: an iterable or async iterable, but neither a text nor a mapping."""
    can_be_read = hasattr(value, "__iter__") or hasattr(value, "__aiter__") or hasattr(value, "__getitem__")
    if can_be_read and not isinstance(value, str | bytes | dict | type):
        return None
    return f"must be an iterable or async iterable of requests; got {shown(value)}"


def how_to_make_one(item: object) -> str:
    """What to do with something that stands in the place of a request; empty if nothing is known."""
    if isinstance(item, str):
        return "; a prompt belongs into one, such as Seedance2Video(prompt=…)"
    if isinstance(item, Mapping):
        return "; read_request(fields) makes one of a dict with model and prompt"
    return "; give its request" if isinstance(getattr(item, "request", None), Request) else ""

"""``seedance tasks`` and ``spend``: the tasks that this machine has submitted for an account, and the costs.

Both read the account record and send nothing.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import attrs
from cyclopts import Parameter

from seedance_async.cli.connection import Connection
from seedance_async.cli.output import write_data, write_message
from seedance_async.exit_codes import ExitCode
from seedance_async.record import By, Reader, record_path, total
from seedance_async.record.values import UNCERTAIN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cyclopts import Token

    from seedance_async.record import PostRecord, Spending

_AGE: Final = re.compile(r"([0-9]{1,6})([mhdw])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_instant(text: str, now: datetime) -> datetime:
    """Return the instant that a text means: ``yesterday``, ``3h``, ``2026-06-03``; by default in local time.

    Raises:
        ValueError: the text is none of these.
    """
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if text in {"today", "yesterday"}:
        return today if text == "today" else (today - timedelta(days=1)).replace(tzinfo=None).astimezone()
    if age := _AGE.fullmatch(text):
        return now - timedelta(**{_UNITS[age[2]]: int(age[1])})
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is not a time: write today, yesterday, 3h, 7d, 2026-06-03 or 2026-06-03T10:00"
        ) from None


def _instant(_: object, tokens: Sequence[Token]) -> datetime:
    return parse_instant(tokens[0].value.strip().lower(), datetime.now().astimezone())


def tasks(
    *,
    since: Annotated[
        datetime | None,
        Parameter(
            converter=_instant, help="today, yesterday, 3h, 7d, 2026-06-03, …; local time. Default: all."
        ),
    ] = None,
    forget_before: Annotated[
        datetime | None,
        Parameter(
            converter=_instant,
            help="Delete older entries from the record, except those of this month and uncertain ones.",
        ),
    ] = None,
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), show_default=False, help="One JSON object for each POST.")
    ] = False,
    connection: Connection | None = None,
) -> int:
    """List the tasks that this machine has submitted for the account.

    It covers scripts, commands, batches and servers. One line for each task, with
    tabs between: id, state, model, time of the POST, credits and project. An
    uncertain POST has its idempotency key at the end: send the same request under
    that key to collect its tasks. States are those last seen: `seedance status ID`
    asks for the current one, and `seedance download ID` fetches the files.
    Nothing is sent.

    Example: seedance tasks --since yesterday
    """
    reader = _reader(connection)
    if forget_before is not None:
        write_message(f"{reader.forget(before=forget_before):,} POSTs were deleted from {reader.path}")
        return ExitCode.OK
    for post in reader.posts(since=since):
        for line in [json.dumps(_document(post))] if as_json else _lines(post):
            write_data(line)
    return ExitCode.OK


def spend(
    *,
    by: Annotated[By, Parameter(help="What to group by; days and months are in UTC.")] = "day",
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), show_default=False, help="One JSON object.")
    ] = False,
    connection: Connection | None = None,
) -> int:
    """Add up the credits that the account was charged for this machine's tasks.

    One line for each day, month, model or project and one for the total, with
    tabs between: credits spent, charged and refunded, the number of uncertain
    POSTs, and the credits that these may have cost. An uncertain POST of unknown
    price counts as 0 there. Nothing is sent.

    Example: seedance spend --by month
    """
    sums = _reader(connection).spending(by)
    whole = total(sums)
    if as_json:
        groups = [{by: each.group, **_amounts(each)} for each in sums]
        write_data(json.dumps({"by": by, "groups": groups, "total": _amounts(whole)}))
    else:
        for each in sums:
            write_data(_sum_line(each.group or "-", each))
        write_data(_sum_line("total", whole))
    return ExitCode.OK


def _reader(connection: Connection | None) -> Reader:
    reader = Reader(record_path((connection or Connection()).account()))
    if not reader.path.exists():
        write_message(
            f"{reader.path} does not exist: nothing was sent for this account from here, or its record is "
            "switched off. For a sandbox on this machine a record is kept only if SEEDANCE_STATE_DIR is set"
        )
    return reader


def _lines(post: PostRecord) -> Iterator[str]:
    sent_at = post.sent_at.astimezone().isoformat(timespec="seconds")
    share = None if post.credits_used is None else post.credits_used / max(1, len(post.tasks))
    facts = [post.model or "-", sent_at, "-" if share is None else _number(share), post.project or "-"]
    for task in post.tasks:
        yield "\t".join([task.id, task.status or post.state, *facts])
    if not post.tasks:
        yield "\t".join(["-", post.state, *facts, *([post.key] if post.state == UNCERTAIN else [])])


def _document(post: PostRecord) -> dict[str, object]:
    document = attrs.asdict(post, value_serializer=_as_json)
    return {**document, "credits_refunded": post.credits_refunded}


def _as_json(_instance: object, _attribute: object, value: object) -> object:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value


def _amounts(sums: Spending) -> dict[str, float]:
    return {
        "credits_spent": sums.credits_spent,
        "credits_used": sums.credits_used,
        "credits_refunded": sums.credits_refunded,
        "posts": sums.posts,
        "uncertain": sums.uncertain,
        "credits_uncertain": sums.credits_uncertain,
    }


def _sum_line(name: str, sums: Spending) -> str:
    amounts = [sums.credits_spent, sums.credits_used, sums.credits_refunded]
    return "\t".join([name, *map(_number, amounts), str(sums.uncertain), _number(sums.credits_uncertain)])


def _number(amount: float) -> str:
    return f"{amount:.10g}"

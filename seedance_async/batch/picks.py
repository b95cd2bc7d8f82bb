"""Picks: the takes of a batch that a user wants to keep or reject, with notes about them.

They are stored in ``picks.jsonl`` next to the results; a pick changes no other file. A line is a whole pick,

    {"name": "boat", "task_ids": ["sd2_…"], "pick": "keep", "note": "the wake is right", "at": "2026-…Z"}

and a later line about the same take replaces it. A take is identified by its task ids, not by the name of its
job: so when a job is made again, the pick stays with the old take, and does not apply to the new one.

Lines are only appended, under a lock, so several pages may write at the same time. Invalid lines, such as an
incomplete last line after a power cut, are skipped.

Blocking.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, TypeGuard

from attrs import asdict, evolve, frozen

from seedance_async.batch import results_reading as reading
from seedance_async.file_lock import try_lock
from seedance_async.safe_files import OWNER, append
from seedance_async.wire import encodable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import BinaryIO

PICKS: Final = "picks.jsonl"

MOST_NOTE_CHARACTERS: Final = 10_000

LOCK_TRIES: Final = 200
LOCK_WAIT: Final = 0.01  # s between two tries; writing a line takes less

Choice: TypeAlias = Literal["keep", "reject"]
CHOICES: Final[tuple[Choice, ...]] = ("keep", "reject")

TaskIds: TypeAlias = tuple[str, ...]
"""The identity of a take."""


@frozen(kw_only=True)
class Pick:
    """A user's decision about a take.

    Attributes:
        name: the name of its job when it was picked.
        task_ids: the take's task ids.
        pick: None while undecided.
        note: a text by the user.
        at: time of the decision, in ISO 8601, UTC.
    """

    name: str
    task_ids: TaskIds
    pick: Choice | None = None
    note: str = ""
    at: str = ""


def is_choice(value: object) -> TypeGuard[Choice | None]:
    """Whether any value is a valid pick; None means undecided. Pure."""
    return value is None or (isinstance(value, str) and value in CHOICES)


def parse(lines: Iterable[bytes]) -> dict[TaskIds, Pick]:
    """Return the last pick of each take, in the order in which takes were first picked. Pure."""
    found: dict[TaskIds, Pick] = {}
    for line in lines:
        pick = _pick(reading.json_object(line))
        if pick is not None:
            found[pick.task_ids] = pick
    return found


def load(directory: Path) -> dict[TaskIds, Pick]:
    """Return the picks of a batch; empty if there is no file.

    Raises:
        OSError: the file cannot be read, or is a link.
    """
    return parse(reading.lines_of(directory / PICKS))


def kept(directory: Path) -> tuple[Pick, ...]:
    """Return the picks of the kept takes.

    Raises:
        OSError: the file cannot be read.
    """
    return tuple(pick for pick in load(directory).values() if pick.pick == "keep")


def write(
    directory: Path,
    name: str,
    task_ids: TaskIds,
    *,
    pick: Choice | Literal["as it is"] | None = "as it is",
    note: str | None = None,
) -> Pick:
    """Store a decision about a take, and return the whole pick; values that are not given are kept.

    Args:
        directory: the batch directory.
        name: the present name of its job.
        task_ids: the take's task ids; at least one.
        pick: None makes it undecided.
        note: empty text deletes the note.

    Raises:
        OSError: the file cannot be written, is a link, or stays locked.
    """
    with _locked(directory / PICKS) as file:
        known = load(directory).get(task_ids, Pick(name=name, task_ids=task_ids))
        changed = evolve(
            known,
            name=name,
            pick=known.pick if pick == "as it is" else pick,
            note=known.note if note is None else encodable(note),
            at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        )
        file.write(_missing_line_end(directory / PICKS) + line(changed).encode())
        file.flush()
        os.fsync(file.fileno())
    return changed


def line(pick: Pick) -> str:
    """Return a pick as a line of the file."""
    return json.dumps(asdict(pick), ensure_ascii=False) + "\n"


def _pick(facts: dict[str, object]) -> Pick | None:
    name, choice, note, at = (facts.get(key) for key in ("name", "pick", "note", "at"))
    task_ids = reading.texts(facts.get("task_ids"))
    if not isinstance(name, str) or not task_ids or not is_choice(choice):
        return None
    return Pick(
        name=name,
        task_ids=task_ids,
        pick=choice,
        note=note if isinstance(note, str) else "",
        at=at if isinstance(at, str) else "",
    )


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    with append(path, OWNER) as file:
        for _ in range(LOCK_TRIES):
            if _has_lock(file):
                yield file
                return
            time.sleep(LOCK_WAIT)
    raise OSError(11, "is locked by another program", str(path))


def _has_lock(file: BinaryIO) -> bool:
    try:
        return try_lock(file.fileno())
    except OSError:  # a file system without locks: a line is still appended with one write
        return True


def _missing_line_end(path: Path) -> bytes:
    """Return a line end if the last line is incomplete; else the next line would be joined to it."""
    with path.open("rb") as written:
        if written.seek(0, os.SEEK_END) == 0:
            return b""
        written.seek(-1, os.SEEK_END)
        return b"" if written.read(1) == b"\n" else b"\n"

"""The judgement of a random schedule, by what the sandbox saw and by what lies on the disk."""

from __future__ import annotations

import re
import struct
import zlib
from collections import Counter, defaultdict
from html import unescape
from itertools import groupby
from math import isclose
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from attrs import field, frozen

from seedance_async import (
    InsufficientCreditsError,
    InvalidRequestError,
    NotFoundError,
    RateLimitedError,
    SeedanceError,
    UnauthorizedError,
    UncertainSubmissionError,
)
from seedance_async.batch.ledger import MOST_IN_DOUBT
from seedance_async.batch.states import HAS_OUTPUT, State
from seedance_async.sandbox import media_server
from seedance_async.sandbox.recorder import worst_window
from tests.faults.schedules import KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from seedance_async import JobResult
    from seedance_async.batch.journal import JobEntry
    from seedance_async.sandbox import Entry as Movement
    from seedance_async.sandbox import Record, Sandbox
    from seedance_async.sandbox.outputs import Clip, Picture
    from seedance_async.sandbox.tasks import Task
    from tests.faults.schedules import Life, Schedule

REFUSALS: Final = (
    InsufficientCreditsError, InvalidRequestError, NotFoundError, RateLimitedError, UnauthorizedError
)  # fmt: skip
"""What says that nothing was charged."""

FINAL: Final = {*HAS_OUTPUT, State.FAILED}
LIMIT: Final = 30
ESCAPES: Final = re.compile(r"\\+u([0-9a-fA-F]{4})")
REPEATS: Final = 200


@frozen(kw_only=True)
class Reported:
    """What the caller knows of one job in the end."""

    prompt: str
    error: SeedanceError | None
    ids: frozenset[str] = frozenset()
    key: str | None = None
    state: State | None = None

    def names(self, task: Task) -> bool:
        """Whether the caller can find this task by what was said."""
        if task.id in self.ids:
            return True
        accepted = bool(self.ids)  # under a key, with ids that are not its own
        uncertain = isinstance(self.error, UncertainSubmissionError)
        on_record = self.state in {State.SUBMITTING, State.UNCERTAIN}
        return self.key == task.idempotency_key and (accepted or uncertain or on_record)


def reported(entry: JobEntry, error: SeedanceError | None) -> Reported:
    """What a batch knows of a job."""
    return Reported(
        prompt=str(entry.request_fields["prompt"]),
        error=error or (SeedanceError(entry.error) if entry.error else None),
        ids=frozenset(entry.task_ids),
        # What is on record is not lost: the next run sends the same bytes under that key.
        key=entry.key,
        state=entry.state,
    )


@frozen
class Violations:
    """The properties that did not hold in a run."""

    messages: list[str] = field(factory=list)

    def on_loop_error(self, _: object, context: dict[str, Any]) -> None:
        """Handle an error of the loop, of which there must be none."""
        self.messages.append(f"the loop reports {context.get('message')}: {context.get('exception')!r}")

    def check(self, holds: bool, message: str) -> None:
        """Record the message if a property does not hold."""
        if not holds:
            self.messages.append(message)


def paid_by_prompt(sandbox: Sandbox) -> defaultdict[str, list[Task]]:
    """The tasks that were charged, by their prompt."""
    paid = defaultdict(list)
    for task in sandbox.tasks.values():
        paid[task.request.prompt].append(task)
    return paid


def check_paid_once(schedule: Schedule, sandbox: Sandbox, violations: Violations) -> None:
    """Check that nothing was paid more often than it was asked for, in whichever edition.

    A journal that was put back does not know a clip that was made since from another edition of its source.
    """
    edited = frozenset().union(*(life.edited for life in schedule.lives))
    asked = Counter(request.prompt for request in schedule.requests())
    asked |= Counter(request.prompt for request in schedule.requests(edited))
    for place, job in enumerate(schedule.jobs()):
        if schedule.forgets and schedule.sources_differ(place):
            asked[job.request.prompt] += 1
    for prompt, tasks in paid_by_prompt(sandbox).items():
        keys = [task.idempotency_key for task in tasks]
        violations.check(
            len(tasks) <= asked[prompt] or schedule.loses_copies,
            f"{prompt} is paid {len(tasks)} times of {asked[prompt]}: {keys}",
        )


def check_jobs(
    schedule: Schedule, sandbox: Sandbox, reported: Sequence[Reported], violations: Violations
) -> None:
    """Check that all that was paid is known to the caller, and nothing else is called done."""
    check_paid_once(schedule, sandbox, violations)
    jobs: defaultdict[str, list[Reported]] = defaultdict(list)
    for each in reported:
        jobs[each.prompt].append(each)
        violations.check(
            each.error is None or isinstance(each.error, SeedanceError), f"{each.error!r} is not of the tree"
        )
    paid = paid_by_prompt(sandbox)
    for prompt in jobs.keys() | paid.keys():
        tasks, mine = paid[prompt], jobs[prompt]
        hidden = schedule.copies and any(isinstance(each.error, REFUSALS) for each in mine)
        hidden |= schedule.by_batch and schedule.forgets
        found = all(any(each.names(task) for each in mine) for task in tasks) or hidden
        violations.check(found, f"{prompt} is paid and lost: {mine} of {[task.id for task in tasks]}")
        done = [each for each in mine if each.error is None and each.state in {None, State.SAVED}]
        violations.check(len(done) <= len(tasks), f"{prompt} is done and was never paid: {done}")
        ids = [task_id for each in done for task_id in each.ids]
        violations.check(len(ids) == len(set(ids)), f"{prompt}: one task for two jobs: {done}")


def check_credits(
    schedule: Schedule, sandbox: Sandbox, reported: Sequence[Reported], booked: float, violations: Violations
) -> None:
    """Check that exactly the credits of the tasks that the caller knows are booked."""
    known = {task_id for each in reported for task_id in each.ids}
    charged = sum(task.credits for task in sandbox.tasks.values() if task.id in known)
    ended = all(each.state in FINAL for each in reported if each.ids)
    right = isclose(booked, charged) or (schedule.stated is not None and not ended and booked < charged)
    violations.check(schedule.untrue or right, f"{booked} booked, {charged} charged")


def check_window(schedule: Schedule, records: Sequence[Record], violations: Violations) -> None:
    """Check that no window of a run has more requests than the limit; a proxy's copies are not ours."""
    worst = worst_window(records, seconds=60.0).arrivals
    violations.check(worst <= LIMIT or schedule.copies, f"{worst} requests in a window")


def check_cap(
    schedule: Schedule, life: Life, ledger: Sequence[Movement], since: int, violations: Violations
) -> None:
    """Check that a life charges no more than its cap, but for one POST of a price nobody has seen before.

    Where answers may be lost, what was charged was not always seen: then it is one more for each lost answer
    that others do not wait for, and for what a killed run has left on its way.
    """
    if life.cap is None or schedule.untrue or schedule.copies or schedule.hides_prices:
        return
    lossy = any(fault.on in {"submit", "any"} for fault in schedule.faults) or life != schedule.lives[0]
    allowed = 1 + (2 * MOST_IN_DOUBT if lossy else 0)
    highest: defaultdict[str, int] = defaultdict(int)
    spent = passed = 0
    for (kind, key), movements in groupby(enumerate(ledger), lambda each: _post_of(each[1])):
        places, entries = zip(*movements, strict=True)
        amount = sum(entry.credits for entry in entries)
        if kind == "refund":
            spent -= amount
        if kind != "charge":
            continue
        model, price = str(entries[0].task_id).partition("_")[0], entries[0].credits
        if places[0] >= since and spent + amount > life.cap and amount:
            passed += 1
            unknown = (lossy or price > highest[model]) and passed <= allowed
            violations.check(
                unknown, f"{spent} + {amount} of a cap of {life.cap:g} under {key}, {model} at {price}"
            )
        highest[model] = max(highest[model], price)
        spent += amount


def _post_of(entry: Movement) -> tuple[str, str | None]:
    return entry.kind, entry.idempotency_key


def check_files(place: Path, results: Sequence[JobResult], violations: Violations) -> None:
    """Check that every file that was told is there and whole."""
    for result in results:
        for path in result.files:
            found = place / path.name
            content = found.read_bytes() if found.exists() else b""
            prompts = re.findall(rb"(A \w+ on pond \d+)(?:\1){%d}" % (REPEATS - 1), content)
            violations.check(bool(prompts), f"{path.name} of {result.name} has {len(content)} bytes")


def check_secrecy(place: Path, results: Sequence[JobResult], violations: Violations) -> None:
    """Check that the key is nowhere, in whichever spelling."""
    reported = "\n".join(f"{result.error!r} {result.error} {result!r}" for result in results)
    violations.check(KEY not in _plain(reported), "the key is in what was told")
    for path in place.rglob("*"):
        if path.is_file() and KEY in _plain(path.read_bytes().decode(errors="replace")):
            violations.check(False, f"the key is in {path.name}")


def _plain(text: str) -> str:
    return unescape(unquote(ESCAPES.sub(lambda escape: chr(int(escape[1], 16)), text)))


def check_end(
    schedule: Schedule, sandbox: Sandbox, reported: Sequence[Reported], violations: Violations
) -> None:
    """Check that a batch run again without faults collects what was paid, where its key allows it."""
    if schedule.untrue or schedule.forgets:
        return
    for prompt, tasks in paid_by_prompt(sandbox).items():
        for task in tasks:
            mine = [each for each in reported if each.names(task)]
            ends = {"completed": State.SAVED, "failed": State.FAILED}[task.outcome]
            doubtful = schedule.closes_keys or schedule.doubts_ages
            collected = any(
                each.state is ends
                or (each.state is State.UNCERTAIN and doubtful)
                or (each.state is State.COMPLETED and schedule.urls_expire_unused)
                for each in mine
            )
            violations.check(collected, f"{prompt} is paid and not collected: {task.id}, {mine}")


# --- media that are quickly made, and that show whether they are whole


def without_drawing(put: Callable[[object, str, object], None] = setattr) -> None:
    """Let the sandbox serve files that only have the structure of media; drawing real ones takes longest."""
    put(media_server, "_make", _sketch)


def _sketch(content: Clip | Picture) -> bytes:
    text = content.prompt.encode() * REPEATS
    match content.content_type:
        case "video/mp4":
            boxes = {b"ftyp": b"isom\0\0\2\0", b"moov": b"", b"mdat": text + b"end"}
            return b"".join(struct.pack(">I4s", 8 + len(boxes[kind]), kind) + boxes[kind] for kind in boxes)
        case "image/png":
            chunks = {b"IHDR": struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0), b"IDAT": text, b"IEND": b""}
            return b"\x89PNG\r\n\x1a\n" + b"".join(
                struct.pack(">I4s", len(data), kind) + data + struct.pack(">I", zlib.crc32(kind + data))
                for kind, data in chunks.items()
            )
        case _:
            return b"\xff\xd8\xff\xfe" + struct.pack(">H", 2 + len(text)) + text + b"\xff\xd9"

"""The writer of a batch's gallery, from its journal.

The journal is read twice, in pages: once for the totals and the chart, which the first page of the gallery
needs, and once for the pages. So memory does not grow with the batch.

Only the owner may read the pages, as with the journal, because they contain prompts.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from attrs import define, field

from seedance_async.batch import chart, gallery
from seedance_async.batch.account_check import is_of_sandbox
from seedance_async.batch.journal import Journal
from seedance_async.batch.states import ENDED, NEVER_PAID, State
from seedance_async.batch.trials import mismatches_of
from seedance_async.safe_files import OWNER, replacing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from seedance_async.batch.journal import JobEntry, Milestones, Store

PAGE: Final = 500
"""Jobs on a page of the gallery: about 600 kB of HTML."""

ON_THE_CARD: Final = frozenset({"prompt", "aspect_ratio", "image_size"})
"""Fields of a request that the card shows, so they are not repeated among the facts."""

ORDER: Final = (State.SAVED, *(state for state in State if state is not State.SAVED))
"""The order of states in lists."""

LOST: Final = frozenset({State.FAILED, State.REFUSED, State.UNCERTAIN})
"""States that the chart counts as lost."""


async def write_gallery(directory: Path, *, jobs_on_a_page: int = PAGE) -> Path:
    """Write the gallery of a batch that is not running, and return its first page.

    Args:
        directory: the batch directory; the pages are written into it.
        jobs_on_a_page: most jobs per page.

    Raises:
        JournalError: the journal cannot be used, or a runner works in the directory.
        OSError: a page cannot be written.
    """
    journal = await Journal.open(directory)
    try:
        return await write_gallery_of(journal, directory, jobs_on_a_page=jobs_on_a_page)
    finally:
        await journal.close()


async def write_gallery_of(journal: Journal, directory: Path, *, jobs_on_a_page: int = PAGE) -> Path:
    """Write the gallery of a batch whose journal is open; otherwise like ``write_gallery``."""
    writer = await journal.do(_Writer, journal.store, directory, jobs_on_a_page)
    while await journal.do(writer.page):
        pass
    return directory / gallery.page_name(1)


def write_gallery_of_entries(
    entries: Sequence[JobEntry], directory: Path, *, jobs_on_a_page: int = PAGE
) -> Path:
    """Write the gallery of jobs that are not in a journal; otherwise like ``write_gallery``. Blocking."""
    pages = [entries[start : start + jobs_on_a_page] for start in range(0, len(entries), jobs_on_a_page)]
    counts = Counter(entry.state for entry in entries)
    for number, page in enumerate(pages or [[]], start=1):
        facts = gallery.Page(
            number=number,
            counts={str(state): count for state in ORDER if (count := counts[state])},
            credits=sum(entry.credits_used or 0.0 for entry in entries),
            refunded=sum(entry.credits_refunded or 0.0 for entry in entries),
            states=[{entry.state for entry in each} for each in pages or [[]]],
        )
        text = gallery.render(map(card, page), title=directory.resolve().name, page=facts)
        _write_page(directory, number, text)
    _remove_pages(directory, after=len(pages or [[]]))
    return directory / gallery.page_name(1)


def _write_page(directory: Path, number: int, text: str) -> None:
    with replacing(directory / gallery.page_name(number), OWNER) as file:
        file.write(text.encode(errors="replace"))


def _remove_pages(directory: Path, *, after: int) -> None:
    """Remove the further pages of an earlier, longer gallery."""
    for path in directory.glob("gallery-*.html"):
        number = re.fullmatch(r"gallery-([0-9]+)\.html", path.name)
        if number and int(number[1]) > after:
            path.unlink()


@define
class _Totals:
    """The totals over all jobs."""

    course: chart.Course
    counts: Counter[State] = field(factory=Counter)
    extras: Counter[State] = field(factory=Counter)
    states: list[set[State]] = field(factory=list)

    def add(self, job: Milestones, *, page: int) -> None:
        if page == len(self.states):
            self.states.append(set())
        self.states[page].add(job.state)
        self.counts[job.state] += 1
        self.extras[job.state] += job.is_extra
        self.course.add_job(sent_at=_sent_at(job), ended_at=_ended_at(job), lost=job.state in LOST)


class _Writer:
    """Writes the pages of one gallery, one per call, in the journal's thread."""

    def __init__(self, store: Store, directory: Path, jobs_on_a_page: int) -> None:
        self._store = store
        self._directory = directory
        self._size = jobs_on_a_page
        self._totals = _Totals(chart.Course.load(store.fact(chart.FACT)))
        for index, job in enumerate(_jobs(store)):
            self._totals.add(job, page=index // self._size)
        self._totals.states = self._totals.states or [set()]
        self._number = 0
        self._last = 0

    def page(self) -> bool:
        """Write the next page; after the last one, remove old further pages and return False."""
        if self._number == len(self._totals.states):
            _remove_pages(self._directory, after=self._number)
            return False
        self._number += 1
        entries = self._store.entries(after=self._last, limit=self._size)
        self._last = entries[-1].number if entries else 0
        _write_page(self._directory, self._number, self._render(entries))
        return True

    def _render(self, entries: list[JobEntry]) -> str:
        store = self._store
        counts = {str(state): count for state in ORDER if (count := self._totals.counts[state])}
        page = gallery.Page(
            number=self._number,
            counts=counts,
            extras={str(state): count for state, count in self._totals.extras.items() if count},
            credits=store.credits_used,
            refunded=store.credits_refunded,
            of_sandbox=is_of_sandbox(store.fact("account") or ""),
            states=self._totals.states,
        )
        title = self._directory.resolve().name
        svg = chart.draw(self._totals.course) if self._number == 1 else ""
        return gallery.render(map(card, entries), title=title, page=page, chart=svg)


def card(entry: JobEntry) -> gallery.Card:
    """Return the card of a job."""
    fields = entry.request_fields
    durations = [task.duration for task in entry.tasks if task.duration is not None]
    return gallery.Card(
        name=entry.name,
        model=entry.model,
        prompt=str(fields.get("prompt", "")),
        files=entry.files,
        shape=str(fields.get("aspect_ratio") or fields.get("image_size") or ""),
        credits=entry.credits_used,
        refunded=entry.credits_refunded or 0.0,
        seconds=max(durations, default=None),
        error=entry.error,
        state=entry.state,
        marks=tuple(_marks(entry)),
        is_extra=entry.is_extra,
        differs="; ".join(mismatches_of(entry)),
        facts=dict(_facts(entry, fields)),
    )


def _marks(entry: JobEntry) -> Iterator[str]:
    """Yield the notes that a card always shows."""
    if not entry.in_manifest:
        yield "not in the manifest"
    elif entry.older_of is not None:
        yield "older take"
    elif entry.final_of is not None:
        yield "final"
    if entry.stale:
        yield "stale"


def _facts(entry: JobEntry, fields: dict[str, object]) -> Iterator[tuple[str, str]]:
    """Yield the facts about a job, by name."""
    yield from ((name, text) for name, text in _course(entry).items() if text)
    for name, value in fields.items():
        if name == "seed" and value != entry.seed and entry.seed is not None:
            yield "seed asked for", str(value)
        elif name not in ON_THE_CARD:
            yield name, _fact_text(name, value)


def _course(entry: JobEntry) -> dict[str, str | None]:
    """Return facts about a job's result by name; empty or None for those that do not apply."""
    return {
        "task": "\n".join(entry.task_ids),
        "idempotency key": entry.key,
        "gone": None if entry.in_manifest else "not in the manifest any more",
        "take": entry.older_of and f"another result of {entry.older_of}, which has the newest",
        "final": entry.final_of and f"made of {entry.final_of}",
        "delivered": _delivered(entry),
        "seed": None if entry.seed is None else str(entry.seed),
        "stale": "something that it was made of has been made again since" if entry.stale else None,
    }


def _delivered(entry: JobEntry) -> str:
    if not any(entry.delivered):
        return ""
    return "\n".join(each.words if each else "not known" for each in entry.delivered)


def _fact_text(name: str, value: object) -> str:
    if "url" in name:  # a URL may be signed, and users share pages more easily than a journal
        return f"{len(value)} given" if isinstance(value, list) else "given"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _sent_at(job: Milestones) -> float | None:
    return None if job.state in NEVER_PAID else job.accepted_at or job.intended_at


def _ended_at(job: Milestones) -> float | None:
    if job.state is State.UNCERTAIN:
        return job.intended_at
    return job.ended_at if job.state in ENDED else None


def _jobs(store: Store) -> Iterator[Milestones]:
    last = 0
    while page := store.course(after=last, limit=PAGE):
        yield from page
        last = page[-1].number

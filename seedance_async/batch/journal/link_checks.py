"""The checks of links that take other jobs to see: unknown names, outputs that are not made, and cycles."""

from __future__ import annotations

import json
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Final

from seedance_async.batch.journal.link_rows import link_of
from seedance_async.filenames import fold
from seedance_async.models import MEDIA_FIELDS
from seedance_async.models.links import MAKERS
from seedance_async.suggestions import suggestion

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from seedance_async.batch.journal.queries import Queries
    from seedance_async.batch.journal.records import Draft
    from seedance_async.models import Link
    from seedance_async.prices import Tariff

PAGE: Final = 500
LONG_CHAIN: Final = 4
"""Links; users report that from there on a chain of last frames has visibly drifted."""

CANDIDATES: Final = 5000
"""Names that are searched for one that was meant."""


def problems(
    store: Queries, *, checked: str = "1", there: str = "1", elsewhere: Collection[str] = ()
) -> Iterator[tuple[int, str, str]]:
    """What is wrong with the links of jobs: line, field and reason.

    Args:
        store: of the journal.
        checked: a condition on ``jobs``: those whose links are checked.
        there: a condition on ``jobs``: those that a link may name.
        elsewhere: names, folded, of jobs that could not be read.
    """
    after = 0
    columns = (
        "jobs.number, jobs.name, jobs.line, jobs.body, links.text, source.name, source.tariff, source.number"
    )
    sources = f"(SELECT * FROM jobs WHERE {there}) AS source"
    while rows := store.file.rows(
        f"SELECT {columns} FROM links JOIN jobs ON jobs.number = links.job "
        f"LEFT JOIN {sources} ON source.fold = links.source "
        f"WHERE jobs.number IN (SELECT DISTINCT job FROM links JOIN jobs ON jobs.number = job "
        f"WHERE job > ? AND {checked} ORDER BY job LIMIT ?) ORDER BY jobs.number",
        after,
        PAGE,
    ):
        for _, _, line, body, text, name, tariff, _ in rows:
            link = link_of(text)
            reason = None
            if name is not None:
                reason = _not_made(link, name, store.tariff(tariff))
            elif fold(link.job) not in elsewhere:
                reason = _unknown(store, link, there)
            if reason:
                yield line, field_of(body, text), reason
        yield from _cycles(store, {number: (line, body) for number, _, line, body, *_ in rows})
        after = rows[-1][0]


def unknown(store: Queries, draft: Draft) -> Iterator[tuple[int, str, str]]:
    """The links of a draft to jobs that are not on record: line, field and reason."""
    for link, name in draft.links.items():
        if store.file.row("SELECT 1 FROM jobs WHERE fold = ?", fold(link.job)) is None:
            yield (
                draft.line,
                name,
                f"{_unknown(store, link, '1')}; give the job that makes it before this one",
            )


def _unknown(store: Queries, link: Link, there: str) -> str:
    names = [name for (name,) in store.file.rows(f"SELECT name FROM jobs WHERE {there} LIMIT {CANDIDATES}")]
    return f"{str(link)!r:.80} names a job that is not there{suggestion(link.job, names)}"


def _not_made(link: Link, name: str, tariff: Tariff) -> str | None:
    """Why a job does not make what a link takes of it; None if it does."""
    model = tariff.kind.model
    if model not in MAKERS[link.output]:
        made = [output for output, models in MAKERS.items() if model in models]
        return f"{str(link)!r:.80}: {name!r:.80} is a job for {model}, which makes {' and '.join(made)}"
    if link.place > tariff.tasks:
        return f"{str(link)!r:.80}: {name!r:.80} makes {tariff.tasks} only"
    return None


def _cycles(store: Queries, jobs: dict[int, tuple[int, bytes]]) -> Iterator[tuple[int, str, str]]:
    """A cycle among what these jobs take, and what that takes in turn."""
    graph = _sources(store, list(jobs))
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as cycle:
            *ring, _ = reversed(cycle.args[1])
            here = min((number for number in ring if number in jobs), default=None)
            if here is not None:
                start = ring.index(here)
                way = [store.entry(number).name for number in (*ring[start:], *ring[:start], here)]
                line, body = jobs[here]
                yield (
                    line,
                    field_of(body, ""),
                    f"waits for itself: {' -> '.join(f'{name!r:.40}' for name in way)}",
                )
            for number in ring:
                graph.pop(number, None)
        else:
            return


def _sources(store: Queries, numbers: Sequence[int]) -> dict[int, set[int]]:
    marks = ", ".join("?" * len(numbers))
    rows = store.file.rows(
        f"WITH RECURSIVE taken (job) AS (SELECT number FROM jobs WHERE number IN ({marks}) "
        "UNION SELECT source FROM taken JOIN edges USING (job)) "
        "SELECT job, source FROM taken JOIN edges USING (job)",
        *numbers,
    )
    graph: dict[int, set[int]] = {}
    for job, source in rows:
        graph.setdefault(job, set()).add(source)
    return graph


def drifts(store: Queries) -> bool:
    """Whether clips begin with the last frame of the one before, ``LONG_CHAIN`` or more in a row."""
    row = store.file.row(
        "WITH RECURSIVE chain (job, length) AS (SELECT job, 1 FROM links WHERE output = 'last_frame' UNION "
        "SELECT links.job, length + 1 FROM chain JOIN jobs ON jobs.number = chain.job "
        "JOIN links ON links.source = jobs.fold AND links.output = 'last_frame' WHERE length < ?) "
        "SELECT 1 FROM chain WHERE length >= ? LIMIT 1",
        LONG_CHAIN,
        LONG_CHAIN,
    )
    return row is not None


def field_of(body: bytes, text: str) -> str:
    """The field of a request in which a link or a ref stands; the first one with any link for no text."""
    fields = json.loads(body)
    for name in MEDIA_FIELDS:
        value = fields.get(name) or ()
        texts = [value] if isinstance(value, str) else value
        if any(each == text if text else each.startswith("$") for each in texts):
            return name
    return "job"

"""The checks of links against other jobs: unknown names, outputs that a job does not make, and cycles."""

from __future__ import annotations

import json
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Final

from attrs import evolve, field, frozen

from seedance_async.batch.journal.broken import BrokenLines
from seedance_async.batch.journal.link_rows import link_of
from seedance_async.filenames import fold
from seedance_async.models import MEDIA_FIELDS
from seedance_async.models.links import MAKERS, SIGN, parse_link
from seedance_async.suggestions import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from seedance_async.batch.journal.queries import Queries
    from seedance_async.batch.journal.records import Draft
    from seedance_async.models import Link
    from seedance_async.prices import Tariff

PAGE: Final = 500
LONG_CHAIN: Final = 4
"""Number of links; users report visible drift in chains of last frames of this length and more."""

CANDIDATES: Final = 5000
"""Most names that are searched for a suggestion."""


@frozen
class OtherNames:
    """The names in a manifest that are not jobs of the journal.

    Attributes:
        broken: the invalid lines of the manifest.
        assets: the value of each asset. A link cannot name an asset, but that is a likely mistake.
    """

    broken: BrokenLines = field(factory=BrokenLines)
    assets: Mapping[str, str] = field(factory=dict[str, str])


def problems(
    store: Queries, *, checked: str = "1", there: str = "1", others: OtherNames | None = None
) -> Iterator[tuple[int, str, str]]:
    """Yield the problems of links: line, field and reason.

    Args:
        store: the journal's store.
        checked: SQL condition on ``jobs``: those whose links are checked.
        there: SQL condition on ``jobs``: those that a link may name.
        others: the names that are not jobs; the links of its invalid lines are checked, too.
    """
    others = others or OtherNames()
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
            if name is not None:
                reason = _not_made_by_tariff(link, name, store.tariff(tariff))
            else:
                reason = _not_made_by_others(store, link, there, others)
            if reason:
                yield line, field_of(body, text), reason
        yield from _cycles(store, {number: (line, body) for number, _, line, body, *_ in rows})
        after = rows[-1][0]
    yield from _of_broken(store, there, others)


def _of_broken(store: Queries, there: str, others: OtherNames) -> Iterator[tuple[int, str, str]]:
    """Yield the problems of links in invalid lines, and the cycles that contain such lines."""
    for broken in others.broken.linked:
        for name, link in broken.links:
            row = store.file.row(f"SELECT name, tariff FROM jobs WHERE fold = ? AND {there}", fold(link.job))
            if row is None:
                reason = _not_made_by_others(store, link, there, others)
            else:
                reason = _not_made_by_tariff(link, row[0], store.tariff(row[1]))
            if reason:
                yield broken.line, name, reason
    for broken, ring in others.broken.in_cycles(_sources_of_broken(store, there, others.broken)):
        name = next(name for name, link in broken.links if fold(link.job) == ring[1])
        yield broken.line, name, _waits([_name_of(store, each, others.broken) for each in ring])


def _sources_of_broken(store: Queries, there: str, broken: BrokenLines) -> dict[str, set[str]]:
    """Return the direct and indirect sources of invalid lines: the sources by name, all folded."""
    graph: dict[str, set[str]] = {}
    left = [fold(each.name) for each in broken.linked if each.name is not None]
    while left:
        name = left.pop()
        if name in graph:
            continue
        if line := broken.get(name):
            graph[name] = {fold(link.job) for _, link in line.links}
        else:
            taken = f"SELECT links.source FROM links JOIN jobs ON number = job WHERE fold = ? AND {there}"
            graph[name] = {source for (source,) in store.file.rows(taken, name)}
        left += graph[name]
    return graph


def _name_of(store: Queries, folded: str, broken: BrokenLines) -> str:
    if line := broken.get(folded):
        return str(line.name)
    row = store.file.row("SELECT name FROM jobs WHERE fold = ?", folded)
    return folded if row is None else str(row[0])


def _not_made_by_others(store: Queries, link: Link, there: str, others: OtherNames) -> str | None:
    """Return why a link that names no job of the journal is wrong; None if an invalid line fits it."""
    broken = others.broken.get(link.job)
    if broken is not None:
        return _not_made(link, str(broken.name), broken.model)
    if link.job in others.assets:
        return _no_job(link, others.assets[link.job])
    return _unknown(store, link, there, others.broken.names())


def _no_job(link: Link, asset: str) -> str:
    """Return the reason why a link must not name an asset, which is a single picture or clip already."""
    reason = f"{str(link)!r:.80}: {link.job!r:.80} is an asset and no job, so write {SIGN + link.job!r:.80}"
    made = parse_link(asset)
    if made is None or (made.output, made.place) == (link.output, link.place):
        return reason
    return f"{reason}, which is {asset!r:.80}; or {str(evolve(link, job=made.job))!r:.80}, of its job"


def unknown(store: Queries, draft: Draft) -> Iterator[tuple[int, str, str]]:
    """Yield the links of a draft to jobs that are not in the journal: line, field and reason."""
    for link, name in draft.links.items():
        if store.file.row("SELECT 1 FROM jobs WHERE fold = ?", fold(link.job)) is None:
            yield (
                draft.line,
                name,
                f"{_unknown(store, link, '1')}; give the job that makes it before this one",
            )


def _unknown(store: Queries, link: Link, there: str, others: Sequence[str] = ()) -> str:
    names = [name for (name,) in store.file.rows(f"SELECT name FROM jobs WHERE {there} LIMIT {CANDIDATES}")]
    return f"{str(link)!r:.80} names a job that is not there{suggestion(link.job, [*names, *others])}"


def _not_made_by_tariff(link: Link, name: str, tariff: Tariff) -> str | None:
    """Return why a job does not make the output that a link names; None if it does."""
    if reason := _not_made(link, name, tariff.kind.model):
        return reason
    return f"{str(link)!r:.80}: {name!r:.80} makes {tariff.tasks} only" if link.place > tariff.tasks else None


def _not_made(link: Link, name: str, model: str | None) -> str | None:
    """Return why a model does not make the output that a link names; None if it does, or is unknown."""
    made = [output for output, models in MAKERS.items() if model in models]
    if not made or link.output in made:
        return None
    return f"{str(link)!r:.80}: {name!r:.80} is a job for {model}, which makes {' and '.join(made)}"


def _cycles(store: Queries, jobs: dict[int, tuple[int, bytes]]) -> Iterator[tuple[int, str, str]]:
    """Yield the cycles among these jobs and their direct and indirect sources."""
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
                yield line, field_of(body, ""), _waits(way)
            for number in ring:
                graph.pop(number, None)
        else:
            return


def _waits(cycle: Sequence[str]) -> str:
    return f"waits for itself: {' -> '.join(f'{name!r:.40}' for name in cycle)}"


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
    """Whether there is a chain of ``LONG_CHAIN`` or more clips that each begin with another's last frame."""
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
    """Return the field that holds a link or content reference; for empty ``text`` the first with any link."""
    fields = json.loads(body)
    for name in MEDIA_FIELDS:
        value = fields.get(name) or ()
        texts = [value] if isinstance(value, str) else value
        if any(each == text if text else each.startswith("$") for each in texts):
            return name
    return "job"

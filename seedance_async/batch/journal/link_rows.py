"""The rows of links: what jobs take from other jobs, when they may be sent, and what stands in their way.

A link names its source as people do, so it follows the name: whichever job has it now is the source. Part of
``Store``; what changes something runs within a transaction of its.
"""

from __future__ import annotations

from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Final

from seedance_async import posts
from seedance_async.batch.journal.input_rows import InputRows
from seedance_async.batch.journal.queries import READY
from seedance_async.batch.journal.records import as_json, damage, tasks_of
from seedance_async.batch.states import HAS_OUTPUT, State
from seedance_async.errors import JournalError
from seedance_async.filenames import fold
from seedance_async.models.links import Link, parse_link

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from seedance_async.answers import Task
    from seedance_async.models import Kind
    from seedance_async.prices import Tariff


class LinkRows(InputRows):
    """The links of one batch.

    Attributes:
        has_links: whether there are any.
    """

    has_links: bool = False

    def write_links(self, number: int, links: Collection[Link]) -> None:
        """Put these links in the place of those that a job had."""
        self.file.write("DELETE FROM links WHERE job = ?", number)
        self.has_links = self.has_links or bool(links)
        for link in links:
            self.file.write(
                "INSERT INTO links (job, text, source, output, place) VALUES (?, ?, ?, ?, ?)",
                number,
                str(link),
                fold(link.job),
                link.output,
                link.place,
            )

    # --- sending

    def _resolve(self, number: int) -> None:
        """Put down which URL goes in the place of each link of a job that is about to be sent."""
        for text, link, tasks in self._linked(number):
            task, url = link.task(tasks), link.url(tasks)
            if task is None or url is None:
                raise JournalError(f"{text!r:.80} has no URL")
            self.file.write(
                "UPDATE links SET url = ?, task = ? WHERE job = ? AND text = ?", url, task.id, number, text
            )

    def _as_sent(self, number: int, body: bytes) -> bytes:
        """A job's body with the URLs that went, or are about to go, in the place of its links and files."""
        return posts.resolved(self._resolved(number, body, "url"), self._file_urls(number))

    def _file_urls(self, number: int) -> dict[str, str]:
        found = self.input_urls(number)
        known = {ref: url for ref, url in found.items() if url is not None}
        if len(known) < len(found):
            raise damage(f"the local files of job {number}")
        return known

    def _as_identified(self, number: int, body: bytes) -> bytes:
        """What a job's key is derived from: its body with the link and the task of each URL in its place.

        The URL itself is another one at each poll, and that of a local file at each signing. A journal that
        is put back asks for it anew, and must find the key under which the job was paid.
        """
        return self._resolved(number, body, "text || ' ' || task")

    def _resolved(self, number: int, body: bytes, value: str) -> bytes:
        """A job's body with this of each link in its place; ``value`` is SQL, none of it from outside."""
        found: dict[str, str | None] = dict(
            self.file.rows(f"SELECT text, {value} FROM links WHERE job = ?", number)
        )
        known = {text: each for text, each in found.items() if each is not None}
        if len(known) < len(found):
            raise damage(f"the links of job {number}")
        return posts.resolved(body, known)

    def outdated_sources(self, numbers: Sequence[int], *, since: float, until: float) -> list[int]:
        """Jobs that these have links to, and whose URLs the server did not give between these instants.

        Those of the future were written down by a wrong clock, and nobody knows how old they are.
        """
        marks = ", ".join("?" * len(numbers))
        rows = self.file.rows(
            "SELECT DISTINCT edges.source FROM edges JOIN jobs ON jobs.number = edges.job "
            "JOIN jobs AS source ON source.number = edges.source "
            f"WHERE edges.job IN ({marks}) AND jobs.state = 'planned' "
            "AND ifnull(source.urls_at, 0) NOT BETWEEN ? AND ?",
            *numbers,
            since,
            until,
        )
        return [number for (number,) in rows]

    # --- what a job is made for

    def production(self, numbers: Sequence[int], *, whole: bool = False) -> list[tuple[int, Tariff]]:
        """What has to be made beside these jobs, so that they are not made in vain. Planned jobs only.

        That is the first of the jobs that are made of them and that nothing is made of, with all it takes.

        Args:
            numbers: of the jobs.
            whole: give these, too.
        """
        takers = self._reached(numbers, "source", "job")
        last = min((job for job in takers if not takers[job]), default=None)
        if last is None:
            return []
        needed = self._reached([last], "job", "source").keys() - (set() if whole else set(numbers))
        marks = ", ".join("?" * len(needed))
        rows = self.file.rows(f"SELECT number, tariff FROM jobs WHERE number IN ({marks})", *sorted(needed))
        return [(number, self.tariff(tariff)) for number, tariff in rows]

    def begun(self) -> list[int]:
        """The planned jobs that take something from a job that is paid."""
        rows = self.file.rows(
            "SELECT DISTINCT edges.job FROM edges JOIN jobs ON jobs.number = edges.job "
            "JOIN jobs AS source ON source.number = edges.source "
            f"WHERE jobs.listed = 1 AND jobs.state = 'planned' AND {self._chosen} "
            "AND source.state IN ('submitting', 'accepted', 'completed', 'saved') ORDER BY edges.job",
        )
        return [job for (job,) in rows]

    def path_after(self, numbers: Sequence[int]) -> tuple[Kind, ...]:
        """The kinds of the longest line of planned jobs that wait for these, one after the other."""
        takers = self._reached(numbers, "source", "job")
        paths: dict[int, tuple[int, ...]] = {}
        for job in TopologicalSorter(takers).static_order():  # what nothing is made of comes first
            after = max((paths[taker] for taker in takers[job]), key=len, default=())
            paths[job] = after if job in numbers else (job, *after)
        longest = max((paths[number] for number in numbers), key=len)
        rows = (self.file.row("SELECT tariff FROM jobs WHERE number = ?", job) for job in longest)
        return tuple(self.tariff(row[0]).kind for row in rows if row is not None)

    def _reached(self, numbers: Sequence[int], here: str, there: str) -> dict[int, set[int]]:
        """The jobs reached from these over edges to planned jobs, each with those that it leads to."""
        marks = ", ".join("?" * len(numbers))
        steps = (
            f"reached JOIN edges ON edges.{here} = reached.number "
            f"JOIN jobs ON jobs.number = edges.{there} "
            f"AND jobs.listed = 1 AND jobs.state = 'planned' AND {self._chosen}"
        )
        rows = self.file.rows(
            f"WITH RECURSIVE reached (number) AS (SELECT number FROM jobs WHERE number IN ({marks}) "
            f"UNION SELECT jobs.number FROM {steps}) SELECT reached.number, jobs.number FROM {steps}",
            *numbers,
        )
        graph: dict[int, set[int]] = {number: set() for number in numbers}
        for job, reached in rows:
            graph.setdefault(job, set()).add(reached)
            graph.setdefault(reached, set())
        return graph

    # --- waiting

    def obstacle(self, number: int) -> str | None:
        """Why a job cannot be sent in this run; None if it can be, now or when its sources are done."""
        query = (
            "SELECT links.text, source.name, source.state, source.tasks FROM links "
            "LEFT JOIN jobs AS source ON source.fold = links.source WHERE links.job = ?"
        )
        for text, name, state, tasks in self.file.rows(query, number):
            if state in _WITHOUT_OUTPUT:
                return f"it takes {text!r:.80}, and {name!r:.80} {_WITHOUT_OUTPUT[state]}"
            link = link_of(text)
            if state in HAS_OUTPUT and link.url(tasks_of(tasks, f"tasks of {name!r}")) is None:
                return f"it takes {text!r:.80}, and {name!r:.80} came without that"
        return None

    def takers(self, number: int) -> list[int]:
        """The planned jobs that have a link to this one."""
        rows = self.file.rows(
            "SELECT job FROM edges JOIN jobs ON jobs.number = job "
            "WHERE source = ? AND listed = 1 AND state = ?",
            number,
            State.PLANNED,
        )
        return [job for (job,) in rows]

    def waiting(self) -> list[int]:
        """The planned jobs that have links."""
        rows = self.file.rows(
            "SELECT DISTINCT job FROM links JOIN jobs ON jobs.number = links.job WHERE state = ?",
            State.PLANNED,
        )
        return [job for (job,) in rows]

    def is_ready(self, number: int) -> bool:
        """Whether a job is chosen for this run, and every job that it takes something from has an output."""
        such = f"number = ? AND {self._chosen} AND {READY}"
        return self.file.row(f"SELECT 1 FROM jobs WHERE {such}", number) is not None

    def want(self, pattern: str, only: Sequence[int] | None = None) -> int | None:
        """Send in this run only jobs whose names match this pattern, and what they take.

        Args:
            pattern: of a name, with ``*``, ``?`` and ``[…]``.
            only: numbers of the jobs among which such names are looked for; None for all.

        Returns:
            How many jobs are left for a later run; None, and all are chosen, if no name matches it.
        """
        self.file.write("DROP TABLE IF EXISTS temp.wanted")
        self.file.write("CREATE TEMP TABLE wanted (number INTEGER PRIMARY KEY)")
        self.file.write(
            "WITH RECURSIVE found (number) AS (SELECT number FROM jobs WHERE listed = 1 AND name GLOB ?1 "
            "AND (?2 IS NULL OR number IN (SELECT value FROM json_each(?2))) "
            "UNION SELECT source FROM found JOIN edges ON edges.job = found.number "
            "UNION SELECT older.number FROM found JOIN jobs USING (number) "
            "JOIN older ON older.fold = jobs.fold AND older.ordered = 1) "
            "INSERT INTO wanted SELECT number FROM found",
            pattern,
            None if only is None else as_json(list(only)),
        )
        if self.file.row("SELECT 1 FROM temp.wanted LIMIT 1") is None:
            return None
        self._chosen = "jobs.number IN (SELECT number FROM temp.wanted)"
        unsent = "listed = 1 AND state IN ('planned', 'blocked') AND number NOT IN (SELECT number FROM older)"
        row = self.file.row(f"SELECT count(*) FROM jobs WHERE {unsent} AND NOT {self._chosen}")
        return int(row[0]) if row else 0

    def _linked(self, number: int) -> Iterator[tuple[str, Link, tuple[Task, ...]]]:
        """Every link of a job, with the tasks of its source."""
        query = (
            "SELECT links.text, source.name, source.tasks FROM links "
            "LEFT JOIN jobs AS source ON source.fold = links.source WHERE links.job = ?"
        )
        for text, name, tasks in self.file.rows(query, number):
            yield text, link_of(text), tasks_of(tasks, f"tasks of {name!r:.80}")


def link_of(text: str) -> Link:
    """The link of a row.

    Raises:
        JournalError: it is none.
    """
    link = parse_link(text)
    if link is None:
        raise damage(f"link {text!r:.80}")
    return link


_WITHOUT_OUTPUT: Final[Mapping[str | None, str]] = {
    None: "is gone",
    State.FAILED: "has failed",
    State.REFUSED: "was refused",
    State.UNCERTAIN: "is uncertain",
    State.BLOCKED: "is blocked",
}
"""By state of a source, why its links lead to nothing in this run."""

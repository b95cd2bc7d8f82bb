"""What the jobs of an engine take of each other, in its database. Blocking: call it in threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from attrs import frozen

from seedance_async.integrations.engine.database import Database, jobs, links, now_of, pages
from seedance_async.models.links import Link, parse_link

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from seedance_async.models import Task


@frozen(kw_only=True)
class LinkRow:
    """A link of a job; ``url`` is None where its source has no such output."""

    text: str
    source: str
    ended_at: float | None
    task_id: str | None
    url: str | None
    renew_as: str | None


class LinkTables(Database):
    """The links between jobs."""

    def add_links(self, connection: sa.Connection, job: str, sources: Mapping[Link, str]) -> bool:
        """Put down what a job takes of which others; whether it waits for one of them."""
        known = {row.text: row for row in connection.execute(sa.select(links).where(links.c.job == job))}
        waits = False
        for link, source in sources.items():
            row = known.get(str(link))
            if row is None or row.source != source:  # the source was edited: it is another job
                connection.execute(sa.delete(links).where(links.c.job == job, links.c.text == str(link)))
                connection.execute(sa.insert(links).values(job=job, text=str(link), source=source))
                waits = True
            else:
                waits = waits or row.ended_at is None
        return waits

    def links_of(self, job: str) -> list[LinkRow]:
        """What a job takes of others."""
        with self.transaction() as connection:
            return [_link(row) for row in connection.execute(sa.select(links).where(links.c.job == job))]

    def open_links(self, keys: Sequence[str]) -> dict[str, set[str]]:
        """By job, the sources whose end is not known, of these jobs."""
        found: dict[str, set[str]] = {}
        which = sa.select(links.c.job, links.c.source).where(links.c.ended_at.is_(None))
        with self.transaction() as connection:
            for page in pages(keys):
                for job, source in connection.execute(which.where(links.c.job.in_(page))):
                    found.setdefault(job, set()).add(source)
        return found

    def end_links(
        self, source: str, tasks: Sequence[Task], release: Callable[[sa.Connection, str], None]
    ) -> list[str]:
        """Record the end of a job with everything that takes its output.

        Args:
            source: key of the job that has ended.
            tasks: its final tasks; none where it has no output.
            release: enqueues a job by its intent as JSON, in the same transaction.

        Returns:
            The keys of the jobs that were released.
        """
        released = []
        with self.alone() as connection:  # of two sources that end together, the second sees both ends
            which = sa.select(links).where(links.c.source == source, links.c.ended_at.is_(None))
            rows = list(connection.execute(which))
            for row in rows:
                self._end_link(connection, _link(row), row.job, tasks)
            for job in sorted({row.job for row in rows}):
                waits = sa.select(links.c.text).where(links.c.job == job, links.c.ended_at.is_(None))
                if connection.execute(waits).first() is None:
                    intent = sa.select(jobs.c.intent).where(jobs.c.key == job)
                    release(connection, connection.execute(intent).scalar_one())
                    released.append(job)
        return released

    def _end_link(self, connection: sa.Connection, row: LinkRow, job: str, tasks: Sequence[Task]) -> None:
        found = found_output(row.text, tasks)
        task_id, url, renew_as = found or (None, None, None)
        values = {"ended_at": now_of(connection), "task_id": task_id, "url": url, "renew_as": renew_as}
        where = (links.c.job == job) & (links.c.text == row.text)
        connection.execute(sa.update(links).where(where).values(**values))

    def renew_link(self, job: str, text: str, url: str) -> None:
        """The server has given another URL for what a job takes."""
        with self.transaction() as connection:
            renewed = sa.update(links).where(links.c.job == job, links.c.text == text)
            connection.execute(renewed.values(url=url, ended_at=now_of(connection)))


def found_output(text: str, tasks: Sequence[Task]) -> tuple[str, str, str] | None:
    """Task, URL, and the link by which that task alone gives a fresh URL, of what a link leads to."""
    link = parse_link(text)
    task, url = (link.task(tasks), link.url(tasks)) if link else (None, None)
    if link is None or task is None or url is None:
        return None
    alone = link if len(tasks) == 1 else Link(link.job, link.output)
    return task.id, url, str(alone)


def _link(row: sa.Row[Any]) -> LinkRow:
    return LinkRow(
        text=row.text,
        source=row.source,
        ended_at=row.ended_at,
        task_id=row.task_id,
        url=row.url,
        renew_as=row.renew_as,
    )

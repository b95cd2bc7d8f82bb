"""The outputs of other jobs that a job takes: their URLs, renewed where they may have expired."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from seedance_async.batch.sources import FRESH
from seedance_async.batch.states import State
from seedance_async.errors import SeedanceError
from seedance_async.integrations.engine.database import patiently
from seedance_async.integrations.engine.link_tables import found_output
from seedance_async.integrations.engine.outcomes import Outcome, error_facts
from seedance_async.logs import Log

if TYPE_CHECKING:
    from seedance_async.engine import Engine
    from seedance_async.integrations.engine.intents import Intent
    from seedance_async.integrations.engine.link_tables import LinkRow
    from seedance_async.integrations.engine.tables import Tables

log: Log = Log(__name__)

NO_SUCH_OUTPUT: Final = "made of {links}: its source has no such output"


class Sources:
    """Finds what a worker's jobs take of others.

    Args:
        engine: the running client's, which asks for fresh URLs.
        tables: of the distributed engine.
    """

    def __init__(self, engine: Engine, tables: Tables) -> None:
        self._engine = engine
        self._tables = tables

    async def urls(self, intent: Intent) -> dict[str, str] | Outcome:
        """The URL of each link, not older than ``FRESH``; blocked where a source has none."""
        rows = await patiently(self._tables.links_of, intent.key)
        missing = [row.text for row in rows if row.url is None]
        if missing:
            state = State.BLOCKED if all(row.ended_at is not None for row in rows) else State.PLANNED
            reason = SeedanceError(NO_SUCH_OUTPUT.format(links=", ".join(missing)))
            return Outcome(state=state, was_sent=False, error=error_facts(reason))
        return {row.text: await self._fresh(intent, row) for row in rows}

    async def _fresh(self, intent: Intent, row: LinkRow) -> str:
        """The URL of a link, renewed where it may have expired; the old one where that fails."""
        url, ended_at = str(row.url), row.ended_at or 0.0
        fresh_for = FRESH * self._engine.time_scale
        if await patiently(self._tables.now) - ended_at < fresh_for or row.task_id is None:
            return url
        try:
            task = await self._engine.task(row.task_id)
        except SeedanceError as problem:
            log.warning("the URL of %s could not be renewed: %s", row.text, problem.message)
            return url
        found = found_output(row.renew_as or row.text, [task])
        if found is None:
            return url
        await patiently(self._tables.renew_link, intent.key, row.text, found[1])
        return found[1]

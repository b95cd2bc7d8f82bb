"""A store in PostgreSQL: one row per name, replaced by one statement that waits for the row's lock.

It uses one connection, opened at its first use and again after it broke. A missing table is created; where
the database user must not create tables, an administrator can do it with the statement `TABLE`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from seedance_async.budget.shared_store import MOST_CHARACTERS, Kept, StoreUnavailableError
from seedance_async.errors import ConfigurationError

TABLE: Final = """
CREATE TABLE IF NOT EXISTS seedance_budget (
    account text PRIMARY KEY, version bigint NOT NULL, page text NOT NULL
)
"""

_MOMENT: Final = """
    extract(epoch FROM clock_timestamp())::float8 AS at,
    extract(epoch FROM pg_postmaster_start_time())::text AS server,
    extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8 AS up_for
"""
_READ: Final = f"""
SELECT version, CASE WHEN length(page) > {MOST_CHARACTERS} THEN '' ELSE page END AS page, {_MOMENT}
FROM (SELECT) AS always LEFT JOIN seedance_budget ON account = $1
"""
# After a power cut more than a minute passes, so no write waits for the disk; valid for this transaction
# only.
_REPLACE: Final = f"""
WITH quick AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
INSERT INTO seedance_budget AS kept (account, version, page)
SELECT $1::text, extract(epoch FROM clock_timestamp()) * 1000000, $3::text FROM quick
WHERE $2::bigint = 0 OR EXISTS (SELECT FROM seedance_budget WHERE account = $1)
ON CONFLICT (account) DO UPDATE SET version = kept.version + 1, page = excluded.page
WHERE kept.version = $2::bigint
RETURNING version, page, {_MOMENT}
"""


class PostgresStore:
    """The table ``seedance_budget`` of a database.

    Args:
        url: the database's URL, in the form that libpq accepts.

    Raises:
        ConfigurationError: asyncpg is not installed.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None
        try:
            import asyncpg  # noqa: F401, PLC0415 - an extra
        except ImportError:
            message = 'a budget in PostgreSQL needs asyncpg: pip install "seedance-async[postgres]"'
            raise ConfigurationError(message) from None

    async def read(self, name: str) -> Kept:
        """The stored text; see ``Store``."""
        kept = await self._ask(_READ, name)
        if kept is None:
            raise StoreUnavailableError("no row")
        return kept

    async def replace(self, name: str, version: int, text: str) -> Kept | None:
        """Write, if the stored text has this version; see ``Store``."""
        return await self._ask(_REPLACE, name, version, text)

    async def close(self) -> None:
        """Close the connection at once, as no statement is running."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _ask(self, question: str, *values: object) -> Kept | None:
        """The row that a statement returns; None if it returns none."""
        try:
            if self._connection is None:
                self._connection = await self._connect()
            row = await self._connection.fetchrow(question, *values)
            return None if row is None else _kept(row)
        except Exception as problem:  # drivers raise more than they document; none of it may end the client
            await self.close()
            raise StoreUnavailableError(type(problem).__name__) from None  # its text may quote the URL
        except BaseException:
            await self.close()  # so that the late answer is not taken for that of the next statement
            raise

    async def _connect(self) -> Any:  # noqa: ANN401 - asyncpg has no type hints
        import asyncpg  # noqa: PLC0415 - as above

        # No statement cache: a pooler in between may execute each statement on another server connection.
        connection = await asyncpg.connect(self._url, statement_cache_size=0)
        try:
            if await connection.fetchval("SELECT to_regclass('seedance_budget')::text") is None:
                await _create(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection


async def _create(connection: Any) -> None:  # noqa: ANN401 - as above
    import asyncpg  # noqa: PLC0415 - as above

    # Another process creates it at the same time: which error is raised depends on how far that one is.
    made_meanwhile = (asyncpg.UniqueViolationError, asyncpg.DuplicateTableError, asyncpg.DuplicateObjectError)
    with suppress(*made_meanwhile):
        await connection.execute(TABLE)


def _kept(row: Any) -> Kept:  # noqa: ANN401 - as above
    return Kept(
        version=row["version"] or 0,
        text=row["page"],
        at=row["at"],
        server=row["server"],
        up_for=row["up_for"],
    )

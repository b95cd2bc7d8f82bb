"""The database of an engine through SQLAlchemy: its own tables, its transactions, and its clock.

The tables are in the database of DBOS, so a job, its links and its workflow are enqueued in one transaction.
What has happened to a job is the engine's record; here is what several jobs share, and the bytes of a job
whose links were replaced.

Blocking: call it in threads.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

import anyio
import sqlalchemy as sa
from anyio import to_thread
from sqlalchemy import event
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from seedance_async.errors import ConfigurationError
from seedance_async.logs import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy.engine.interfaces import DBAPIConnection

    from seedance_async.integrations.engine.addresses import EngineAddress

log: Log = Log(__name__)

P = ParamSpec("P")
T = TypeVar("T")

PAGE: Final = 500
"""Keys or jobs in one statement or transaction."""

BROKEN: Final = (OperationalError, InterfaceError, InternalError, PoolTimeoutError)
"""The errors of a connection that is broken, or was never made, and of a transaction to be repeated.

``InternalError``: a server that takes no writes after a failover. ``PoolTimeoutError``: every connection of
the pool waits for a host that is gone.
"""

AWAY_WAIT: Final = 0.5
"""Seconds between two attempts at a database that does not answer."""

PATIENCE: Final = 10
"""Seconds until a connection is given up."""

KEEPALIVES: Final = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,  # ms, for what was sent and is not acknowledged
}
"""By which this end notices a host that is gone; without them it takes hours."""

metadata: sa.MetaData = sa.MetaData()
facts: sa.Table = sa.Table(
    "seedance_facts",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
batches: sa.Table = sa.Table(
    "seedance_batches",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("nonce", sa.LargeBinary, nullable=False),
    sa.Column("cap", sa.Float),
    sa.Column("ledger", sa.Text, nullable=False),
    sa.Column("stopped", sa.Text),
)
jobs: sa.Table = sa.Table(
    "seedance_jobs",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("batch", sa.Text, nullable=False),
    sa.Column("fold", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("intent", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("body", sa.Text),  # as it is sent, from the first POST on
    sa.Column("refusals", sa.Integer, nullable=False, default=0),  # of its key, one after the other
    sa.Column("account", sa.Text),  # that it is sent with, from the first POST on
    sa.Column("task_id", sa.Text),  # of all its tasks, with spaces between them
    sa.Column("settled", sa.Boolean, nullable=False, default=False),
    sa.Column("concluded", sa.Boolean, nullable=False, default=False),
    sa.Index("seedance_jobs_by_name", "batch", "fold"),
)
links: sa.Table = sa.Table(
    "seedance_links",
    metadata,
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("text", sa.Text, primary_key=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("ended_at", sa.Float),  # when the source's end was known
    sa.Column("task_id", sa.Text),
    sa.Column("url", sa.Text),
    sa.Column("renew_as", sa.Text),  # the link by which that task alone gives a fresh URL
    sa.Index("seedance_links_by_source", "source"),
)


class EngineAwayError(ConfigurationError):
    """The database cannot be reached, or refuses."""


class Database:
    """The database of one engine.

    Args:
        address: where it is.

    Attributes:
        is_postgres: whether it is a server, and no file.
        engine: SQLAlchemy's.
    """

    def __init__(self, address: EngineAddress) -> None:
        self._shown = address.shown
        self.is_postgres: bool = address.path is None
        self.engine: sa.Engine = _postgres(address.url) if self.is_postgres else _sqlite(address.url)

    def create(self) -> None:
        """Make what is missing."""
        with self.reached((DBAPIError,)), self.alone() as connection:
            metadata.create_all(connection)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A transaction.

        Raises:
            EngineAwayError: the database cannot be reached, or refuses.
        """
        with self.reached(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def alone(self) -> Iterator[sa.Connection]:
        """A transaction that waits for every other one of this sort, as on a SQLite file all do."""
        with self.transaction() as connection:
            if self.is_postgres:
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended('seedance', 0))"))
            yield connection

    @contextmanager
    def reached(self, kinds: tuple[type[SQLAlchemyError], ...] = BROKEN) -> Iterator[None]:
        """Say of a database that cannot be reached which one it is, without its password."""
        try:
            yield
        except kinds as problem:
            cause = getattr(problem, "orig", None) or problem
            reason = str(cause).strip().splitlines() or [type(cause).__name__]
            message = f"the engine's database {self._shown} cannot be used: {reason[-1]}"
        else:
            return
        raise EngineAwayError(message)  # without the cause, whose text may have more of the address

    def now(self) -> float:
        """The database's wall clock, the one that all hosts share."""
        with self.transaction() as connection:
            return now_of(connection)


async def patiently(operation: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Do something in the database in a thread; where it is away, until it is back. One warning tells."""
    is_told = False
    while True:
        try:
            return await to_thread.run_sync(partial(operation, *args, **kwargs))
        except EngineAwayError as away:
            if not is_told:
                log.warning("%s; waiting for it", away.message)
            is_told = True
            await anyio.sleep(AWAY_WAIT)


def pages(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Values in groups of at most ``PAGE``."""
    return (values[start : start + PAGE] for start in range(0, len(values), PAGE))


def now_of(connection: sa.Connection) -> float:
    """The database's wall clock, in a transaction."""
    if connection.dialect.name == "postgresql":
        clock = "SELECT extract(epoch FROM clock_timestamp())::float8"
    else:
        clock = "SELECT (julianday('now') - 2440587.5) * 86400.0"
    return float(connection.scalar(sa.text(clock)) or 0.0)


def _postgres(url: str) -> sa.Engine:
    # The server's end needs keepalives, too: it holds the locks of a host that is gone until it notices.
    notices = "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
    connecting = {"connect_timeout": PATIENCE, "options": notices, **KEEPALIVES}
    address = sa.make_url(url).set(drivername="postgresql+psycopg")
    return sa.create_engine(address, connect_args=connecting, pool_pre_ping=True, hide_parameters=True)


def _sqlite(url: str) -> sa.Engine:
    engine = sa.create_engine(url, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where they are begun
        connection.execute("PRAGMA busy_timeout = 30000")

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # else two that read first could not both write

    return engine

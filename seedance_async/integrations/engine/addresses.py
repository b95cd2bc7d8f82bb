"""The address of an engine's database: PostgreSQL or a SQLite file, shown without a password.

Pure, but for the path of a SQLite file, which is made absolute.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import unquote

from attrs import evolve, field, frozen

from seedance_async.errors import ConfigurationError
from seedance_async.server_urls import server_url

SCHEMES: Final = frozenset({"postgresql", "postgres"})
EXAMPLES: Final = "postgresql://user@host/database, or sqlite:///path/to/file.sqlite on one host"
ADVICE: Final = "a password is best left to PGPASSWORD or ~/.pgpass, where no list of processes shows it"


@frozen
class EngineAddress:
    """Where an engine keeps its jobs.

    Attributes:
        url: as SQLAlchemy and DBOS read it; it may hold a password.
        shown: for messages, without password and options.
        path: of a SQLite file; None for PostgreSQL.
    """

    url: str = field(repr=False)
    shown: str
    path: Path | None = None


def engine_address(given: object) -> EngineAddress | ConfigurationError:
    """The address that a URL names, or an error that does not repeat the URL: it may hold a password."""
    if not isinstance(given, str):
        return ConfigurationError(f"the engine's URL must be {EXAMPLES}; got a {type(given).__name__}")
    return _sqlite(given) if given.startswith("sqlite:") else _postgres(given)


def _sqlite(text: str) -> EngineAddress | ConfigurationError:
    name = unquote(text.removeprefix("sqlite:///"))
    if not text.startswith("sqlite:///") or not name or "?" in text or ":memory:" in text:
        return ConfigurationError("a SQLite engine must be sqlite:///path/to/file.sqlite, without options")
    path = Path(name).absolute()
    if path.is_dir() or not path.parent.is_dir():
        return ConfigurationError(f"the SQLite engine {path} cannot be a file: check its directory")
    return EngineAddress(f"sqlite:///{path}", f"sqlite:///{path}", path)


def _postgres(text: str) -> EngineAddress | ConfigurationError:
    found = server_url(text, SCHEMES)
    database = "" if found is None else found.path.removeprefix("/")
    if found is None or not database or "/" in database or "," in found.hosts:
        return ConfigurationError(f"the engine's URL cannot be read: it must be {EXAMPLES}; {ADVICE}")
    shown = evolve(found, scheme="postgresql").shown
    return EngineAddress(f"postgresql{text[len(found.scheme) :]}", shown)

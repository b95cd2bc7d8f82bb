"""The address of an engine's database: PostgreSQL or a SQLite file, shown without a password.

Pure, but for the path of a SQLite file, which is made absolute.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from attrs import field, frozen

from seedance_async.errors import ConfigurationError

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
    """The address that a URL is; else an error that does not repeat it, because it may hold a password."""
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
    refusal = ConfigurationError(f"the engine's URL cannot be read: it must be {EXAMPLES}; {ADVICE}")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return refusal
    database = parts.path.removeprefix("/")
    if parts.scheme not in {"postgresql", "postgres"} or not database or parts.fragment:
        return refusal
    if "@" in database or "/" in database:  # the rest of a password with a bare "/", which would be shown
        return refusal
    user = f"{unquote(parts.username)}@" if parts.username else ""
    place = f"[{host}]" if ":" in host else host
    at = f"{place}:{port}" if port else place
    return EngineAddress(f"postgresql{text[len(parts.scheme) :]}", f"postgresql://{user}{at}/{database}")

"""The file of accepted submits and top-ups, with which a sandbox's account survives the end of its process.

When and how a task ends is drawn from the seed when it is accepted, and nothing else draws from that seed. So
it is enough to store the accepted submits in order, with their wall-clock times: submitted again, they make
the same tasks with the same ids, keys, charges and ends. Tasks continue while no process runs, as at a real
server. The first line contains the :class:`Terms` of the file; a file without it does not belong to a sandbox
and is not changed.

The file contains prompts and idempotency keys, so only its owner may read it, and a link in its place is
refused: otherwise anyone who may write to the directory could choose which file is written.

A truncated line, written when the process or the machine stopped, is ignored: its submit was not answered
yet.

Not stored: revoked keys, faults, and how full the windows were.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from attrs import asdict, frozen

from seedance_async.file_lock import try_lock
from seedance_async.logs import Log
from seedance_async.sandbox.calls import Call, fingerprint
from seedance_async.sandbox.options import API_KEY

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path
    from typing import Literal, TextIO

log: Log = Log(__name__)

O_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)


@frozen(kw_only=True)
class Terms:
    """The settings that, together with the submits, determine the ids, ends and balances of a file's tasks.

    Attributes:
        seed: the sandbox's seed.
        speed: the sandbox's speed.
        account: fingerprint of the first API key of the first account.
        credits: the initial credits of that account.
    """

    seed: int = 0
    speed: float = 1.0
    account: str = fingerprint(API_KEY)
    credits: int = 100_000


@frozen
class StoredSubmit:
    """An accepted submit, and the wall-clock time at which it was accepted."""

    at: datetime
    call: Call


@frozen
class StoredTopUp:
    """Credits that were added to an account, and the wall-clock time of this."""

    at: datetime
    account: str
    amount: int


class AccountFile:
    """The file of one sandbox.

    Args:
        path: created if missing, with its directory; if it is a link, reading and writing raise an OSError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def terms(self) -> Terms | None:
        """The terms with which the file was begun; None if it is missing or empty.

        Raises:
            ValueError: it is not the file of a sandbox.
        """
        match next(self._lines(), None if self._is_empty() else ""):
            case None:
                return None
            case {
                "seed": int(seed),
                "speed": float(speed),
                "account": str(account),
                "credits": int(amount),
            }:
                return Terms(seed=seed, speed=speed, account=account, credits=amount)
            case _:
                raise ValueError(f"{self._path} was not written by a sandbox; name another file")

    def begin(self, terms: Terms) -> None:
        """Begin the file with these terms, or check that it was begun with them.

        Raises:
            ValueError: it was begun with other terms, or is not the file of a sandbox.
        """
        known = self.terms
        if known is None:
            self._append(asdict(terms))
        elif known != terms:
            differing = " and ".join(_differences(known, terms))
            raise ValueError(f"{self._path} was begun with {differing}; give the same, or name another file")

    @contextmanager
    def held(self) -> Generator[None]:
        """Keep the file for one process, as two would charge the same credits and know half of the tasks.

        Raises:
            ValueError: another process has it.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._open("a+") as file:
            if not _takes_lock(file.fileno()):
                raise ValueError(f"{self._path} is in use by another sandbox; name another file")
            yield

    @property
    def ports(self) -> tuple[int, int]:
        """The ports of the last process, which are contained in the URLs it returned; 0 if unknown."""
        last = 0, 0
        for line in self._lines():
            match line:
                case {"ports": [int(api), int(media)]}:
                    last = api, media
                case _:
                    pass
        return last

    def set_ports(self, ports: tuple[int, int]) -> None:
        """Store the ports at which the sandbox listens now."""
        if ports != self.ports:
            self._append({"ports": ports})

    def add_submit(self, call: Call, *, at: datetime) -> None:
        """Store a submit that was accepted at this wall-clock time."""
        self._append(
            {
                "at": at.timestamp(),
                "path": call.path,
                "key": call.key,
                "idempotency_key": call.idempotency_key,
                "body": call.body.decode(),
            }
        )

    def add_top_up(self, account: str, amount: int, *, at: datetime) -> None:
        """Store credits that were added to an account at this wall-clock time."""
        self._append({"at": at.timestamp(), "account": account, "top_up": amount})

    def events(self) -> list[StoredSubmit | StoredTopUp]:
        """All submits and top-ups, oldest first."""
        return [event for line in self._lines() if (event := _read_event(line)) is not None]

    def clear(self) -> None:
        """Remove all submits and top-ups; the terms and ports are kept."""
        terms, ports = self.terms, self.ports
        self._path.unlink(missing_ok=True)
        if terms:
            self.begin(terms)
            self.set_ports(ports)

    def _is_empty(self) -> bool:
        """Whether the file has no content, or only a truncated first line."""
        try:
            with self._open("r") as file:
                text = file.read(_LONGEST_TERMS)
        except FileNotFoundError:
            return True
        return _TERMS_BEGIN.startswith(text[: len(_TERMS_BEGIN)]) and "\n" not in text

    def _lines(self) -> Iterator[object]:
        try:
            with self._open("r") as file:
                text = file.read()
        except FileNotFoundError:
            return
        for line in text.splitlines():
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
                log.info("%s: a line of %d characters that cannot be read is left out", self._path, len(line))

    def _append(self, line: dict[str, object]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._open("a+") as file:
            # The last line may be truncated, as a process was killed or the disk was full.
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            begin = "" if file.read() in {"", "\n"} else "\n"
            file.write(f"{begin}{json.dumps(line)}\n")

    def _open(self, mode: Literal["r", "a+"]) -> TextIO:
        return open(self._path, mode, encoding="utf-8", errors="replace", opener=_open_private)


def _differences(known: Terms, given: Terms) -> Iterator[str]:
    """The terms with which the file was begun, as far as they differ from those given."""
    for name, value in asdict(known).items():
        if value != getattr(given, name):
            yield "another API key" if name == "account" else f"{name} {value:,.10g}"


def _takes_lock(file: int) -> bool:
    """Lock a file until it is closed; return whether no other process has it locked."""
    try:
        return try_lock(file)
    except OSError:  # a file system without locks
        return True


def _open_private(path: str, flags: int) -> int:
    """Open a file with access for its owner only, and never through a link."""
    try:
        return os.open(path, flags | O_NOFOLLOW, 0o600)
    except OSError as problem:
        if os.path.islink(path):  # noqa: PTH114 - the error number differs between systems
            message = "the sandbox does not keep its account in a file that a link leads to"
            raise OSError(problem.errno, message, path) from None
        raise


def _read_event(line: object) -> StoredSubmit | StoredTopUp | None:
    match line:
        case {"at": float(at), "account": str(account), "top_up": int(amount)}:
            return StoredTopUp(datetime.fromtimestamp(at, UTC), account, amount)
        case {
            "at": float(at),
            "path": str(path),
            "key": str(key),
            "idempotency_key": idempotency_key,
            "body": str(body),
        }:
            call = Call(
                number=0,  # numbers count the arrivals of one process
                endpoint="submit",
                method="POST",
                path=path,
                key=key,
                idempotency_key=idempotency_key,
                content_type="application/json",
                body=body.encode(),
            )
            return StoredSubmit(datetime.fromtimestamp(at, UTC), call)
        case _:
            return None


_TERMS_BEGIN: Final = '{"seed": '
_LONGEST_TERMS: Final = 1000

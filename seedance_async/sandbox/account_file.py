"""The file of accepted submits and top-ups, by which a sandbox's account survives the end of its process.

When and how a task ends is drawn from the seed at its acceptance, and nothing else draws from that seed. So
the accepted submits are enough, in order and with their wall instants: submitted again they make the same
tasks with the same ids, keys, charges and ends. Tasks continue while no process runs, as at a real server.
Its first line has the :class:`Terms` by which they do; a file without it is not a sandbox's, and not touched.

The file contains prompts and idempotency keys, so only its owner may read it, and a link in its place is
refused: whoever may write into the directory could otherwise choose which file is written.

A line that was cut, because the process or the machine died while it was written, is left out: its submit was
not answered yet.

Not stored: revoked keys, faults, and how full the windows were.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from attrs import asdict, frozen

from seedance_async.logs import Log
from seedance_async.sandbox.calls import Call, fingerprint
from seedance_async.sandbox.options import API_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Literal, TextIO

log: Log = Log(__name__)

O_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)


@frozen(kw_only=True)
class Terms:
    """What the ids, ends and balances of a file's tasks follow from, beside the tasks themselves.

    Attributes:
        seed: of the sandbox.
        speed: of the sandbox.
        account: fingerprint of the first account's first API key.
        credits: what that account held at first.
    """

    seed: int = 0
    speed: float = 1.0
    account: str = fingerprint(API_KEY)
    credits: int = 100_000


@frozen
class StoredSubmit:
    """An accepted submit, and the wall instant at which it was accepted."""

    at: datetime
    call: Call


@frozen
class StoredTopUp:
    """Credits that were added to an account, and the wall instant at which they were."""

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
        """What the file was begun with; None if it is missing or empty.

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
        """Begin the file with these terms, or check that it was.

        Raises:
            ValueError: it was begun with others, or is not the file of a sandbox.
        """
        known = self.terms
        if known is None:
            self._append(asdict(terms))
        elif known != terms:
            differing = " and ".join(_differences(known, terms))
            raise ValueError(f"{self._path} was begun with {differing}; give the same, or name another file")

    @property
    def ports(self) -> tuple[int, int]:
        """The ports of the last process, to which URLs that it returned still lead; 0 if unknown."""
        last = 0, 0
        for line in self._lines():
            match line:
                case {"ports": [int(api), int(media)]}:
                    last = api, media
                case _:
                    pass
        return last

    def set_ports(self, ports: tuple[int, int]) -> None:
        """Store where the sandbox listens now."""
        if ports != self.ports:
            self._append({"ports": ports})

    def add_submit(self, call: Call, *, at: datetime) -> None:
        """Store a submit that was accepted at this wall instant."""
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
        """Store credits that were added to an account at this wall instant."""
        self._append({"at": at.timestamp(), "account": account, "top_up": amount})

    def events(self) -> list[StoredSubmit | StoredTopUp]:
        """Everything that happened to the account, oldest first."""
        return [event for line in self._lines() if (event := _read_event(line)) is not None]

    def clear(self) -> None:
        """Forget what happened to the account; its terms and ports stay."""
        terms, ports = self.terms, self.ports
        self._path.unlink(missing_ok=True)
        if terms:
            self.begin(terms)
            self.set_ports(ports)

    def _is_empty(self) -> bool:
        """Whether it has nothing yet, or no more than the beginning of the first line, cut short."""
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
            # A process may have died, or the disk been full, in the middle of the last line.
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            begin = "" if file.read() in {"", "\n"} else "\n"
            file.write(f"{begin}{json.dumps(line)}\n")

    def _open(self, mode: Literal["r", "a+"]) -> TextIO:
        return open(self._path, mode, encoding="utf-8", errors="replace", opener=_open_private)


def _differences(known: Terms, given: Terms) -> Iterator[str]:
    """What the file was begun with, where it is not what is given."""
    for name, value in asdict(known).items():
        if value != getattr(given, name):
            yield "another API key" if name == "account" else f"{name} {value:,.10g}"


def _open_private(path: str, flags: int) -> int:
    """Open a file that only its owner may read, and never through a link."""
    try:
        return os.open(path, flags | O_NOFOLLOW, 0o600)
    except OSError as problem:
        if os.path.islink(path):  # noqa: PTH114 - systems have different errors for it
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

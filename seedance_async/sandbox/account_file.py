"""The file of accepted submits, by which a sandbox's account survives the end of its process.

When and how a task ends is drawn from the seed at its acceptance, and nothing else draws from that seed. So
the accepted submits are enough, in order and with their wall instants: submitted again they make the same
tasks with the same ids, keys, charges and ends. Tasks continue while no process runs, as at a real server.

The file contains prompts and idempotency keys, so only its owner may read it, and a link in its place is
refused: whoever may write into the directory could otherwise choose which file is written.

A line that was cut, because the process or the machine died while it was written, is left out: its submit was
not answered yet.

Not stored: top-ups, revoked keys, faults, and how full the windows were.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from attrs import frozen

from seedance_async.sandbox.calls import Call

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Literal, TextIO

log: logging.Logger = logging.getLogger(__name__)

O_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)


@frozen
class StoredSubmit:
    """An accepted submit, and the wall instant at which it was accepted."""

    at: datetime
    call: Call


class AccountFile:
    """The file of one sandbox.

    Args:
        path: created if missing, with its directory; if it is a link, reading and writing raise an OSError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

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

    def submits(self) -> list[StoredSubmit]:
        """Every submit that was accepted, oldest first."""
        return [submit for line in self._lines() if (submit := _read_submit(line)) is not None]

    def delete(self) -> None:
        """Delete the file."""
        self._path.unlink(missing_ok=True)

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


def _open_private(path: str, flags: int) -> int:
    """Open a file that only its owner may read, and never through a link."""
    try:
        return os.open(path, flags | O_NOFOLLOW, 0o600)
    except OSError as problem:
        if os.path.islink(path):  # noqa: PTH114 - systems have different errors for it
            message = "the sandbox does not keep its account in a file that a link leads to"
            raise OSError(problem.errno, message, path) from None
        raise


def _read_submit(line: object) -> StoredSubmit | None:
    match line:
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

"""An account that outlives its process: accepted submits in a file, from which the world is made anew.

A task's whole fate is drawn from the seed when it is accepted, and nothing else draws from it. So the
accepted submits are enough, in order and with their wall instants: played again they make the same tasks
with the same ids, keys, charges and ends. Whatever was under way goes on meanwhile, as at a real server.

Prompts and idempotency keys stand in the file, so it is for its owner's eyes, and a link in its place is
refused: whoever may write into the directory could otherwise choose what is written to.

Not kept: top-ups, revoked keys, faults, and how full the windows were.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from attrs import frozen

from seedance_async.sandbox.exchange import Call

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Literal, TextIO

NOT_THROUGH_LINKS: Final = getattr(os, "O_NOFOLLOW", 0)


@frozen
class Kept:
    """An accepted submit, and the wall instant of its acceptance."""

    at: datetime
    call: Call


class Memory:
    """The file of one sandbox.

    Args:
        path: made if missing, and its directory too; if it is a link, reading and writing raise an OSError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def ports(self) -> tuple[int, int]:
        """Where the sandbox listened last: URLs that it handed out still lead there. 0 if unknown."""
        last = 0, 0
        for line in self._lines():
            match line:
                case {"ports": [int(api), int(media)]}:
                    last = api, media
                case _:
                    pass
        return last

    def listening(self, ports: tuple[int, int]) -> None:
        """Keep where the sandbox listens now."""
        if ports != self.ports:
            self._add({"ports": ports})

    def accepted(self, call: Call, *, at: datetime) -> None:
        """Keep a submit that was accepted just now."""
        self._add(
            {
                "at": at.timestamp(),
                "path": call.path,
                "key": call.key,
                "idempotency_key": call.idempotency_key,
                "body": call.body.decode(),
            }
        )

    def submits(self) -> list[Kept]:
        """Every submit that was accepted, oldest first."""
        return [kept for line in self._lines() if (kept := _kept(line)) is not None]

    def forget(self) -> None:
        """Begin anew."""
        self._path.unlink(missing_ok=True)

    def _lines(self) -> Iterator[object]:
        try:
            with self._opened("r") as file:
                text = file.read()
        except FileNotFoundError:
            return
        yield from map(json.loads, text.splitlines())

    def _add(self, line: dict[str, object]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._opened("a") as file:
            file.write(json.dumps(line) + "\n")

    def _opened(self, mode: Literal["r", "a"]) -> TextIO:
        return open(self._path, mode, encoding="utf-8", opener=_own)


def _own(path: str, flags: int) -> int:
    """Open a file of the owner's, and nothing that a link leads to."""
    try:
        return os.open(path, flags | NOT_THROUGH_LINKS, 0o600)
    except OSError as problem:
        if os.path.islink(path):  # noqa: PTH114 - systems have different errors for it
            told = "the sandbox keeps its memory in no file that a link leads to"
            raise OSError(problem.errno, told, path) from None
        raise


def _kept(line: object) -> Kept | None:
    match line:
        case {"at": float(at), "path": str(path), "key": str(key), "idempotency_key": own, "body": str(body)}:
            call = Call(
                number=0,  # numbers count the arrivals of one life
                endpoint="submit",
                method="POST",
                path=path,
                key=key,
                idempotency_key=own,
                content_type="application/json",
                body=body.encode(),
            )
            return Kept(datetime.fromtimestamp(at, UTC), call)
        case _:
            return None

"""The URLs that were sent under an idempotency key, kept so that the same bytes can be sent again.

A URL gets a new signature each time, but under its key a server accepts only exactly the same bytes. A batch
keeps the URLs in its journal; for all other POSTs with local files they are kept here: in memory, and in the
state directory, readable by the owner only. After ``LIFE`` they have expired and are deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from anyio import to_thread

from seedance_async import clocks
from seedance_async.budget.file_memory import outlives_a_process
from seedance_async.logs import Log
from seedance_async.safe_files import OWNER, replacing
from seedance_async.state_files import state_directory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from yarl import URL

log: Log = Log(__name__)

LIFE: Final = 7 * 24 * 3600.0
"""Seconds, by the wall clock, after which a kept URL is deleted."""

REMEMBERED_KEYS: Final = 10_000
FOLDER: Final = "sent-urls"


class KeptUrls:
    """The URLs sent under the keys of one account.

    Args:
        account: the account's name, see ``ApiKey.account``.
        base_url: the API's URL; for a sandbox nothing is kept on disk unless ``SEEDANCE_STATE_DIR`` is set.
    """

    def __init__(self, account: str, base_url: URL) -> None:
        self._account = account
        self._directory: Path | None = None
        with suppress(RuntimeError):  # no home directory and no state directory: in memory only
            self._directory = state_directory() / FOLDER if outlives_a_process(base_url) else None
        self._known: OrderedDict[str, Mapping[str, str]] = OrderedDict()

    async def of(self, key: str) -> Mapping[str, str]:
        """The URLs sent under a key, by content reference; empty if there are none."""
        if key not in self._known and self._directory is not None:
            return await to_thread.run_sync(self._read, self._directory / self._name(key))
        return self._known.get(key, {})

    async def keep(self, key: str, urls: Mapping[str, str]) -> None:
        """Keep the URLs that will be sent under a key."""
        self._known[key] = urls
        while len(self._known) > REMEMBERED_KEYS:
            self._known.popitem(last=False)
        if self._directory is not None:
            await to_thread.run_sync(self._write, self._directory, self._name(key), urls)

    def _name(self, key: str) -> str:
        return f"{hashlib.sha256(f'{self._account} {key}'.encode()).hexdigest()}.json"

    def _read(self, path: Path) -> Mapping[str, str]:
        try:
            kept = json.loads(path.read_bytes())
        except (OSError, ValueError):
            return {}
        is_sound = isinstance(kept, dict) and all(isinstance(url, str) for url in kept.values())
        return kept if is_sound else {}

    def _write(self, directory: Path, name: str, urls: Mapping[str, str]) -> None:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with replacing(directory / name, OWNER) as file:
                file.write(json.dumps(urls).encode())
            _delete_old(directory)
        except OSError as problem:
            log.warning(
                "%s cannot be written (%s): a POST with local files can be sent again by this process only",
                directory,
                problem.strerror,
            )


def _delete_old(directory: Path) -> None:
    oldest = clocks.wall_now() - LIFE
    with os.scandir(directory) as entries:
        for entry in entries:
            with suppress(OSError):
                if entry.stat(follow_symlinks=False).st_mtime < oldest:
                    os.unlink(entry.path)  # noqa: PTH108 - the entry has a text

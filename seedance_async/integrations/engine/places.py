"""The place of the workers' files: a directory that all hosts share, or a prefix of an object store.

Files of a store are saved into a temporary directory first, so they are whole and named before they go there.
"""

from __future__ import annotations

import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from anyio import to_thread

from seedance_async import arguments
from seedance_async.errors import ConfigurationError, DownloadError, MediaError
from seedance_async.media import ObjectStore
from seedance_async.models.display import shown

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager


class Place(Protocol):
    """Where files go."""

    shown: str

    def directory(self) -> AbstractAsyncContextManager[Path]:
        """A directory to save the files of one job into; they are in their place once the block has ended."""
        ...


class SharedDirectory:
    """A directory that all hosts mount, each at a path of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self.shown: str = str(path)

    @asynccontextmanager
    async def directory(self) -> AsyncIterator[Path]:
        """The directory itself."""
        yield self._path


class StorePrefix:
    """A prefix of an object store."""

    def __init__(self, url: str) -> None:
        self._store = ObjectStore(url)
        self.shown: str = url

    @asynccontextmanager
    async def directory(self) -> AsyncIterator[Path]:
        """A temporary directory, whose files go into the store.

        Raises:
            DownloadError: the store did not take one, or has another file of its name, which stays.
        """
        with tempfile.TemporaryDirectory(prefix="seedance-") as name:
            base = Path(name)
            yield base
            for path in await to_thread.run_sync(_files, base):
                describes = path.suffix == ".json" and path.with_suffix("").is_file()  # which went before it
                try:
                    await self._store.save(path, path.relative_to(base).as_posix(), replaces=describes)
                except MediaError as problem:
                    raise DownloadError(problem.message) from problem


def read_place(given: str | os.PathLike[str]) -> Place:
    """The place that a path or a URL is.

    Raises:
        ConfigurationError: it is none, or the store cannot be used.
    """
    if fault := arguments.path(given):
        raise ConfigurationError(f"directory {fault}")
    if isinstance(given, str) and "://" in given:
        return StorePrefix(given.rstrip("/"))
    if not str(given):
        raise ConfigurationError(f"directory must be a path or an object store's URL; got {shown(given)}")
    return SharedDirectory(Path(given))


def _files(base: Path) -> list[Path]:
    """The files below a directory, what describes a file after the file itself."""
    return sorted(path for path in base.rglob("*") if path.is_file())

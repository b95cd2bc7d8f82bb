"""Flags for the media store of local files, shared by all commands that send requests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Final

from attrs import frozen
from cyclopts import Group, Parameter

from seedance_async.errors import ConfigurationError
from seedance_async.media.command import PublishCommand
from seedance_async.media.store_setting import VARIABLE

if TYPE_CHECKING:
    from seedance_async.media.inspection import InputFile
    from seedance_async.media.publisher import MediaStore

SANDBOX_ORIGIN: Final = "https://media-store.example"


@Parameter(name="*", group=Group("Local files", sort_key=8))
@frozen(kw_only=True)
class Media:
    """How local files become URLs."""

    media_store: Annotated[
        str | None,
        Parameter(
            help="Upload local pictures and clips to s3://bucket/prefix (also gs:// and az://); "
            f"default {VARIABLE}."
        ),
    ] = None
    publish_with: Annotated[
        str | None,
        Parameter(
            help="Or publish them with this command: it gets the path as its last argument and prints a URL."
        ),
    ] = None

    @property
    def is_given(self) -> bool:
        """Whether there is a media store for local files."""
        return bool(self.media_store or self.publish_with or os.environ.get(VARIABLE))

    def check(self) -> None:
        """Check the flags.

        Raises:
            ConfigurationError: one is unusable, or both were given.
        """
        if self.media_store is not None and self.publish_with is not None:
            raise ConfigurationError("--media-store and --publish-with exclude each other; give only one")
        if self.media_store is not None and not self.media_store.strip():
            raise ConfigurationError("--media-store is empty; it is written as s3://bucket/prefix")
        if self.publish_with is not None:
            PublishCommand(self.publish_with)

    def store(self) -> str | MediaStore | None:
        """Return the client's ``media_store`` argument; None leaves it to the environment."""
        self.check()
        return self.media_store if self.publish_with is None else PublishCommand(self.publish_with)

    def flags(self) -> list[str]:
        """Return the names of the flags that were given."""
        named = {"--media-store": self.media_store, "--publish-with": self.publish_with}
        return [name for name, value in named.items() if value is not None]

    def words(self) -> list[str]:
        """Return the flags as words of a command line."""
        named = {"--media-store": self.media_store, "--publish-with": self.publish_with}
        return [word for name, value in named.items() if value is not None for word in (name, value)]


class PlayStore:
    """Media store of a batch against a sandbox where none is named: nothing is uploaded.

    The sandbox does not fetch media from other hosts.
    """

    async def publish(self, file: InputFile) -> str:
        """Return a URL that does not exist."""
        return f"{SANDBOX_ORIGIN}/{file.key}"

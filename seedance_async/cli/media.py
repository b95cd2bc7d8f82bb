"""Flags that say where local files become URLs; the same wherever a command sends them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Final

from attrs import frozen
from cyclopts import Group, Parameter

from seedance_async.errors import ConfigurationError
from seedance_async.media.command import PublishCommand
from seedance_async.media.settings import VARIABLE

if TYPE_CHECKING:
    from seedance_async.media.inspection import InputFile
    from seedance_async.media.publisher import MediaStore

SANDBOX_ORIGIN: Final = "https://media-store.example"


@Parameter(name="*", group=Group("Local files", sort_key=8))
@frozen(kw_only=True)
class Media:
    """Where local files become URLs."""

    media_store: Annotated[
        str | None,
        Parameter(
            help="Uploads local pictures and clips to s3://bucket/prefix (also gs:// and az://). "
            f"Else {VARIABLE}."
        ),
    ] = None
    publish_with: Annotated[
        str | None,
        Parameter(help="Or a command that gets the path of a file as its last argument and prints its URL."),
    ] = None

    @property
    def is_given(self) -> bool:
        """Whether there is a place for local files."""
        return bool(self.media_store or self.publish_with or os.environ.get(VARIABLE))

    def check(self) -> None:
        """See that the flags make sense.

        Raises:
            ConfigurationError: they do not.
        """
        if self.media_store is not None and self.publish_with is not None:
            raise ConfigurationError("--media-store and --publish-with are two ways of the same; give one")
        if self.media_store is not None and not self.media_store.strip():
            raise ConfigurationError("--media-store is empty; it is written as s3://bucket/prefix")
        if self.publish_with is not None:
            PublishCommand(self.publish_with)

    def store(self) -> str | MediaStore | None:
        """What a client takes for it; None leaves it to the environment."""
        self.check()
        return self.media_store if self.publish_with is None else PublishCommand(self.publish_with)

    def flags(self) -> list[str]:
        """Those that were given."""
        named = {"--media-store": self.media_store, "--publish-with": self.publish_with}
        return [name for name, value in named.items() if value is not None]

    def words(self) -> list[str]:
        """The flags as somebody would type them again."""
        named = {"--media-store": self.media_store, "--publish-with": self.publish_with}
        return [word for name, value in named.items() if value is not None for word in (name, value)]


class PlayStore:
    """What a batch against a sandbox uses where no place is named: nothing is uploaded.

    The sandbox takes media elsewhere on trust.
    """

    async def publish(self, file: InputFile) -> str:
        """An address that leads nowhere."""
        return f"{SANDBOX_ORIGIN}/{file.key}"

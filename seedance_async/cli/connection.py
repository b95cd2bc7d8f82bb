"""Flags for the API's address, the account and its rate limit, shared by all commands that use the API."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from attrs import field, frozen
from cyclopts import Group, Parameter

import seedance_async
from seedance_async.cli.output import write_message
from seedance_async.errors import ConfigurationError
from seedance_async.models import RateLimit, RetryPolicy
from seedance_async.setting_sources import KEY_PAGE
from seedance_async.time_format import format_speed

if TYPE_CHECKING:
    from seedance_async import MediaStore, SeedanceClient

VENDOR: Final = "https://seedance2ai.io/"
DEFAULT_LIMIT: Final = RateLimit()
UNRESOLVED_FOR: Final = 8.0
"""Seconds for which a command at a terminal retries a host name that does not resolve: some five attempts."""

KEY_VARIABLE: Final = "SEEDANCE_API_KEY"
NO_KEY: Final = (
    f"no API key: set {KEY_VARIABLE} or give --api-key; keys are made at {KEY_PAGE}. To try without one: "
    "seedance batch MANIFEST -o DIR --sandbox, seedance demo, or seedance sandbox -- seedance generate …"
)

RateLimitFlag: TypeAlias = Annotated[
    str | None,
    Parameter(
        help="Requests/seconds; default SEEDANCE_RATE_LIMIT, "
        f"else {DEFAULT_LIMIT.requests}/{DEFAULT_LIMIT.period:g}."
    ),
]


@Parameter(name="*", group=Group("Connection", sort_key=9))
@frozen(kw_only=True)
class Connection:
    """How to reach the API; what is left out comes from the environment."""

    api_key: Annotated[str | None, Parameter(help="The account's key; default SEEDANCE_API_KEY.")] = field(
        default=None, repr=False
    )
    base_url: Annotated[
        str | None,
        Parameter(
            help=f"Address of the API; default SEEDANCE_BASE_URL, else {VENDOR}api/v1.", name="--base-url"
        ),
    ] = None
    rate_limit: RateLimitFlag = None
    proxy: Annotated[
        str | None,
        Parameter(
            help="Proxy for the API and downloads: http://user:password@host:port, env (as HTTPS_PROXY and "
            "NO_PROXY say) or none; default SEEDANCE_PROXY."
        ),
    ] = field(default=None, repr=False)
    download_networks: Annotated[
        str | None,
        Parameter(
            help="Networks that files may come from although they are not public, such as 198.18.0.0/15; "
            "default SEEDANCE_DOWNLOAD_NETWORKS."
        ),
    ] = None

    def flags(self) -> list[str]:
        """Return the names of the flags that were given."""
        named = {"--api-key": self.api_key, "--proxy": self.proxy, **self._open_flags()}
        return [name for name, value in named.items() if value is not None]

    def words(self) -> list[str]:
        """Return the flags as words of a command line, except those that hold a secret."""
        return [word for name, value in self._open_flags().items() if value for word in (name, value)]

    def secret_flags(self) -> list[str]:
        """Return the names of the given flags that hold a secret."""
        named = {"--api-key": self.api_key, "--proxy": self.proxy}
        return [name for name, value in named.items() if value is not None]

    def key_source(self) -> str:
        """Return the flag or the variable that the key comes from."""
        return KEY_VARIABLE if self.api_key is None else "--api-key"

    def _open_flags(self) -> dict[str, str | None]:
        return {
            "--base-url": self.base_url,
            "--rate-limit": self.rate_limit,
            "--download-networks": self.download_networks,
        }

    def client(
        self, *, somebody_waits: bool = True, media_store: str | MediaStore | None = None
    ) -> SeedanceClient:
        """Return a client, not opened yet.

        An address that is not the vendor's is written to stderr, because it receives the key.

        Args:
            somebody_waits: whether a user waits at the terminal: a host name that does not resolve is then
                given up after ``UNRESOLVED_FOR`` seconds; a batch retries for longer.
            media_store: where local files become URLs; default that of the environment.

        Raises:
            ConfigurationError: a flag or variable is missing or unusable.
        """
        client = self._client(
            RetryPolicy(max_unresolved=UNRESOLVED_FOR if somebody_waits else None), media_store
        )
        if not client.base_url.startswith(VENDOR):
            from seedance_async.cli.batch_status import speed_of  # noqa: PLC0415 - as below

            write_message(f"API: {client.base_url}{format_speed(speed_of(client))}")
        return client

    def account(self) -> str:
        """Return the name of the account, which identifies it without revealing its key.

        Raises:
            ConfigurationError: a flag or variable is missing or unusable.
        """
        return self._client().account

    def _client(
        self, retry: RetryPolicy | None = None, media_store: str | MediaStore | None = None
    ) -> SeedanceClient:
        if not (os.environ.get(KEY_VARIABLE) if self.api_key is None else self.api_key):
            raise ConfigurationError(NO_KEY)
        limit = RateLimit.parse(self.rate_limit) if self.rate_limit else None
        # Imported late: the HTTP stack takes long to load, and a help page does not need it.
        return seedance_async.SeedanceClient(
            self.api_key,
            self.base_url,
            rate_limit=limit,
            proxy=self.proxy,
            download_networks=self.download_networks,
            retry=retry,
            media_store=media_store,
        )

"""The hosts of sandboxes in other containers, for which the environment allows plain http. Pure.

With plain http, everyone on the network path can read the API key, so it is allowed for sandboxes only: at
loopback, or at a host listed in ``SEEDANCE_SANDBOX_HOSTS``. A real API could be listed there by mistake, so
the vendor's own hosts are refused, and a live key is never sent over http to a host that is not loopback.
"""

from __future__ import annotations

from typing import Final

from seedance_async.errors import ConfigurationError
from seedance_async.network import is_host

VARIABLE: Final = "SEEDANCE_SANDBOX_HOSTS"
VENDOR_HOST: Final = "seedance2ai.io"


def parse_sandbox_hosts(text: str) -> frozenset[str]:
    """The hosts listed in the variable, separated by commas.

    Raises:
        ConfigurationError: one of them is not a host, or is the vendor's.
    """
    hosts = [normal_host(part) for part in text.split(",") if part.strip()]
    for host in hosts:
        if not is_host(host):
            raise ConfigurationError(f"it lists host names, such as sandbox,10.0.0.5; got {host!r}")
        if host == VENDOR_HOST or host.endswith(f".{VENDOR_HOST}"):
            raise ConfigurationError(f"{host} is the real API, which gets a key over https only")
    return frozenset(hosts)


def normal_host(host: str) -> str:
    """The normal form of a host: in lower case, without brackets and without a dot at its end."""
    return host.strip().strip("[]").rstrip(".").lower()

"""The sources of a client's settings: arguments, else the environment.

An error about a setting that may contain a secret is returned, and raised by ``usable``, from a stack frame
that does not contain the secret.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from seedance_async import sandbox_hosts
from seedance_async.credentials import ApiKey, read_key
from seedance_async.errors import ConfigurationError
from seedance_async.models import CreditLimits, RateLimit, RetryPolicy, Timeouts
from seedance_async.models.display import shown
from seedance_async.scheduling.forecast import Forecast

if TYPE_CHECKING:
    from collections.abc import Callable

KEY_PAGE: Final = "https://seedance2ai.io/app/api"

Option = TypeVar("Option", CreditLimits, RateLimit, RetryPolicy, Timeouts, Forecast)
Setting = TypeVar("Setting")
Default = TypeVar("Default")


def read_api_key(given: str | None) -> ApiKey | ConfigurationError:
    """The key given, else that of the environment; or an error."""
    text = given if given is not None else os.environ.get("SEEDANCE_API_KEY")
    if not text:
        return ConfigurationError(
            "no API key: pass api_key= or set SEEDANCE_API_KEY; keys are made at "
            f"{KEY_PAGE}, and `seedance sandbox` serves the whole API on this machine without one"
        )
    return read_key(text)


def read_sandbox_hosts() -> frozenset[str]:
    """The hosts, other than this machine, for which http is allowed."""
    return from_environment(sandbox_hosts.VARIABLE, sandbox_hosts.parse_sandbox_hosts, frozenset())


def usable(found: Setting | ConfigurationError) -> Setting:
    """Return a setting, or raise its error, from a stack frame that contains neither a key nor a password."""
    if isinstance(found, ConfigurationError):
        raise found
    return found


def option(name: str, value: object, default: Option) -> Option:
    """An option, or its default if it is None.

    Raises:
        ConfigurationError: it is of another type, such as a number of seconds for ``timeouts``.
    """
    if value is None:
        return default
    kind = type(default)
    if isinstance(value, kind):
        return value
    example = f"{default}" if attrs.has(kind) else f"{kind.__name__}()"
    raise ConfigurationError(f"{name} must be a {kind.__name__}, such as {example}; got {shown(value)}")


def read_limit(name: str, given: object) -> RateLimit | None:
    """The limit given, else that of the environment variable of this name; None if neither is set."""
    if given is None:
        return from_environment(f"SEEDANCE_{name.upper()}", RateLimit.parse, None)
    return option(name, given, RateLimit())


def from_environment(name: str, parse: Callable[[str], Setting], default: Default) -> Setting | Default:
    """A setting of the environment; ``default`` if it is not set.

    Raises:
        ConfigurationError: it cannot be parsed; the message names the variable.
    """
    text = os.environ.get(name)
    try:
        return parse(text) if text else default
    except ConfigurationError as problem:
        raise ConfigurationError(f"{name}: {problem.message}") from None

"""The packages of the extra ``export``, and the error message if one is missing."""

from __future__ import annotations

import shlex
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from seedance_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator

NEEDED: Final = ("opentimelineio", "otio-cmx3600-adapter", "Pillow", "av")


@contextmanager
def needs(what: str) -> Generator[None]:
    """Turn an `ImportError` of the body, which imports packages of the extra, into a clear error.

    Args:
        what: needs them, for the message.

    Raises:
        ConfigurationError: one is missing; the message names the command that installs them.
    """
    try:
        yield
    except ImportError as problem:
        command = shlex.join([sys.executable, "-m", "pip", "install", *NEEDED])
        raise ConfigurationError(f"{what} needs the packages of the extra, export: {command}") from problem

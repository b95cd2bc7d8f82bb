"""The entry point of the command line, with a one-line message where the extra ``cli`` is not installed.

The message names the extra's packages themselves, so it is right however this package was installed.
"""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec
from typing import Final

from seedance_async.exit_codes import ExitCode

NEEDED: Final = ("cyclopts", "rich")


def main() -> int:
    """Run the ``seedance`` command with the process's own arguments and return its exit code."""
    if not all(find_spec(package) for package in NEEDED):
        command = shlex.join([sys.executable, "-m", "pip", "install", *NEEDED])
        sys.stderr.write(f"the seedance command needs the packages of its extra, cli: {command}\n")
        return ExitCode.USAGE
    from seedance_async.cli.app import run  # noqa: PLC0415 - the extra may be missing

    return run(sys.argv[1:])

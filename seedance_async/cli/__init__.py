"""The door of the command line: it needs the extra ``cli``, and says so in one line where that is missing."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Final

NEEDED: Final = ("cyclopts", "rich")
USAGE: Final = 2


def main() -> int:
    """Run the ``seedance`` command with the process's own arguments and return its exit code."""
    if not all(find_spec(package) for package in NEEDED):
        sys.stderr.write("the seedance command needs its extra: pip install 'seedance-async[cli]'\n")
        return USAGE
    from seedance_async.cli.app import run  # noqa: PLC0415 - the extra may be missing

    return run(sys.argv[1:])

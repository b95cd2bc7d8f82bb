"""``python -m seedance_async``: the same as ``seedance``."""

from __future__ import annotations

import sys

from seedance_async.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""The command ``python -m benchmarks [NAME ...] [--quick] [--json FILE]``: run and print them."""

from __future__ import annotations

import argparse
import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.report import Table

BENCHMARKS: Final = ("schedule", "budget", "overhead", "start", "batch")
"""Modules of this package with a ``run(*, quick: bool) -> list[Table]``."""

ON_DEMAND: Final = ("web",)
"""The same, which run only when they are named: they need an extra, or take a minute."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what was asked for."""
    options = _parser().parse_args(arguments)
    tables: list[Table] = []
    for name in options.names or BENCHMARKS:
        for table in import_module(f"benchmarks.{name}").run(quick=options.quick):
            print(table.render(), end="\n\n", flush=True)
            tables.append(table)
    if options.json:
        options.json.write_text(json.dumps([table.as_json() for table in tables], indent=1) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        choices=[[], *BENCHMARKS, *ON_DEMAND],
        help=", ".join((*BENCHMARKS, *ON_DEMAND)),
    )
    parser.add_argument("--quick", action="store_true", help="fewer and smaller cases")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the tables there as well")
    return parser


if __name__ == "__main__":
    main()

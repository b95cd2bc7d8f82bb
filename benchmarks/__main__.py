"""The command ``python -m benchmarks [NAME ...] [--quick|--full] [--json FILE]``: run and print them."""

from __future__ import annotations

import argparse
import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.report import Size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.report import Table

BENCHMARKS: Final = ("schedule", "budget", "interactive", "overhead", "start", "batch")
"""Modules of this package with a ``run(size: Size) -> list[Table]``."""

ON_DEMAND: Final = ("web",)
"""The same, which run only when they are named: they need an extra, or take a minute."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what was asked for."""
    options = _parser().parse_args(arguments)
    tables: list[Table] = []
    for name in options.names or BENCHMARKS:
        for table in import_module(f"benchmarks.{name}").run(options.size):
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
    parser.set_defaults(size=Size.USUAL)
    sizes = parser.add_mutually_exclusive_group()
    for size, meaning in ((Size.QUICK, "fewer and smaller cases"), (Size.FULL, "as results.json has them")):
        sizes.add_argument(f"--{size.value}", dest="size", action="store_const", const=size, help=meaning)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the tables there as well")
    return parser


if __name__ == "__main__":
    main()

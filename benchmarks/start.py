"""The time to start: importing the package, and commands that need no network.

Byte code is compiled first and kept, as an installed package's is; without that, figures about double.
"""

from __future__ import annotations

import compileall
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import aiohttp

import seedance_async
from benchmarks.report import Size, Table

IMPORTS: Final = (
    ("import aiohttp", "import aiohttp"),
    ("import seedance_async", "import seedance_async"),
    ("from seedance_async import SeedanceClient", "from seedance_async import SeedanceClient"),
    ("from seedance_async import Seedance2Video", "from seedance_async import Seedance2Video"),
)
COMMANDS: Final = (("--version",), ("--help",), ("generate", "--help"), ("sandbox", "--help"))


def run(size: Size) -> list[Table]:
    """Measure both."""
    quick = size is Size.QUICK
    rounds = 5 if quick else 15
    for package in (seedance_async, aiohttp):
        compileall.compile_dir(Path(package.__file__ or "").parent, quiet=2)
    return [_imports(rounds), _commands(rounds)]


def _imports(rounds: int) -> Table:
    took = {name: [_import_seconds(code) for _ in range(rounds)] for name, code in IMPORTS}
    aiohttp_alone = statistics.median(took["import aiohttp"])
    rows = [
        (name, _ms(times), round(statistics.median(times) / aiohttp_alone, 2)) for name, times in took.items()
    ]
    return Table(
        name="start: imports",
        conditions=f"python -X importtime, medians over {rounds} interpreters, byte-compiled",
        columns=("statement", "ms", "of import aiohttp"),
        rows=tuple(rows),
    )


def _import_seconds(code: str) -> float:
    """The sum of what each module cost by itself, as the interpreter reports it, its own start left out."""
    output = _run([sys.executable, "-X", "importtime", "-c", code]).stderr
    bare = _run([sys.executable, "-X", "importtime", "-c", "pass"]).stderr
    return (_self_microseconds(output) - _self_microseconds(bare)) / 1e6


def _self_microseconds(report: str) -> int:
    lines = [line.split("|") for line in report.splitlines() if line.startswith("import time:")]
    return sum(int(cells[0].split(":")[1]) for cells in lines if cells[0].split(":")[1].strip().isdigit())


def _commands(rounds: int) -> Table:
    rows = []
    for arguments in COMMANDS:
        times = []
        for _ in range(rounds):
            began = time.perf_counter()
            _run([sys.executable, "-m", "seedance_async", *arguments])
            times.append(time.perf_counter() - began)
        rows.append((f"seedance {' '.join(arguments)}", _ms(times)))
    return Table(
        name="start: commands without a network",
        conditions=f"wall time of the whole process, medians over {rounds} runs, byte-compiled",
        columns=("command", "ms"),
        rows=tuple(rows),
    )


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=compiled)  # noqa: S603 - our own


def _ms(times: list[float]) -> float:
    return round(statistics.median(times) * 1000, 1)

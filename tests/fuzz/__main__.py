"""The fuzzing command, ``python -m tests.fuzz --seconds 600``: atheris searches for bytes that fail a target.

Each target runs in a process of its own for its share of the time and begins with its seeds. Bytes that fail
one are written to the working directory as ``crash-…``; once fixed they belong among the seeds. The corpus of
each run is stored for the next one in ``.fuzz`` there.

atheris is no dependency: ``pip install atheris`` (Linux).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tests.fuzz.seeds import SEEDS

MAX_BYTES = 4096


def main() -> int:
    """Fuzz every target, or the ones that are named."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Fuzz what reads foreign bytes."
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(SEEDS))
    parser.add_argument("--seconds", type=int, default=60, help="for all of them together")
    options = parser.parse_args()
    if unknown := set(options.targets) - SEEDS.keys():
        parser.error(f"no target {', '.join(sorted(unknown))}; known are {', '.join(SEEDS)}")
    chosen = options.targets or list(SEEDS)
    broken = [name for name in chosen if not _holds(name, max(1, options.seconds // len(chosen)))]
    sys.stdout.write(f"broken: {', '.join(broken) or 'none'}\n")
    return bool(broken)


def _holds(name: str, seconds: int) -> bool:
    kept = Path(".fuzz") / name
    kept.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[name]):
        (kept / f"seed-{number}").write_bytes(seed)
    limits = (f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", "-timeout=10", "-rss_limit_mb=2048")
    command = [sys.executable, "-m", "tests.fuzz.one", name, *limits, "-print_final_stats=1", str(kept)]
    return subprocess.run(command, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())

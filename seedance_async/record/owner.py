"""The process that sends a POST, told apart from all others, and whether it still lives.

A process id alone is used again after a while, and means another process in another container; so the name
of a process has the machine's boot, the namespace of its ids, and the instant at which it was started.
Elsewhere than on Linux nothing of that is known.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


def this_process() -> str:
    """The name of this process; empty where processes cannot be told apart."""
    started = _started(os.getpid())
    return f"{_space()} {os.getpid()} {started}" if started else ""


def is_alive(owner: str) -> bool | None:
    """Whether the process of this name still runs; None where that cannot be known."""
    space, _, process = owner.rpartition(" ")[0].rpartition(" ")
    if not space or space != _space() or not process.isdigit():
        return None
    return _started(int(process)) == owner.rpartition(" ")[2]


def _started(process: int) -> str:
    """When a process was started, in ticks since the boot; empty if it has ended, or nothing is known."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    state, *rest = fields.rpartition(")")[2].split()  # the name before may have blanks and brackets
    return "" if state in {"Z", "X"} else rest[18]


@cache
def _space() -> str:
    """The boot, and the namespace that process ids belong to; empty where the system does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""

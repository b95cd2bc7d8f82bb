"""The identity of the process that sends a POST, and a check whether it is still running.

Process ids are reused, and the same id means another process in another container. So the name of a process
contains the machine's boot id, the namespace of its process ids, and its start time. Only Linux offers these;
on other systems the name is empty.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


def this_process() -> str:
    """Return the name of this process; empty if the system cannot identify processes."""
    started = _started(os.getpid())
    return f"{_space()} {os.getpid()} {started}" if started else ""


def is_alive(owner: str) -> bool | None:
    """Whether the process of this name is still running; None if that cannot be determined."""
    space, _, process = owner.rpartition(" ")[0].rpartition(" ")
    if not space or space != _space() or not process.isdigit():
        return None
    return _started(int(process)) == owner.rpartition(" ")[2]


def _started(process: int) -> str:
    """Return the start time of a process in ticks since the boot; empty if it has ended or is unknown."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    state, *rest = fields.rpartition(")")[2].split()  # the command name may contain spaces and brackets
    return "" if state in {"Z", "X"} else rest[18]


@cache
def _space() -> str:
    """Return the boot id and the namespace of process ids; empty if the system does not provide them."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""

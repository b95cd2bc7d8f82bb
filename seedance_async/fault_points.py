"""Named points at which a test may end the process, as a power cut or ``kill -9`` would.

What a crash leaves behind depends on the instruction it strikes at. The instants that matter have names; with
``SEEDANCE_FAULT_POINT=after_intent:2`` in the environment the process ends at the second arrival at that
point, at once and without any cleaning up. Without the variable a point does nothing.

    after_intent     the intent to pay is on disk, nothing is sent
    after_send       a POST has left whole, no answer was read
    after_body       an answer was read whole, nothing was made of it
    before_record    a submission was accepted, its task ids are not on disk
    after_record     they are on disk, nobody was told
    mid_download     a part of a file is written
    before_rename    a file is whole under its temporary name
    after_rename     a file has its name, and no record
"""

from __future__ import annotations

import os
from collections import Counter
from functools import cache
from typing import Final

POINTS: Final = (
    "after_intent", "after_send", "after_body", "before_record", "after_record", "mid_download",
    "before_rename", "after_rename",
)  # fmt: skip

EXIT_CODE: Final = 137
"""What a shell says of a process that was killed."""

_arrivals: Counter[str] = Counter()


def fault_point(name: str) -> None:
    """End the process here, if the environment asks for it."""
    armed, hit = _armed()
    if name != armed:
        return
    _arrivals[name] += 1
    if _arrivals[name] == hit:
        os._exit(EXIT_CODE)


@cache
def _armed() -> tuple[str, int]:
    name, _, hit = os.environ.get("SEEDANCE_FAULT_POINT", "").partition(":")
    return name, int(hit or 1)

"""Fault points: named places at which a test can end the process, as a power cut or ``kill -9`` would.

The result of a crash depends on the instruction at which it happens. The important ones have names; with
``SEEDANCE_FAULT_POINT=after_intent:2`` in the environment the process ends the second time it reaches that
point, immediately and without cleaning up. Without the variable a point does nothing.

    after_intent     the intent to pay is on disk, nothing is sent
    after_send       a POST is sent completely, no answer is read
    after_body       an answer is read completely, and not yet processed
    before_record    a submission is accepted, its task ids are not on disk
    after_record     its task ids are on disk, the caller is not notified
    mid_download     a part of a file is written
    before_rename    a file is complete under its temporary name
    after_rename     a file has its final name, and is not recorded

When the files of an older result are renamed so that a newer one can have their names:

    before_move      the new names are on disk in the journal, the files have their old ones
    after_link       a file has its new name in addition to the old one
    after_sidecar    its sidecar has its new name too
    after_unlink     the old name of a file is removed
    after_move       all files have their new names, which is not recorded
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

MOVE_POINTS: Final = ("before_move", "after_link", "after_sidecar", "after_unlink", "after_move")

EXIT_CODE: Final = 137
"""The exit code that a shell reports for a killed process."""

_hits: Counter[str] = Counter()


def fault_point(name: str) -> None:
    """End the process here, if the environment variable names this point."""
    armed, hit = _armed()
    if name != armed:
        return
    _hits[name] += 1
    if _hits[name] == hit:
        os._exit(EXIT_CODE)


@cache
def _armed() -> tuple[str, int]:
    name, _, hit = os.environ.get("SEEDANCE_FAULT_POINT", "").partition(":")
    return name, int(hit or 1)

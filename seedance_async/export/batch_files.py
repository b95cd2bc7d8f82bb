"""The files of a batch directory that say what there is to hand over: ``results.jsonl`` and ``picks.jsonl``.

Blocking.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from seedance_async.batch.results import RESULTS
from seedance_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PICKS: Final = "picks.jsonl"


def read_results(directory: Path) -> tuple[list[dict[str, object]], list[int]]:
    """The lines of a batch's results, and the numbers of those that cannot be read.

    Raises:
        ConfigurationError: there are none.
        OSError: they cannot be read.
    """
    try:
        lines = list(_objects(directory / RESULTS))
    except FileNotFoundError:
        reason = f"has no {RESULTS}: name the directory of a batch that has run, the DIR of --output DIR"
        raise ConfigurationError(f"{directory} {reason}") from None
    jobs = [line for _, line in lines if line is not None and isinstance(line.get("name"), str)]
    return jobs, [number for number, line in lines if line is None]


def read_pick_lines(directory: Path) -> list[dict[str, object]]:
    """The lines of a review's picks; none where there was no review."""
    try:
        return [line for _, line in _objects(directory / PICKS) if line is not None]
    except FileNotFoundError:
        return []


def _objects(path: Path) -> Iterator[tuple[int, dict[str, object] | None]]:
    """The objects of a file of JSON lines, by number; None where a line is none."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, _object(line)


def _object(line: bytes) -> dict[str, object] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None

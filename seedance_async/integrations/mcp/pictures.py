"""Pictures for an agent to look at: one contact sheet of what a batch has saved, small enough to be sent.

A page shows frames of clips, and pictures, with names and times under them, at a size that a model takes
without scaling. Never the clip itself: it would use more of the model's context than it shows.

Blocking.
"""

from __future__ import annotations

import io
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from seedance_async.batch import results_reading
from seedance_async.batch.states import State
from seedance_async.export import sheet
from seedance_async.export import sheet_layout as layouts
from seedance_async.export.probe import UnreadableError, probe
from seedance_async.export.selection import Shot, shots_of
from seedance_async.integrations.mcp.answers import RefusedError, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

FRAMES: Final = 4
"""Of each clip; a clip has a row of its own."""

MOST_PICTURES: Final = 12
"""On a page without clips."""

LONG_EDGE: Final = 1_568
"""Pixels; models scale down what is larger."""

MOST_BYTES: Final = 900_000
QUALITIES: Final = (85, 70, 55, 40)


@frozen(kw_only=True)
class Sheet:
    """A page of a contact sheet.

    Attributes:
        content: a JPEG of less than ``MOST_BYTES``.
        names: of the jobs on it.
        faults: why files could not be shown.
        page: which one, from 1.
        pages: how many there are.
    """

    content: bytes
    names: tuple[str, ...]
    faults: tuple[str, ...]
    page: int
    pages: int


def contact_sheet(directory: Path, words: Sequence[str], page: int) -> Sheet:
    """Draw a page of what a batch has saved.

    Args:
        directory: of the batch.
        words: names of jobs, or patterns of names; none for all, the newest first.
        page: from 1.

    Raises:
        RefusedError: nothing of that is saved, or there is no such page.
        ConfigurationError: Pillow or PyAV is not installed.
        OSError: the results cannot be read.
    """
    sheet.check_packages()
    directory = directory.resolve()
    found = _shots(directory, words)
    if not found:
        raise RefusedError(
            "NothingToShow",
            "no job of these names is saved yet" if words else "no job of the batch is saved yet",
            what_to_do="wait for the batch; names and patterns of names are those of its jobs",
        )
    ratio = _ratio(directory / found[0].file, found[0])
    capacity = _capacity(ratio, has_clips=any(shot.is_clip for shot in found))
    pages = -(-len(found) // capacity)
    if not 1 <= page <= pages:
        raise RefusedError("InvalidArguments", f"there are {pages} pages", what_to_do="take one of them")
    shown = found[(page - 1) * capacity : page * capacity]
    drawn, faults = _drawn([(directory / shot.file, shot) for shot in shown], ratio)
    return Sheet(
        content=_small(drawn),
        names=tuple(dict.fromkeys(shot.name for shot in shown)),
        faults=tuple(f"{name}: {why}" for name, why in faults.items()),
        page=page,
        pages=pages,
    )


def _capacity(ratio: float, *, has_clips: bool) -> int:
    """Shots on a page that is scaled down little."""
    frame_height = min(layouts.HIGHEST, max(layouts.LOWEST, layouts.WIDTH / ratio))
    rows = max(1, int(LONG_EDGE // (frame_height + layouts.TEXT_HEIGHT + layouts.MARGIN)))
    return rows if has_clips else min(MOST_PICTURES, rows * layouts.COLUMNS)


def _ratio(path: Path, shot: Shot) -> float:
    """Width to height of the first shot, as most of a batch have the same."""
    from PIL.Image import open as opened  # noqa: PLC0415 - the extra may be missing

    try:
        if shot.is_clip:
            footage = probe(path)
            return footage.width / max(1, footage.height)
        with opened(path) as picture:
            return picture.width / max(1, picture.height)
    except (UnreadableError, OSError, ValueError):
        return 4 / 3


def _shots(directory: Path, words: Sequence[str]) -> list[Shot]:
    """The files that are shown: plain ones in the batch's directory, reached over no link."""
    results = results_reading.read(directory).values()
    saved = [each for each in results if each.state == State.SAVED and _is_meant(each.name, words)]
    current = [each for each in saved if words or (each.in_manifest and each.older_of is None)]
    shots = [shot for each in reversed(current) for shot in shots_of(each)]
    return [shot for shot in shots if results_reading.plain_path(directory, shot.file) is not None]


def _is_meant(name: str, words: Sequence[str]) -> bool:
    return not words or any(name == word or fnmatchcase(name, word) for word in words)


def _drawn(shots: Sequence[tuple[Path, Shot]], ratio: float) -> tuple[bytes, dict[str, str]]:
    """The sheet as the export writes it, and what could not be shown on it."""
    stills = [_still(path, shot) for path, shot in shots]
    frames = FRAMES if any(shot.is_clip for _, shot in shots) else 1
    with tempfile.TemporaryDirectory(prefix="seedance-look-") as folder:
        pages, faults = sheet.write_sheet(Path(folder) / "sheet.jpg", stills, frames=frames, ratio=ratio)
        known = {still.path.name: still.fault for still in stills if still.fault is not None}
        return pages[0].read_bytes(), {**faults, **known}


def _still(path: Path, shot: Shot) -> sheet.Still:
    seconds, fault = None, None
    try:
        seconds = probe(path).seconds if shot.is_clip else None
    except UnreadableError as problem:
        fault = str(problem)
    return sheet.Still(name=text_of(shot.name, 80), path=path, seconds=seconds, fault=fault)


def _small(content: bytes) -> bytes:
    """A JPEG, scaled down and compressed until it is small enough."""
    from PIL.Image import open as opened  # noqa: PLC0415 - the extra may be missing

    with opened(io.BytesIO(content)) as picture:
        small = picture.convert("RGB")
    small.thumbnail((LONG_EDGE, LONG_EDGE))
    pressed = b""
    for quality in QUALITIES:
        into = io.BytesIO()
        small.save(into, "JPEG", quality=quality, optimize=True)
        pressed = into.getvalue()
        if len(pressed) <= MOST_BYTES:
            break
    return pressed

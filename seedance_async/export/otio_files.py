"""Timelines as OpenTimelineIO files and as edit decision lists (CMX 3600), written by that library.

Paths are relative to the timeline's file, so the folder can be moved as a whole. An edit decision list names
the full path of each clip, because reel names have only eight characters; ``AA/V`` marks a clip with sound.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from seedance_async.export.packages import needs
from seedance_async.export.places import SEAL
from seedance_async.export.timeline import DROP_FRAME, check_edits, frames_at, reel_names, timecode_rate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction

    from seedance_async.export.timeline import Edit

_STYLE: Final[dict[str, Any]] = {"style": "premiere", "reelname_len": None}
"""The style without the comment ``FROM CLIP``, with which Premiere does not find the files."""

_SPECIAL: Final = {ord(character): f"%{ord(character):02X}" for character in "%#?;"}
"""Characters with a meaning in a relative URL; all others stay as they are, as the library does it."""

_EVENT: Final = re.compile(r"(?P<number>[0-9]{3})  AX       V    (?P<rest> C .*)")


def otio_text(edits: Sequence[Edit], *, title: str) -> str:
    """Return a timeline in OpenTimelineIO's format: a video track, and an audio track if any clip has sound.

    Raises:
        ConfigurationError: the library is not installed.
    """
    otio = _library("--otio")
    timeline = otio.schema.Timeline(title, metadata={"seedance": {"written_by": SEAL}})
    pictures = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    pictures.extend([_clip(otio, edit) for edit in edits])
    timeline.tracks.append(pictures)
    if any(edit.has_sound for edit in edits):
        sound = otio.schema.Track("A1", kind=otio.schema.TrackKind.Audio)
        sound.extend([_sound(otio, edit) for edit in edits])
        timeline.tracks.append(sound)
    text: str = otio.adapters.write_to_string(timeline, "otio_json")
    return f"{text}\n"


def edl_text(edits: Sequence[Edit], *, title: str) -> tuple[str, Fraction]:
    """Return a timeline as an edit decision list, and its frame rate.

    Raises:
        ConfigurationError: the library is not installed, or the list cannot hold these clips.
    """
    otio = _library("--edl")
    check_edits(edits)
    rate = timecode_rate(edit.rate for edit in edits)
    timeline = otio.schema.Timeline("")
    track = otio.schema.Track("V", kind=otio.schema.TrackKind.Video)
    # Here file names are plain text, not parts of a URL.
    track.extend([_footage(otio, edit, edit.path, frames_at(edit, rate), rate) for edit in edits])
    timeline.tracks.append(track)
    written: str = otio.adapters.write_to_string(timeline, "cmx_3600", rate=float(rate), **_STYLE)
    frames = "DROP FRAME" if rate in DROP_FRAME else "NON-DROP FRAME"
    head = f"TITLE: {' '.join(title.split())}\nFCM: {frames}\n\n"
    return head + _with_sources(written, edits), rate


def _with_sources(written: str, edits: Sequence[Edit]) -> str:
    """Add the reel names and channels, which the library leaves out in this style."""
    sources = iter(zip(reel_names(edit.name for edit in edits), edits, strict=True))
    lines = []
    for line in written.splitlines():
        if event := _EVENT.fullmatch(line):
            reel, edit = next(sources)
            channels = "AA/V" if edit.has_sound else "V"
            line = f"{event['number']}  {reel:8} {channels:5}{event['rest']}"  # noqa: PLW2901 - the same line
        lines.append(line)
    return "\n".join([*lines, f"* WRITTEN BY {SEAL}"]) + "\n"


def _library(flag: str) -> Any:  # noqa: ANN401 - it is only partly typed
    with needs(flag):
        import opentimelineio  # noqa: PLC0415 - the extra may be missing
        import otio_cmx3600_adapter  # noqa: F401, PLC0415 - a plugin of the library
    return opentimelineio


def _clip(otio: Any, edit: Edit) -> Any:  # noqa: ANN401 - as above
    clip = _footage(otio, edit, edit.path.translate(_SPECIAL), edit.frames, edit.rate)
    clip.metadata["seedance"] = {
        "model": edit.model,
        "prompt": edit.prompt,
        "seed": edit.seed,
        "task_ids": list(edit.task_ids),
    }
    return clip


def _footage(otio: Any, edit: Edit, url: str, frames: int, rate: Fraction) -> Any:  # noqa: ANN401 - as above
    whole = _range(otio, frames, rate)
    reference = otio.schema.ExternalReference(target_url=url, available_range=whole)
    return otio.schema.Clip(name=edit.name, media_reference=reference, source_range=whole)


def _sound(otio: Any, edit: Edit) -> Any:  # noqa: ANN401 - as above
    if edit.has_sound:
        return _clip(otio, edit)
    return otio.schema.Gap(source_range=_range(otio, edit.frames, edit.rate))


def _range(otio: Any, frames: int, rate: Fraction) -> Any:  # noqa: ANN401 - as above
    time = otio.opentime.RationalTime
    return otio.opentime.TimeRange(time(0, float(rate)), time(frames, float(rate)))

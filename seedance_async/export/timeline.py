"""The values of a timeline: clips one after the other, and the limits of an edit decision list.

An edit decision list (CMX 3600) counts in timecode, which exists only for some frame rates. It has one rate
for all clips, at most 999 edits, and reel names of eight characters. What does not fit is refused or rounded.

Pure.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from fractions import Fraction
from itertools import count
from typing import TYPE_CHECKING, Final

from attrs import frozen

from seedance_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TIMECODE_RATES: Final = tuple(
    sorted([*(Fraction(rate) for rate in (24, 25, 30, 48, 50, 60)), *(
        Fraction(rate * 1000, 1001) for rate in (24, 30, 60)
    )])
)  # fmt: skip
DROP_FRAME: Final = frozenset({Fraction(30_000, 1001), Fraction(60_000, 1001)})
MOST_EDITS: Final = 999
REEL_CHARACTERS: Final = 8
RESERVED_REELS: Final = frozenset({"AX", "BL"})
"""Names in edit decision lists for an unknown source and for black."""


@frozen(kw_only=True)
class Edit:
    """A whole clip in a timeline.

    Attributes:
        name: of the shot.
        path: of its file, relative to the timeline's, with ``/``.
        rate: frames per second.
        frames: number of frames.
        has_sound: whether it has a sound track.
        model: the API's name of it.
        prompt: of the request.
        seed: reported by the server; None if it reported none.
        task_ids: of the job.
    """

    name: str
    path: str
    rate: Fraction
    frames: int
    has_sound: bool
    model: str = ""
    prompt: str = ""
    seed: int | None = None
    task_ids: tuple[str, ...] = ()


def timecode_rate(rates: Iterable[Fraction]) -> Fraction:
    """Return the frame rate of the list: that of most clips, or its smallest multiple with a timecode.

    Raises:
        ConfigurationError: there is no such rate, or there are no clips.
    """
    ((most, _),) = Counter(rates).most_common(1) or [(Fraction(0), 0)]
    fitting = (rate for rate in TIMECODE_RATES if most and (rate / most).denominator == 1)
    found = next(fitting, None)
    if found is None:
        raise ConfigurationError(f"--edl: {float(most):g} frames a second have no timecode; use --otio")
    return found


def frames_at(edit: Edit, rate: Fraction) -> int:
    """Return the length of a clip in frames of another rate; at least 1."""
    return max(1, round(edit.frames * rate / edit.rate))


def check_edits(edits: Sequence[Edit]) -> None:
    """Check that an edit decision list can hold these clips.

    Raises:
        ConfigurationError: there are too many.
    """
    if len(edits) > MOST_EDITS:
        reason = f"the format holds at most {MOST_EDITS}, and there are {len(edits):,} clips; use --otio"
        raise ConfigurationError(f"--edl: {reason}")


def reel_names(names: Iterable[str]) -> list[str]:
    """Return a unique reel name for each shot, of at most eight letters and digits."""
    taken = set(RESERVED_REELS)
    reels = []
    for name in names:
        plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().upper()
        wanted = re.sub(r"[^A-Z0-9]", "", plain) or "SHOT"
        reel = next(each for each in _shortened(wanted) if each not in taken)
        taken.add(reel)
        reels.append(reel)
    return reels


def _shortened(wanted: str) -> Iterable[str]:
    yield wanted[:REEL_CHARACTERS]
    for number in count(2):
        yield f"{wanted[: REEL_CHARACTERS - len(str(number))]}{number}"

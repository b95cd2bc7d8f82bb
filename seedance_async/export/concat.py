r"""The list of clips for ffmpeg's concat demuxer, and the command that joins them.

Quoting follows ffmpeg's documentation ("Quoting and escaping"): within single quotes every character is
literal except the quote, which is written as ``'\''``. Paths are relative to the list's own file.

Streams can be copied only if all clips are alike. Otherwise the command re-encodes them, at the most frequent
size and frame rate.

Pure.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from seedance_async.shortened import first_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence
    from fractions import Fraction

    from seedance_async.export.probe import Footage


def concat_text(paths: Iterable[str], *, note: str) -> str:
    """Return the list.

    Args:
        note: a comment in it.
        paths: of the clips, relative to the list's file, with ``/``; no line breaks.
    """
    return f"ffconcat version 1.0\n# {note}\n" + "".join(f"file {_quoted(path)}\n" for path in paths)


def _quoted(path: str) -> str:
    # A first part with a colon would be taken for a protocol.
    plain = f"./{path}" if ":" in path.split("/", 1)[0] else path
    return "'" + plain.replace("'", r"'\''") + "'"


def disagreements(clips: Sequence[tuple[str, Footage]]) -> list[str]:
    """Return how the clips differ, as texts; empty if their streams can be copied.

    Args:
        clips: the name and the properties of each.
    """
    aspects: list[tuple[str, Callable[[Footage], Hashable], Callable[[Footage], str]]] = [
        ("sizes differ", lambda clip: (clip.width, clip.height), lambda clip: f"{clip.width}x{clip.height}"),
        ("frame rates differ", lambda clip: clip.rate, lambda clip: f"{float(clip.rate):.6g} a second"),
        ("codecs differ", lambda clip: clip.codec, lambda clip: clip.codec),
        ("sound differs", lambda clip: clip.sound, lambda clip: clip.sound or "none"),
    ]
    found = ((what, _groups(clips, key, word)) for what, key, word in aspects)
    return [f"{what}: {'; '.join(groups)}" for what, groups in found if len(groups) > 1]


def _groups(
    clips: Sequence[tuple[str, Footage]],
    key: Callable[[Footage], Hashable],
    word: Callable[[Footage], str],
) -> list[str]:
    """Return the values that occur, the most frequent first, and the names of the clips with others."""
    names: dict[Hashable, list[str]] = {}
    words = {}
    for name, clip in clips:
        names.setdefault(key(clip), []).append(name)
        words[key(clip)] = word(clip)
    ordered = sorted(names, key=lambda each: -len(names[each]))
    most, *others = ordered
    return [
        f"{words[most]} in {len(names[most])}",
        *(f"{words[each]} in {first_of(names[each])}" for each in others),
    ]


def join_words(clips: Sequence[Footage], *, listed: str, joined: str) -> list[str]:
    """Return the words of the command that joins clips.

    Args:
        clips: at least one.
        listed: path of the list.
        joined: path of the resulting clip.
    """
    words = ["ffmpeg", "-f", "concat", "-safe", "0", "-i", listed]
    if len({(clip.width, clip.height, clip.rate, clip.codec, clip.sound) for clip in clips}) == 1:
        return [*words, "-c", "copy", joined]
    (width, height), rate = most_common(clips)
    fit = f"scale={width}:{height}:force_original_aspect_ratio=decrease"
    centre = f"pad={width}:{height}:(ow-iw)/2:(oh-ih)/2,setsar=1,fps={rate}"
    words += ["-vf", f"{fit},{centre}"]
    if clips[0].sound and len({clip.sound for clip in clips}) > 1:  # silence where a clip has none
        words += ["-af", "aresample=async=1:first_pts=0"]
    return [*words, joined]


def most_common(clips: Sequence[Footage]) -> tuple[tuple[int, int], Fraction]:
    """Return the most frequent size and the most frequent frame rate."""
    ((size, _),) = Counter((clip.width, clip.height) for clip in clips).most_common(1)
    ((rate, _),) = Counter(clip.rate for clip in clips).most_common(1)
    return size, rate

"""The layout of a contact sheet: the place of each frame, and the text under it.

A clip's frames are side by side, never split over two rows. Long sheets become several pages.

Pure.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WIDTH: Final = 320  # pixels of a frame
LOWEST: Final = 120
HIGHEST: Final = 480
MARGIN: Final = 12
TEXT_HEIGHT: Final = 40  # two lines
COLUMNS: Final = 6
MOST_FRAMES: Final = 12
PAGE_HEIGHT: Final = 6_000


@frozen
class Cell:
    """A frame on a page.

    Attributes:
        shot: which of the shots, from 0.
        frame: which of its frames, from 0.
        left: pixels.
        top: pixels.
    """

    shot: int
    frame: int
    left: int
    top: int


@frozen(kw_only=True)
class Layout:
    """The pages of a contact sheet.

    Attributes:
        frame_height: pixels.
        width: of a page.
        pages: the cells of each.
    """

    frame_height: int
    width: int
    pages: tuple[tuple[Cell, ...], ...]

    def height(self, page: Sequence[Cell]) -> int:
        """Return the height of a page, in pixels."""
        return max(cell.top for cell in page) + self.frame_height + TEXT_HEIGHT + MARGIN


def layout(frames: Sequence[int], *, most: int, ratio: float) -> Layout:
    """Return the layout of a sheet.

    Args:
        frames: number of frames of each shot; at least 1.
        most: number of frames of a clip.
        ratio: width to height of most files.
    """
    columns = most if most >= COLUMNS else COLUMNS // most * most
    frame_height = round(min(HIGHEST, max(LOWEST, WIDTH / ratio)))
    row_height = frame_height + TEXT_HEIGHT + MARGIN
    rows_on_a_page = max(1, (PAGE_HEIGHT - MARGIN) // row_height)
    pages: dict[int, list[Cell]] = {}
    for shot, frame, column, row in _places(frames, columns):
        page, row_of_page = divmod(row, rows_on_a_page)
        cell = Cell(shot, frame, MARGIN + column * (WIDTH + MARGIN), MARGIN + row_of_page * row_height)
        pages.setdefault(page, []).append(cell)
    widest = max(cell.left for cells in pages.values() for cell in cells) + WIDTH + MARGIN
    return Layout(frame_height=frame_height, width=widest, pages=tuple(map(tuple, pages.values())))


def _places(frames: Sequence[int], columns: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield the shot, frame, column and row of each cell."""
    column, row = 0, 0
    for shot, count in enumerate(frames):
        if column + count > columns:
            column, row = 0, row + 1
        for frame in range(count):
            yield shot, frame, column, row
            column += 1


def moments(seconds: float, count: int) -> list[float]:
    """Return the instants of a clip's frames in seconds: the middles of ``count`` equal parts."""
    return [seconds * (2 * part + 1) / (2 * count) for part in range(count)]


def time_text(seconds: float) -> str:
    """Return an instant of a clip as text, such as ``0:01.5``."""
    minutes, rest = divmod(round(seconds * 10), 600)
    return f"{minutes}:{rest // 10:02d}.{rest % 10}"


def label(name: str) -> str:
    """Return a name that can be drawn on one line: no control or direction characters, single spaces."""
    seen = (" " if each.isspace() else each for each in name)
    drawn = "".join(each for each in seen if unicodedata.category(each) not in {"Cc", "Cf", "Cs", "Co", "Cn"})
    return " ".join(drawn.split()) or "?"


def page_name(name: str, number: int) -> str:
    """Return the file name of a page: the given name for the first, a numbered one for the others."""
    stem, dot, ending = name.rpartition(".")
    return name if number == 1 else f"{stem}-{number}{dot}{ending}"

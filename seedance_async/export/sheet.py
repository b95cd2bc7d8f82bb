"""Contact sheets: frames of every clip, and every picture, with names and times under them.

A name is drawn on one line and not wider than its frame; a character that the font lacks is drawn as a box. A
file that cannot be read gets a cell with the reason.

Blocking; one page at a time is in memory.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from seedance_async.export import sheet_layout as layouts
from seedance_async.export.packages import needs
from seedance_async.export.places import SEAL, check_place, is_ours, write
from seedance_async.export.probe import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from PIL.Image import Image

FLAG: Final = "--contact-sheet"
BACKGROUND: Final = (24, 24, 27)
FRAME: Final = (10, 10, 12)
TEXT: Final = (235, 235, 235)
FAINT: Final = (160, 160, 168)
TEXT_SIZE: Final = 15
FONTS: Final = ("NotoSansCJK-Regular.ttc", "msyh.ttc", "PingFang.ttc", "Arial Unicode.ttf", "DejaVuSans.ttf")
"""Fonts for names with letters that Pillow's own font lacks; Pillow searches the system's folders."""


@frozen(kw_only=True)
class Still:
    """A shot on a sheet.

    Attributes:
        name: of the shot.
        path: of its file.
        seconds: length of a clip; None for a picture.
        fault: why the file cannot be read; None if it was read.
    """

    name: str
    path: Path
    seconds: float | None
    fault: str | None = None


def check_packages() -> None:
    """Check that sheets can be drawn.

    Raises:
        ConfigurationError: Pillow or PyAV is not installed.
    """
    with needs(FLAG):
        import av  # noqa: F401, PLC0415 - the extra may be missing
        import PIL.Image  # noqa: F401, PLC0415 - as above


def write_sheet(
    target: Path, stills: Sequence[Still], *, frames: int, ratio: float
) -> tuple[list[Path], dict[str, str]]:
    """Write the pages of a contact sheet, and delete further pages of an earlier, longer one.

    Args:
        target: the first page; the others are numbered.
        stills: at least one.
        frames: number of frames of each clip.
        ratio: width to height of most files.

    Returns:
        The pages, and by file name why a file without a known fault could not be shown.

    Raises:
        ConfigurationError: at the path of a page is a file that this command has not written.
        OSError: a page cannot be written.
    """
    counts = [frames if still.seconds and still.fault is None else 1 for still in stills]
    layout = layouts.layout(counts, most=frames, ratio=ratio)
    names = [layouts.page_name(target.name, number) for number in range(1, len(layout.pages) + 1)]
    for name in names:
        check_place(target.with_name(name), FLAG)
    pages: list[Path] = []
    faults: dict[str, str] = {}
    for name, cells in zip(names, layout.pages, strict=True):
        page, unreadable = _page(layout, cells, stills, frames)
        faults |= unreadable
        path = target.with_name(name)
        write(path, _encoded(page))
        pages.append(path)
    _remove_further(target, len(pages))
    return pages, faults


def _remove_further(target: Path, pages: int) -> None:
    while is_ours(further := target.with_name(layouts.page_name(target.name, pages + 1))):
        further.unlink()
        pages += 1


def _page(
    layout: layouts.Layout, cells: Sequence[layouts.Cell], stills: Sequence[Still], frames: int
) -> tuple[Image, dict[str, str]]:
    from PIL import ImageDraw  # noqa: PLC0415 - the extra may be missing
    from PIL.Image import new  # noqa: PLC0415 - as above

    page = new("RGB", (layout.width, layout.height(cells)), BACKGROUND)
    draw = ImageDraw.Draw(page)
    faults: dict[str, str] = {}
    size = (layouts.WIDTH, layout.frame_height)
    shown: dict[int, list[Image | str]] = {}
    for cell in cells:
        still = stills[cell.shot]
        if cell.frame == 0:
            shown = {cell.shot: _pictures(still, frames, size)}
        picture = shown[cell.shot][cell.frame]
        box = (cell.left, cell.top, cell.left + size[0] - 1, cell.top + size[1] - 1)
        draw.rectangle(box, fill=FRAME)
        if isinstance(picture, str):
            if still.fault is None:
                faults[still.path.name] = picture
            _write(draw, f"cannot be read: {picture}", (cell.left + 8, cell.top + 8), size[0] - 16, FAINT)
        else:
            offset = ((size[0] - picture.width) // 2, (size[1] - picture.height) // 2)
            page.paste(picture, (cell.left + offset[0], cell.top + offset[1]))
        _caption(draw, still, cell, layout.frame_height, frames)
    return page, faults


def _caption(draw: Any, still: Still, cell: layouts.Cell, height: int, frames: int) -> None:  # noqa: ANN401 - Pillow's, which may be missing
    below = cell.top + height + 3
    _write(draw, layouts.label(still.name), (cell.left, below), layouts.WIDTH, TEXT)
    if still.seconds and still.fault is None:
        time = layouts.time_text(layouts.moments(still.seconds, frames)[cell.frame])
        _write(
            draw,
            f"{time} of {layouts.time_text(still.seconds)}",
            (cell.left, below + 18),
            layouts.WIDTH,
            FAINT,
        )


def _write(draw: Any, text: str, at: tuple[int, int], width: int, fill: tuple[int, int, int]) -> None:  # noqa: ANN401 - as above
    """Draw one line, shortened in the middle to at most ``width`` pixels."""
    font = _font(text)
    whole, kept = text, len(text)
    while kept and draw.textlength(text, font=font) > width:
        kept -= 1  # from the middle: names differ more at their ends
        text = f"{whole[: (kept + 1) // 2]}…{whole[len(whole) - kept // 2 :]}"
    draw.text(at, text, font=font, fill=fill)


def _font(text: str) -> Any:  # noqa: ANN401 - as above
    from PIL import ImageFont  # noqa: PLC0415 - the extra may be missing

    if not text.isascii():
        for name in FONTS:
            try:
                return ImageFont.truetype(name, TEXT_SIZE)
            except OSError:
                continue
    return ImageFont.load_default(TEXT_SIZE)


def _pictures(still: Still, frames: int, size: tuple[int, int]) -> list[Image | str]:
    """Return the thumbnails of a shot, or the reason why there are none."""
    if still.fault is not None:
        return [still.fault]
    try:
        if still.seconds is None:
            return [_picture(still.path, size)]
        return list(_frames(still.path, layouts.moments(still.seconds, frames), size))
    except UnreadableError as problem:
        return [str(problem)] * (1 if still.seconds is None else frames)


def _picture(path: Path, size: tuple[int, int]) -> Image:
    from PIL.Image import DecompressionBombError  # noqa: PLC0415 - the extra may be missing
    from PIL.Image import open as opened  # noqa: PLC0415 - as above

    try:
        with opened(path) as picture:
            picture.draft("RGB", size)
            small = picture.convert("RGB")
            small.thumbnail(size)
            return small
    except (OSError, ValueError, SyntaxError, DecompressionBombError) as problem:
        raise UnreadableError(str(getattr(problem, "strerror", None) or "it is not a picture")) from problem


def _frames(path: Path, moments: Sequence[float], size: tuple[int, int]) -> Iterator[Image]:
    """Yield the frames of a clip at these instants."""
    import av  # noqa: PLC0415 - the extra may be missing

    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            for moment in moments:
                yield _frame_at(container, stream, moment, size)
    except (OSError, ValueError, IndexError) as problem:  # PyAV's own errors are among them
        raise UnreadableError(str(getattr(problem, "strerror", None) or problem)) from problem


def _frame_at(container: Any, stream: Any, moment: float, size: tuple[int, int]) -> Image:  # noqa: ANN401 - PyAV's
    start = stream.start_time or 0
    container.seek(start + int(moment / stream.time_base), stream=stream)
    last = None
    for frame in container.decode(stream):
        if (
            last is not None
            and frame.time is not None
            and frame.time > moment + start * float(stream.time_base)
        ):
            break
        last = frame
    if last is None:
        raise UnreadableError("it has no frame there")
    small: Image = last.to_image()
    small.thumbnail(size)
    return small


def _encoded(page: Image) -> bytes:
    content = io.BytesIO()
    page.save(content, "JPEG", quality=88, comment=SEAL)
    return content.getvalue()

"""The drawing of prompts: a landscape generated from the prompt, with the prompt's text on it.

The same arguments give the same picture. The landscape of a large picture is drawn small and enlarged, which
is faster; only its text is drawn at full size.
"""

from __future__ import annotations

import colorsys
import math
import random
from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from seedance_async.sandbox.media import Drawn

    Colour = tuple[int, int, int]
    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

LABEL: Final = "seedance sandbox"
WHITE: Final = (255, 255, 255)
SHADE: Final = (0, 0, 0, 110)  # under text, so that it is legible on any sky
CANVAS: Final = 1600  # pixels of the landscape's longer side; a larger picture's landscape is enlarged
HILLS: Final = 4
SOURCE_SIZE: Final = 0.3  # of a source's longer side, as a share of the picture's shorter one
LEAST_SOURCE: Final = 48  # pixels; a smaller source would not be recognisable
MOST_SOURCES: Final = 4
TEXT_SIZES: Final = (0.085, 0.065, 0.05, 0.038)  # sizes to try, as shares of the shorter side
MAX_TEXT_LENGTH: Final = 600  # of the 20,000 of a prompt; more would be illegible

# Pillow's own font has English only. These have most scripts; Pillow searches the system's font directories.
ENGLISH_PUNCTUATION: Final = "·…"
SYSTEM_FONTS: Final = (
    "NotoSansCJK-Regular.ttc",
    "msyh.ttc",
    "PingFang.ttc",
    "Arial Unicode.ttf",
    "DejaVuSans.ttf",
)


def draw(
    width: int, height: int, prompt: str, *, seed: int = 0, sources: Sequence[Drawn] = ()
) -> Image.Image:
    """Return an RGB image of exactly this size: landscape, label on top, prompt below it, sources last."""
    picture = _landscape(width, height, random.Random(f"{seed} {prompt}"))
    _draw_texts(picture, " ".join(prompt.split()))
    _draw_sources(picture, sources)
    return picture


def _draw_sources(picture: Image.Image, sources: Sequence[Drawn]) -> None:
    """Draw the sources in a row, each small and framed."""
    side = min(picture.size)
    margin, most = round(0.07 * side), round(SOURCE_SIZE * side)
    if most < LEAST_SOURCE:
        return
    left = margin
    for source in sources[:MOST_SOURCES]:
        scale = most / max(source.width, source.height)
        width, height = max(1, round(source.width * scale)), max(1, round(source.height * scale))
        prompt = source.prompt.encode(errors="replace").decode()
        small = draw(width, height, prompt, seed=source.seed, sources=source.sources)
        top = round(0.86 * picture.height) - height  # a clip's moving strip is below
        ImageDraw.Draw(picture).rectangle((left - 3, top - 3, left + width + 2, top + height + 2), fill=WHITE)
        picture.paste(small, (left, top))
        left += width + margin // 2


def font_for(text: str, *, size: float) -> Font:
    """Return a font with the text's characters: Pillow's own for English, else one of the system's."""
    if not all(letter.isascii() or letter in ENGLISH_PUNCTUATION for letter in text):
        for name in SYSTEM_FONTS:
            try:
                return ImageFont.truetype(name, size)
            except OSError:
                continue
    return ImageFont.load_default(size)


def _landscape(width: int, height: int, rng: random.Random) -> Image.Image:
    scale = min(1.0, CANVAS / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    hue = rng.random()
    haze = _colour(hue + rng.choice((-0.14, 0.14)), 0.42, 0.90)
    ground = _colour(hue, 0.70, 0.14)
    canvas = _sky(size, top=_colour(hue, 0.70, 0.32), horizon=haze)
    _sun(canvas, rng, _colour(0.12, 0.16, 1.0))
    for layer in range(HILLS):
        _hill(canvas, rng, layer, _blend(haze, ground, (layer + 1) / HILLS))
    return canvas if size == (width, height) else canvas.resize((width, height), Image.Resampling.BICUBIC)


def _sky(size: tuple[int, int], *, top: Colour, horizon: Colour) -> Image.Image:
    """Draw one column and repeat it, as each row has one colour; the horizon lies at two thirds."""
    width, height = size
    column = Image.new("RGB", (1, height))
    column.putdata([_blend(top, horizon, min(1.0, 1.5 * y / height)) for y in range(height)])
    return column.resize((width, height), Image.Resampling.NEAREST)


def _sun(canvas: Image.Image, rng: random.Random, colour: Colour) -> None:
    radius = round(0.10 * min(canvas.size)) + 1
    x, y = round(rng.uniform(0.58, 0.86) * canvas.width), round(rng.uniform(0.42, 0.56) * canvas.height)
    glow = Image.radial_gradient("L").point([max(0, 200 - 2 * level) for level in range(256)])
    glow = glow.resize((8 * radius, 8 * radius), Image.Resampling.BILINEAR)
    canvas.paste(colour, (x - 4 * radius, y - 4 * radius), glow)
    ImageDraw.Draw(canvas).circle((x, y), radius, fill=colour)


def _hill(canvas: Image.Image, rng: random.Random, layer: int, colour: Colour) -> None:
    width, height = canvas.size
    base = (0.62 + 0.09 * layer) * height
    waves = [
        (
            math.tau * rng.uniform(0.6, 1.6) * 2**octave / height,
            rng.uniform(0, math.tau),
            0.055 * height / 1.8**octave,
        )
        for octave in range(4)
    ]
    ridge = [
        (x, base - sum(tall * math.sin(phase + often * x) for often, phase, tall in waves))
        for x in range(width + 1)
    ]
    ImageDraw.Draw(canvas).polygon([(0, height), *ridge, (width, height)], fill=colour)


def _draw_texts(picture: Image.Image, prompt: str) -> None:
    side = min(picture.size)
    margin = round(0.07 * side)
    top = margin + round(0.09 * side)
    _draw_text(picture, (margin, margin), LABEL, font_for(LABEL, size=max(8.0, 0.032 * side)))
    _draw_text(
        picture, (margin, top), *_fit(prompt, picture.width - 2 * margin, 0.80 * picture.height - top, side)
    )


def _draw_text(picture: Image.Image, at: tuple[int, int], text: str, font: Font) -> None:
    pen = ImageDraw.Draw(picture, "RGBA")
    padding = round(0.022 * min(picture.size))
    spacing = padding // 2
    left, top, right, bottom = map(round, pen.multiline_textbbox(at, text, font=font, spacing=spacing))
    card = left - padding, top - padding, right + padding, bottom + padding
    pen.rounded_rectangle(card, radius=padding, fill=SHADE)
    pen.multiline_text(at, text, fill=WHITE, font=font, spacing=spacing)


def _fit(prompt: str, width: float, height: float, side: int) -> tuple[str, Font]:
    """Wrap the prompt in the largest text size that fits, or shorten it in the smallest."""
    text = prompt[:MAX_TEXT_LENGTH]
    *larger, smallest = (font_for(text, size=max(8.0, share * side)) for share in TEXT_SIZES)
    for font in larger:
        lines = list(_wrap(text, font, width))
        if len(lines) <= _max_lines(font, height) and text == prompt:
            return "\n".join(lines), font
    lines = list(_wrap(text, smallest, width))
    most = _max_lines(smallest, height)
    if len(lines) > most or text != prompt:
        lines = lines[:most]
        lines[-1] = f"{lines[-1][:-1]}…"
    return "\n".join(lines), smallest


def _max_lines(font: Font, height: float) -> int:
    _, top, _, bottom = font.getbbox("Ág")
    return max(1, int(height / (1.3 * (bottom - top))))


def _wrap(text: str, font: Font, width: float) -> Iterator[str]:
    """Split the text into lines, between words where possible."""
    line = ""
    for word in text.split(" "):
        if line and font.getlength(f"{line} {word}") > width:
            yield line
            line = ""
        line = f"{line} {word}" if line else word
        while font.getlength(line) > width and len(line) > 1:
            fitting = bisect_right(
                range(1, len(line)), width, key=lambda letters: font.getlength(line[:letters])
            )
            yield line[: max(1, fitting)]
            line = line[max(1, fitting) :]
    yield line


def _colour(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _blend(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue

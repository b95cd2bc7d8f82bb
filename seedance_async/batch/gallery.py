"""One page with everything a batch made: clips that play under the pointer, pictures, prompts, prices.

The page links its files, relative to itself, and holds no more than text: it opens from disk, and the
directory can be moved or zipped as a whole. Prompts, names and errors are foreign text and may hold markup:
all of it is escaped, links other than to files at or below the page are dropped, and the content policy lets
nothing run but this module's own script, which it names by its hash.

Pure: what to show comes in, the page comes out.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections import Counter
from importlib import resources
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CLIPS: Final = frozenset({".mp4", ".webm"})
PICTURES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif"})
WIDEST: Final = 3.2  # width to height; beyond it a card would fill a row alone
NARROWEST: Final = 0.5

_RATIO: Final = re.compile(r"([0-9]{1,4}):([0-9]{1,4})")
_STYLE: Final = resources.files("seedance_async.batch").joinpath("gallery.css").read_text(encoding="utf-8")
_SCRIPT: Final = resources.files("seedance_async.batch").joinpath("gallery.js").read_text(encoding="utf-8")


@frozen(kw_only=True)
class Exhibit:
    """One job as the page shows it.

    Attributes:
        files: as POSIX paths relative to the page, the main one first.
        shape: width to height such as ``16:9``; anything else is shown as a square.
        credits: what it cost, refunds taken off; None if not told.
        seconds: how long the server worked on it; None if not known.
        error: why there are no files.
    """

    name: str
    model: str
    prompt: str
    files: tuple[str, ...] = ()
    shape: str = ""
    credits: float | None = None
    seconds: float | None = None
    error: str | None = None

    @property
    def ratio(self) -> float:
        """Width to height as a number, within what a card can take."""
        match = _RATIO.fullmatch(self.shape)
        if match is None or int(match[2]) == 0:
            return 1.0
        return min(WIDEST, max(NARROWEST, int(match[1]) / int(match[2])))


def render(exhibits: Iterable[Exhibit], *, title: str) -> str:
    """The page as HTML."""
    exhibits = list(exhibits)
    style = _STYLE + "".join(sorted({_ratio_rule(exhibit.ratio) for exhibit in exhibits}))
    cards = "\n".join(_card(exhibit) for exhibit in exhibits)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy(style)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{html.escape(title)}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{html.escape(title)}</h1>
<p>{html.escape(_summary(exhibits))}</p>
</header>
<main>
{cards}
</main>
<script>{_SCRIPT}</script>
</body>
</html>
"""


def _policy(style: str) -> str:
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        "img-src 'self' file:; media-src 'self' file:; "
        f"style-src '{_hash(style)}'; script-src '{_hash(_SCRIPT)}'"
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _summary(exhibits: Sequence[Exhibit]) -> str:
    models = Counter(exhibit.model for exhibit in exhibits)
    told = [f"{count} {model}" for model, count in models.most_common()]
    if failed := sum(exhibit.error is not None for exhibit in exhibits):
        told.append(f"{failed} failed")
    if spent := sum(exhibit.credits or 0 for exhibit in exhibits):
        told.append(f"{spent:,g} credits")
    return " · ".join(told)


def _card(exhibit: Exhibit) -> str:
    files = [file for file in exhibit.files if _link(file)]
    notes = "".join(f"<span>{html.escape(note)}</span>" for note in _notes(exhibit))
    return f"""<figure class="{_ratio_class(exhibit.ratio)}">
{_media(exhibit, files)}
<figcaption><p title="{html.escape(exhibit.prompt)}">{html.escape(exhibit.prompt)}</p>
<div><b>{html.escape(exhibit.name)}</b>{notes}</div></figcaption>
</figure>"""


def _media(exhibit: Exhibit, files: Sequence[str]) -> str:
    clip = next((file for file in files if _suffix(file) in CLIPS), None)
    picture = next((file for file in files if _suffix(file) in PICTURES), None)
    if clip is None and picture is None:
        return f'<div class="missing">{html.escape(exhibit.error or "no files")}</div>'
    if clip is None:
        link = _link(picture or "")
        return f'<a href="{link}"><img src="{link}" alt="{html.escape(exhibit.name)}" loading="lazy"></a>'
    poster = f' poster="{_link(picture)}"' if picture else ""
    return (
        f'<a href="{_link(clip)}"><video src="{_link(clip)}"{poster} muted loop playsinline '
        'preload="none"></video></a>'
    )


def _notes(exhibit: Exhibit) -> list[str]:
    notes = [exhibit.model, exhibit.shape]
    if exhibit.seconds is not None:
        minutes, seconds = divmod(round(exhibit.seconds), 60)
        notes.append(f"{minutes}:{seconds:02} min")
    if exhibit.credits is not None:
        notes.append(f"{exhibit.credits:g} cr")
    return [note for note in notes if note]


def _link(file: str) -> str:
    """The file's path as a link that cannot leave the page's directory; empty if it would."""
    path = PurePosixPath(file)
    if not file or path.is_absolute() or ".." in path.parts or "\\" in file:
        return ""
    return f"./{quote(str(path))}"  # the dot keeps a colon in the name from becoming a scheme


def _suffix(file: str) -> str:
    return PurePosixPath(file).suffix.lower()


def _ratio_class(ratio: float) -> str:
    return f"r{ratio * 100:.0f}"


def _ratio_rule(ratio: float) -> str:
    return f".{_ratio_class(ratio)}{{--ratio:{ratio:.4f}}}\n"

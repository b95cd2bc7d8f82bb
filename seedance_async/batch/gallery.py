"""Pages with everything a batch made: clips that play under the pointer, pictures, prompts, prices, failures.

A page links its files, relative to itself, and holds no more than text: it opens from disk, and the
directory can be moved or zipped as a whole. Prompts, names and errors are foreign text and may hold markup:
all of it is escaped, links other than to files at or below the page are dropped, and the content policy lets
nothing run but this module's own script, which it names by its hash.

A batch of many thousand jobs becomes many pages, so that neither writing nor reading one needs much memory;
on a page, clips and pictures are loaded when they come into view. A filter goes along from page to page.

Pure: what to show comes in, the page comes out.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import quote

from attrs import Factory, field, frozen

CLIPS: Final = frozenset({".mp4", ".webm"})
PICTURES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif"})
WIDEST: Final = 3.2  # width to height; beyond it a card would fill a row alone
NARROWEST: Final = 0.5

_LEGEND: Final = {
    "saved": "saved",
    "lost": "failed, refused or uncertain",
    "running": "running",
    "waiting": "waiting",
    "submits": "submits",
    "polls": "polls",
}
_CURRENT: Final = ' aria-current="page"'
_RATIO: Final = re.compile(r"([0-9]{1,4}):([0-9]{1,4})")
_STYLE: Final = resources.files("seedance_async.batch").joinpath("gallery.css").read_text(encoding="utf-8")
_SCRIPT: Final = resources.files("seedance_async.batch").joinpath("gallery.js").read_text(encoding="utf-8")


@frozen(kw_only=True)
class Exhibit:
    """One job as a page shows it.

    Attributes:
        files: as POSIX paths relative to the page, the main one first.
        shape: width to height such as ``16:9``; anything else is shown as a square.
        credits: what it cost, refunds taken off; None if not told.
        seconds: how long the server worked on it; None if not known.
        error: why there are no files, or not all of them.
        state: the journal's word; left out, it follows from ``error``.
        facts: what else there is to know, by name.
    """

    name: str
    model: str
    prompt: str
    files: tuple[str, ...] = ()
    shape: str = ""
    credits: float | None = None
    seconds: float | None = None
    error: str | None = None
    state: str = field(
        default=Factory(lambda self: "saved" if self.error is None else "failed", takes_self=True)
    )
    facts: Mapping[str, str] = field(factory=dict)

    @property
    def ratio(self) -> float:
        """Width to height as a number, within what a card can take."""
        match = _RATIO.fullmatch(self.shape)
        if match is None or int(match[2]) == 0:
            return 1.0
        return min(WIDEST, max(NARROWEST, int(match[1]) / int(match[2])))


@frozen(kw_only=True)
class Part:
    """Which of a gallery's pages a page is.

    Attributes:
        number: from 1.
        counts: jobs of each state on all pages.
        credits: of all pages.
        states: for each page, the states that are found on it.
    """

    number: int
    counts: Mapping[str, int]
    credits: float
    states: Sequence[Iterable[str]]


def whole(exhibits: Iterable[Exhibit]) -> Part:
    """The part that is everything."""
    exhibits = list(exhibits)
    counts = Counter(exhibit.state for exhibit in exhibits)
    spent = sum(exhibit.credits or 0 for exhibit in exhibits)
    return Part(number=1, counts=counts, credits=spent, states=[counts])


def page_name(number: int) -> str:
    """The file name of a page."""
    return "gallery.html" if number == 1 else f"gallery-{number}.html"


def render(exhibits: Iterable[Exhibit], *, title: str, part: Part | None = None, chart: str = "") -> str:
    """A page as HTML.

    Args:
        exhibits: of this page.
        title: foreign text.
        part: of several pages; left out, this is the only one.
        chart: SVG of our own making.
    """
    exhibits = list(exhibits)
    part = part or whole(exhibits)
    style = _STYLE + "".join(sorted({_ratio_rule(exhibit.ratio) for exhibit in exhibits}))
    cards = "\n".join(_card(exhibit) for exhibit in exhibits)
    pages = _pages(part)
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
<h1><bdi>{html.escape(title)}</bdi></h1>
<p>{html.escape(_summary(exhibits, part))}</p>
{_chart(chart)}</header>
{_tools(part)}
<main>
{cards}
</main>
<p id="none" hidden>Nothing like that on this page.</p>
{pages}
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


def _summary(exhibits: Sequence[Exhibit], part: Part) -> str:
    models = Counter(exhibit.model for exhibit in exhibits)
    told = [f"{sum(part.counts.values()):,} jobs"]
    if len(part.states) == 1:
        told = [f"{count} {model}" for model, count in models.most_common()]
    told += [f"{count:,} {state}" for state, count in part.counts.items() if state != "saved"]
    if part.credits:
        told.append(f"{part.credits:,.10g} credits")
    return " · ".join(told)


def _chart(chart: str) -> str:
    if not chart:
        return ""
    words = "".join(
        f'<span class="{name}">{words}</span>'
        for name, words in _LEGEND.items()
        if f'class="{name}"' in chart
    )
    return f'<section class="chart">{chart}<p class="legend">{words}</p></section>\n'


def _tools(part: Part) -> str:
    """What the page can be narrowed down by."""
    everything = {"": sum(part.counts.values()), **part.counts}
    buttons = "".join(
        f'<button type="button" data-state="{html.escape(state)}" aria-pressed="false">'
        f"{html.escape(state or 'all')} <b>{count:,}</b></button>"
        for state, count in everything.items()
    )
    field = '<input type="search" placeholder="find in prompts and names" aria-label="find">'
    return f'<nav class="tools" aria-label="filter">{buttons}{field}</nav>'


def _pages(part: Part) -> str:
    if len(part.states) < 2:
        return ""
    links = "".join(
        f'<a href="./{page_name(number)}" data-states="{html.escape(" ".join(sorted(states)))}"'
        f"{_CURRENT if number == part.number else ''}>{number}</a>"
        for number, states in enumerate(part.states, start=1)
    )
    return f'<nav class="pages" aria-label="pages">{links}</nav>'


def _card(exhibit: Exhibit) -> str:
    files = [file for file in exhibit.files if _link(file)]
    notes = "".join(f"<span>{html.escape(note)}</span>" for note in _notes(exhibit))
    return f"""<figure class="{_ratio_class(exhibit.ratio)}" data-state="{html.escape(exhibit.state)}">
{_media(exhibit, files)}
<figcaption><p dir="auto">{html.escape(exhibit.prompt)}</p>
<div><b><bdi>{html.escape(exhibit.name)}</bdi></b>{notes}
<button type="button" class="copy" title="copy the prompt">copy</button></div>
{_more(exhibit, files)}</figcaption>
</figure>"""


def _media(exhibit: Exhibit, files: Sequence[str]) -> str:
    clip = next((file for file in files if _suffix(file) in CLIPS), None)
    pictures = [file for file in files if _suffix(file) in PICTURES]
    if clip is not None:
        poster = f' poster="{_link(pictures[0])}"' if pictures else ""
        return (
            f'<a href="{_link(clip)}"><video src="{_link(clip)}"{poster} muted loop playsinline '
            'preload="none"></video></a>'
        )
    if not pictures:
        reason = html.escape(exhibit.error or "no files")
        return f'<div class="missing"><b>{html.escape(exhibit.state)}</b><p dir="auto">{reason}</p></div>'
    if len(pictures) == 1:
        return _picture(exhibit, pictures[0])
    return f'<div class="several">{"".join(_picture(exhibit, picture) for picture in pictures)}</div>'


def _picture(exhibit: Exhibit, file: str) -> str:
    link = _link(file)
    return f'<a href="{link}"><img src="{link}" alt="{html.escape(exhibit.name)}" loading="lazy"></a>'


def _more(exhibit: Exhibit, files: Sequence[str]) -> str:
    """What is not shown before somebody asks."""
    facts = dict(exhibit.facts)
    if exhibit.error is not None:
        facts = {"error": exhibit.error, **facts}
    if not facts:
        return ""
    rows = [(name, f'<dd dir="auto">{html.escape(told)}</dd>') for name, told in facts.items()]
    rows += [
        ("file", f'<dd><a href="{_link(file)}"><bdi>{html.escape(file)}</bdi></a></dd>') for file in files
    ]
    told = "".join(f"<dt>{html.escape(name)}</dt>{value}" for name, value in rows)
    word = "what went wrong" if exhibit.error is not None else "more"
    return f"<details><summary>{word}</summary><dl>{told}</dl></details>\n"


def _notes(exhibit: Exhibit) -> list[str]:
    notes = [exhibit.model, exhibit.shape]
    if exhibit.seconds is not None:
        minutes, seconds = divmod(round(exhibit.seconds), 60)
        notes.append(f"{minutes}:{seconds:02} min")
    if exhibit.credits is not None:
        notes.append(f"{exhibit.credits:g} cr")
    return [note for note in notes if note]


@lru_cache(maxsize=64)  # a card asks for its few files again and again
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

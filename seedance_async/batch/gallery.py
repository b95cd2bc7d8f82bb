"""HTML pages with everything a batch made: clips that play under the pointer, pictures, prompts, failures.

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

from seedance_async.credit_format import format_credits
from seedance_async.time_format import format_seconds

CLIPS: Final = frozenset({".mp4", ".webm", ".mov", ".mkv"})
PICTURES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif", ".heic", ".heif"})
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
_HERE: Final = resources.files("seedance_async.batch")
_STYLE: Final = _HERE.joinpath("gallery.css").read_text(encoding="utf-8")
_SCRIPT: Final = "".join(
    _HERE.joinpath(f"{name}.js").read_text(encoding="utf-8") for name in ("clipboard", "gallery")
)


@frozen(kw_only=True)
class Card:
    """One job as a page shows it.

    Attributes:
        files: as POSIX paths relative to the page, the main one first.
        shape: width to height such as ``16:9``; anything else is shown as a square.
        credits: what was charged; None if not known.
        refunded: what of it was given back.
        seconds: how long the server worked on it; None if not known.
        error: why there are no files, or not all of them.
        differs: in how far the files are not what was asked for.
        state: the journal's word; left out, it follows from ``error``.
        marks: what is to be seen at once, such as that it is gone from the manifest.
        beside: whether it is no job of the manifest but an older take of one, or gone from it.
        facts: what else there is to know, by name.
    """

    name: str
    model: str
    prompt: str
    files: tuple[str, ...] = ()
    shape: str = ""
    credits: float | None = None
    refunded: float = 0.0
    seconds: float | None = None
    error: str | None = None
    differs: str = ""
    state: str = field(
        default=Factory(lambda self: "saved" if self.error is None else "failed", takes_self=True)
    )
    marks: tuple[str, ...] = ()
    beside: bool = False
    facts: Mapping[str, str] = field(factory=dict)

    @property
    def ratio(self) -> float:
        """Width to height as a number, within what a card can take."""
        match = _RATIO.fullmatch(self.shape)
        if match is None or int(match[2]) == 0:
            return 1.0
        return min(WIDEST, max(NARROWEST, int(match[1]) / int(match[2])))


@frozen(kw_only=True)
class Page:
    """Which of a gallery's pages a page is.

    Attributes:
        number: from 1.
        counts: cards of each state on all pages.
        beside: how many of them are no jobs of the manifest.
        credits: charged, of all pages.
        states: for each page, the states that are found on it.
        refunded: credits that were given back.
        of_sandbox: whether credits and times are a sandbox's.
    """

    number: int
    counts: Mapping[str, int]
    credits: float
    states: Sequence[Iterable[str]]
    refunded: float = 0.0
    of_sandbox: bool = False
    beside: Mapping[str, int] = field(factory=dict)

    @property
    def jobs(self) -> dict[str, int]:
        """How many jobs of the manifest there are of each state."""
        return {
            state: jobs for state, count in self.counts.items() if (jobs := count - self.beside.get(state, 0))
        }


def whole(cards: Iterable[Card]) -> Page:
    """The page that is everything."""
    cards = list(cards)
    counts = Counter(card.state for card in cards)
    used, refunded = sum(card.credits or 0 for card in cards), sum(card.refunded for card in cards)
    beside = Counter(card.state for card in cards if card.beside)
    return Page(number=1, counts=counts, credits=used, refunded=refunded, states=[counts], beside=beside)


def page_name(number: int) -> str:
    """The file name of a page."""
    return "gallery.html" if number == 1 else f"gallery-{number}.html"


def render(cards: Iterable[Card], *, title: str, page: Page | None = None, chart: str = "") -> str:
    """A page as HTML.

    Args:
        cards: of this page.
        title: foreign text.
        page: of several pages; left out, this is the only one.
        chart: SVG of our own making.
    """
    cards = list(cards)
    page = page or whole(cards)
    style = _STYLE + "".join(sorted({_ratio_rule(card.ratio) for card in cards}))
    figures = "\n".join(_figure(card) for card in cards)
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
<p>{html.escape(_summary(cards, page))}</p>
{_chart(chart)}</header>
{_filter(page)}
<main>
{figures}
</main>
<p id="none" hidden>Nothing like that on this page.</p>
{_page_links(page)}
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


def _summary(cards: Sequence[Card], page: Page) -> str:
    models = Counter(card.model for card in cards if not card.beside)
    total, others = sum(page.jobs.values()), sum(page.beside.values())
    words = [f"{total:,} job{'' if total == 1 else 's'}"]
    if len(page.states) == 1 and models:
        words = [f"{count} {model}" for model, count in models.most_common()]
    words += [f"{count:,} {state}" for state, count in page.jobs.items() if state != "saved"]
    if others:
        words.append(f"{others:,} older or gone from the manifest")
    if page.credits:
        words.append(format_credits(page.credits, page.refunded, with_unit=True))
    if page.of_sandbox:
        words.append("a sandbox's: play money, and a clock of its own")
    return " · ".join(words)


def _chart(chart: str) -> str:
    if not chart:
        return ""
    words = "".join(
        f'<span class="{name}">{words}</span>'
        for name, words in _LEGEND.items()
        if f'class="{name}"' in chart
    )
    return f'<section class="chart">{chart}<p class="legend">{words}</p></section>\n'


def _filter(page: Page) -> str:
    """What the page can be narrowed down by."""
    everything = {"": sum(page.counts.values()), **page.counts}
    buttons = "".join(
        f'<button type="button" data-state="{html.escape(state)}" aria-pressed="false">'
        f"{html.escape(state or 'all')} <b>{count:,}</b></button>"
        for state, count in everything.items()
    )
    field = '<input type="search" placeholder="find in prompts and names" aria-label="find">'
    return f'<nav class="tools" aria-label="filter">{buttons}{field}</nav>'


def _page_links(page: Page) -> str:
    if len(page.states) < 2:
        return ""
    links = "".join(
        f'<a href="./{page_name(number)}" data-states="{html.escape(" ".join(sorted(states)))}"'
        f"{_CURRENT if number == page.number else ''}>{number}</a>"
        for number, states in enumerate(page.states, start=1)
    )
    return f'<nav class="pages" aria-label="pages">{links}</nav>'


def _figure(card: Card) -> str:
    files = [file for file in card.files if _link(file)]
    notes = "".join(f'<span class="mark">{html.escape(mark)}</span>' for mark in card.marks)
    if card.differs:
        notes += f'<span class="differs">{html.escape(card.differs)}</span>'
    notes += "".join(f"<span>{html.escape(note)}</span>" for note in _notes(card))
    return f"""<figure class="{_ratio_class(card.ratio)}" data-state="{html.escape(card.state)}">
{_media(card, files)}
<figcaption><p dir="auto">{html.escape(card.prompt)}</p>
<div title="{html.escape(card.name)}"><b><bdi>{html.escape(card.name)}</bdi></b>
<button type="button" class="copy" title="copy the prompt">copy</button></div>
<div class="notes">{notes}</div>
{_details(card, files)}</figcaption>
</figure>"""


def _media(card: Card, files: Sequence[str]) -> str:
    clip = next((file for file in files if _suffix(file) in CLIPS), None)
    pictures = [file for file in files if _suffix(file) in PICTURES]
    if clip is not None:
        poster = f' poster="{_link(pictures[0])}"' if pictures else ""
        return (
            f'<a href="{_link(clip)}"><video src="{_link(clip)}"{poster} muted loop playsinline '
            'preload="none"></video></a>'
        )
    if not pictures:
        reason = html.escape(card.error or "no files")
        return f'<div class="missing"><b>{html.escape(card.state)}</b><p dir="auto">{reason}</p></div>'
    if len(pictures) == 1:
        return _picture(card, pictures[0])
    return f'<div class="several">{"".join(_picture(card, picture) for picture in pictures)}</div>'


def _picture(card: Card, file: str) -> str:
    link = _link(file)
    return f'<a href="{link}"><img src="{link}" alt="{html.escape(card.name)}" loading="lazy"></a>'


def _details(card: Card, files: Sequence[str]) -> str:
    """What is not shown before somebody asks."""
    facts = dict(card.facts)
    if card.error is not None:
        facts = {"error": card.error, **facts}
    if not facts:
        return ""
    rows = [(name, f'<dd dir="auto">{html.escape(text)}</dd>') for name, text in facts.items()]
    rows += [
        ("file", f'<dd><a href="{_link(file)}"><bdi>{html.escape(file)}</bdi></a></dd>') for file in files
    ]
    listed = "".join(f"<dt>{html.escape(name)}</dt>{value}" for name, value in rows)
    word = "what went wrong" if card.error is not None else "more"
    return f"<details><summary>{word}</summary><dl>{listed}</dl></details>\n"


def _notes(card: Card) -> list[str]:
    notes = [card.model, card.shape]
    if card.seconds is not None:
        notes.append(format_seconds(card.seconds))
    if card.credits is not None:
        notes.append(format_credits(card.credits, card.refunded, with_unit=True))
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

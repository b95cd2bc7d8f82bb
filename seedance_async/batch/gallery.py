"""The HTML pages of a batch's gallery: clips that play under the pointer, pictures, prompts and failures.

A page contains only text and relative links to its files, so it opens from disk, and the directory can be
moved or zipped as a whole. Prompts, names and errors are untrusted and may contain markup: all text is
escaped, links that lead out of the page's directory are dropped, and the content security policy allows only
this module's script, identified by its hash.

A large batch is divided into many pages, so that writing or viewing one needs little memory. Clips and
pictures are loaded when they come into view. A chosen filter is kept from page to page.

Pure: data in, HTML out.
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
WIDEST: Final = 3.2  # width to height; a wider card would fill a row
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
        files: POSIX paths relative to the page, the main file first.
        shape: aspect ratio such as ``16:9``; anything else is shown as a square.
        credits: what was charged; None if unknown.
        refunded: credits that were refunded.
        seconds: how long the server worked on it; None if unknown.
        error: why files are missing.
        differs: how the files differ from the request.
        state: the job's state; left out, it follows from ``error``.
        marks: notes that are always visible, such as that it was removed from the manifest.
        is_extra: whether it is another take of a job, or was removed from the manifest.
        facts: further details, by name.
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
    is_extra: bool = False
    facts: Mapping[str, str] = field(factory=dict)

    @property
    def ratio(self) -> float:
        """Width divided by height, limited to what a card can show."""
        match = _RATIO.fullmatch(self.shape)
        if match is None or int(match[2]) == 0:
            return 1.0
        return min(WIDEST, max(NARROWEST, int(match[1]) / int(match[2])))


@frozen(kw_only=True)
class Page:
    """The facts about a page and its gallery.

    Attributes:
        number: number of the page, from 1.
        counts: number of cards in each state, on all pages.
        credits: credits charged, on all pages.
        states: for each page, the states on it.
        refunded: credits refunded, on all pages.
        of_sandbox: whether credits and times come from a sandbox.
        extras: number of cards in each state that are not jobs of the manifest.
    """

    number: int
    counts: Mapping[str, int]
    credits: float
    states: Sequence[Iterable[str]]
    refunded: float = 0.0
    of_sandbox: bool = False
    extras: Mapping[str, int] = field(factory=dict)

    @property
    def jobs(self) -> dict[str, int]:
        """Number of jobs of the manifest in each state."""
        return {
            state: jobs for state, count in self.counts.items() if (jobs := count - self.extras.get(state, 0))
        }


def whole(cards: Iterable[Card]) -> Page:
    """Return the facts of a gallery with one page."""
    cards = list(cards)
    counts = Counter(card.state for card in cards)
    used, refunded = sum(card.credits or 0 for card in cards), sum(card.refunded for card in cards)
    extras = Counter(card.state for card in cards if card.is_extra)
    return Page(number=1, counts=counts, credits=used, refunded=refunded, states=[counts], extras=extras)


def page_name(number: int) -> str:
    """Return the file name of a page."""
    return "gallery.html" if number == 1 else f"gallery-{number}.html"


def render(cards: Iterable[Card], *, title: str, page: Page | None = None, chart: str = "") -> str:
    """Return a page as HTML.

    Args:
        cards: the cards of this page.
        title: untrusted text.
        page: facts of the page; None if it is the only one.
        chart: trusted SVG.
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
    models = Counter(card.model for card in cards if not card.is_extra)
    total, others = sum(page.jobs.values()), sum(page.extras.values())
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
    """Return the buttons and the search field that filter the page."""
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
    """Return the details, which are hidden until they are opened."""
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


@lru_cache(maxsize=64)  # a card uses the links of its few files several times
def _link(file: str) -> str:
    """Return a relative link to a file; empty if it would lead out of the page's directory."""
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

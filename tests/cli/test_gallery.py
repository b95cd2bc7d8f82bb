"""The gallery shows everything, and nothing in it can act."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from seedance_async.batch.gallery import NARROWEST, WIDEST, Card, render


class Page(HTMLParser):
    """The tags of a page, and the text of its scripts and styles."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inline: dict[str, str] = {}
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep the text, and apart what is code."""
        tag = self.tags[-1][0] if self.tags else ""
        if tag in {"script", "style"} and tag not in self.inline:
            self.inline[tag] = data
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every such tag."""
        return [attrs for name, attrs in self.tags if name == tag]


def page(*cards: Card, title: str = "gallery") -> Page:
    """The page, read by a parser that shares nothing with the renderer."""
    return Page(render(cards, title=title))


def card(**changes: object) -> Card:
    """A clip, but for the changes."""
    return Card(**{"name": "01-boat", "model": "seedance2", "prompt": "a boat", **changes})  # type: ignore[arg-type]  # each test names fields of the class


def test_a_clip_is_shown_with_its_poster_and_all_that_is_known_of_it() -> None:
    """The last frame stands in until the pointer is on it; prompt, price and time are beside it."""
    shown = page(
        card(files=("a.mp4", "a-last-frame.png"), shape="9:16", credits=30, seconds=184.4), title="boats"
    )

    (video,) = shown.all("video")
    assert ("./a.mp4", "./a-last-frame.png") == (video["src"], video["poster"])
    assert ["./a.mp4"] == [link["href"] for link in shown.all("a")]
    for reported in ("boats", "a boat", "01-boat", "seedance2", "9:16", "30 cr", "3:04", "30 credits"):
        assert reported in shown.text


def test_a_picture_is_shown_as_a_picture() -> None:
    """And opens whole on a click."""
    shown = page(card(files=("a.png",)))

    assert ["./a.png"] == [image["src"] for image in shown.all("img")]
    assert [] == shown.all("video")


def test_a_job_without_files_tells_why() -> None:
    """A failure has its place among the others."""
    shown = page(card(error="content policy"), card(files=("a.png",)))

    assert "content policy" in shown.text
    assert "1 failed" in shown.text


@pytest.mark.case(148)
@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "\"><img src=x onerror='alert(1)'>",
        "</style></title><svg onload=alert(1)>",
        "'-alert(1)-'",
    ],
)
def test_markup_in_foreign_text_stays_text(hostile: str) -> None:
    """Whatever stands in prompts, names, models and errors adds no tag and no attribute to the page."""
    plain = page(card(shape="x", files=("a.png",)), card(error="no"))

    attacked = page(
        card(prompt=hostile, name=hostile, model=hostile, shape=hostile, files=("a.png",)),
        card(error=hostile),
        title=hostile,
    )

    assert [tag for tag, _ in plain.tags] == [tag for tag, _ in attacked.tags]
    assert [attrs.keys() for _, attrs in plain.tags] == [attrs.keys() for _, attrs in attacked.tags]
    assert hostile in attacked.text


@pytest.mark.parametrize(
    "file", ["/etc/passwd.png", "../../secret.png", "a/../../b.png", "..\\b.png", "", "//evil.example/a.png"]
)
def test_a_file_outside_the_pages_directory_is_not_linked(file: str) -> None:
    """The page is given away with its directory; it shows nothing else."""
    shown = page(card(files=(file,)))

    assert [] == [*shown.all("a"), *shown.all("img")]


@pytest.mark.parametrize(
    "file", ["javascript:alert(1).png", "https://evil.example/x.png", "data:text/html,x.png"]
)
def test_a_file_name_cannot_become_a_url(file: str) -> None:
    """A colon in a name is quoted behind a dot, so a browser finds no scheme."""
    shown = page(card(files=(file,)))

    links = [link["href"] or "" for link in shown.all("a")]
    assert [True] == [link.startswith("./") and ":" not in link for link in links]


@pytest.mark.case(148)
def test_the_content_policy_lets_nothing_run_but_the_pages_own_script() -> None:
    """Even markup that got in could not act: scripts and styles are named by their hashes."""
    shown = page(card(files=("a.mp4",), shape="21:9"))

    (policy,) = [
        tag["content"] or ""
        for tag in shown.all("meta")
        if tag.get("http-equiv") == "Content-Security-Policy"
    ]
    allowed = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    for name in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(shown.inline[name].encode()).digest()).decode()
        assert f"'sha256-{digest}'" == allowed[f"{name}-src"]
    assert "'none'" == allowed["default-src"]
    assert [] == [
        tag for tag, attrs in shown.tags if "style" in attrs or any(name[:2] == "on" for name in attrs)
    ]


@pytest.mark.parametrize(
    ("shape", "ratio"),
    [
        ("16:9", 16 / 9),
        ("1:1", 1),
        ("auto", 1),
        ("adaptive", 1),
        ("1:0", 1),
        ("", 1),
        ("9:1", WIDEST),
        ("1:9", NARROWEST),
    ],
)
def test_a_card_has_the_shape_of_its_picture(shape: str, ratio: float) -> None:
    """As far as it can be read, and within what fits a row."""
    assert ratio == card(shape=shape).ratio


def test_every_shape_on_the_page_has_its_rule() -> None:
    """The policy forbids styles on tags, so shapes are classes."""
    source = render([card(shape="16:9"), card(shape="2:3")], title="shapes")

    used = set(re.findall(r'<figure class="(\w+)"', source))
    assert {"r178", "r67"} == used
    assert all(f".{name}{{--ratio:" in source for name in used)

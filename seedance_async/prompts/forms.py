"""The guide's forms in words: how each asset's role is said, and how the parts make one prompt. Pure.

A simple prompt is one paragraph: task wording, subject and asset role, scene and action, style and
constraints. With several shots it has three parts: setup and asset roles, the shots in order, style and
constraints.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from attrs import frozen

from seedance_async.prompts import words
from seedance_async.prompts.subject import is_clip

if TYPE_CHECKING:
    from collections.abc import Sequence

ENDINGS: Final = tuple('.!?…:;。！？：；"”』」}')
FRAMES: Final = {"image_url": "opening", "end_image_url": "closing"}

ROLE_KINDS: Final = ("character", "style", "camera motion", "source video", "previous clip")
"""Kinds of roles that the guide has a form for; every other role is said in its own words."""

TASKS: Final = frozenset({"source video", "previous clip"})
"""Roles that are the task itself, so that their sentences come first."""

_KIND: Final = re.compile(
    rf"(?P<kind>{'|'.join(kind.replace(' ', '[ -]') for kind in ROLE_KINDS)})(?: reference)?"
    r"(?:\s*:\s*(?P<text>.+))?",
    re.IGNORECASE | re.DOTALL,
)
_BLANKS: Final = re.compile(r"\s+")


@frozen
class Asset:
    """A medium of a request, and what it is for.

    Attributes:
        field: of the request, such as ``media_urls``.
        medium: the URL, link or file.
        role: what it is for: a kind of ``ROLE_KINDS``, that and a text behind a colon, or a text alone; None
            if nobody says.
    """

    field: str
    medium: str
    role: str | None = None


def role_sentences(assets: Sequence[Asset]) -> list[str]:
    """A sentence for each asset that has a role, the task's wording first.

    Args:
        assets: all of a request, in its order.
    """
    roles = [None if asset.role is None else _kind(asset.role) for asset in assets]
    kinds = [role[0] if role else None for role in roles]
    if (kinds.count("style"), kinds.count("source video")) == (1, 1):  # the guide's combination
        return _combined(assets, kinds.index("style"), kinds.index("source video"))
    said = [place for place, role in enumerate(roles) if role is not None]
    return [_sentence(assets, place) for place in sorted(said, key=lambda place: kinds[place] not in TASKS)]


def _combined(assets: Sequence[Asset], style: int, source: int) -> list[str]:
    look = _kind(assets[style].role or "")[1]
    edit = _kind(assets[source].role or "")[1]
    task = (
        f"Use the supplied style reference{_behind(assets, style)} while strictly editing "
        f"the supplied source video{_behind(assets, source)}{f'; {edit}' if edit else ''}"
    )
    said = [place for place, asset in enumerate(assets) if asset.role is not None]
    others = [_sentence(assets, place) for place in said if place not in {style, source}]
    return [task, *([f"The style reference gives {look}"] if look else []), *others]


def _kind(role: str) -> tuple[str | None, str]:
    """The kind of a role, and the text behind it."""
    found = _KIND.fullmatch(role.strip())
    if found is None:
        return None, tidy(role)
    return found["kind"].lower().replace("-", " "), tidy(found["text"] or "")


def _sentence(assets: Sequence[Asset], place: int) -> str:
    asset = assets[place]
    kind, text = _kind(asset.role or "")
    if asset.field in FRAMES:
        return f"Use the supplied {FRAMES[asset.field]} frame as {text or f'the {kind}'}"
    behind, more = _behind(assets, place), f": {text}" if text else ""
    match kind:
        case "character":
            return f"Use the supplied character reference{behind} as {text or 'the lead'}"
        case "style":
            return f"Use the supplied style reference{behind} throughout{more}"
        case "camera motion":
            return f"Match the supplied camera-motion reference{behind}{more}"
        case "source video":
            return f"Strictly edit the supplied source video{behind}{f'; {text}' if text else ''}"
        case "previous clip":
            return f"Continue from the supplied previous clip{behind}{more}"
        case _:
            return f"Use the {_which(assets, place) or f'supplied {_noun(asset.medium)}'} as {text}"


def _behind(assets: Sequence[Asset], place: int) -> str:
    """Which medium an asset is, in brackets, where that does not follow from its role."""
    which = _which(assets, place)
    return f" (the {which.replace(' supplied', '')})" if which else ""


def _noun(medium: str) -> str:
    return {True: "clip", False: "picture", None: "reference"}[is_clip(medium)]


def _which(assets: Sequence[Asset], place: int) -> str | None:
    """Which of several media one is, such as ``second supplied picture``; None if it is the only one."""
    listed = [at for at, asset in enumerate(assets) if asset.field not in FRAMES]
    nouns = {at: _noun(assets[at].medium) for at in listed}
    noun = "reference" if "reference" in nouns.values() else nouns[place]
    alike = [at for at in listed if noun == "reference" or nouns[at] == noun]
    return None if len(alike) < 2 else f"{words.ORDINALS[alike.index(place)]} supplied {noun}"


def compose(before: Sequence[str], scene: str, shots: Sequence[str], after: Sequence[str]) -> str:
    """The prompt that these parts make.

    Args:
        before: task wording and roles of assets, a sentence each.
        scene: what is seen and heard; with shots, what is common to all of them.
        shots: in their order; none for a simple scene.
        after: style and constraints, a sentence each.
    """
    setup = [*map(sentence, before), sentence(scene)]
    ordered = [f"Shot {number}: {sentence(shot)}" for number, shot in enumerate(shots, start=1)]
    closing = [sentence(part) for part in after]
    if not ordered:
        return " ".join(filter(None, [*setup, *closing]))
    parts = [" ".join(filter(None, setup)), "\n".join(ordered), " ".join(filter(None, closing))]
    return "\n\n".join(filter(None, parts))


def sentence(text: str) -> str:
    """A text as a sentence: with a capital and a full stop, where they are missing; empty for none."""
    text = text.strip()
    if not text:
        return ""
    first = text[0].upper() if text.split()[0].islower() else text[0]
    return f"{first}{text[1:]}{'' if text.endswith(ENDINGS) else '.'}"


def tidy(text: str) -> str:
    """A text in one line, without the full stop that its sentence gets."""
    return _BLANKS.sub(" ", text).strip().rstrip(".").rstrip()

"""The guide's forms in words: how each asset's role is said, and how the parts make one prompt. Pure.

A simple prompt is one paragraph: task wording, subject and asset role, scene and action, style and
constraints. With several shots it has three parts: setup and asset roles, the shots in order, style and
constraints.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from attrs import frozen

from seedance_async.prompts.rules_text import ORDINALS
from seedance_async.prompts.subject import is_clip

if TYPE_CHECKING:
    from collections.abc import Sequence

ENDINGS: Final = tuple('.!?…:;。！？：；"”』」}')
FRAMES: Final = {"image_url": "opening", "end_image_url": "closing"}

ROLE_KINDS: Final = ("character", "style", "camera motion", "source video", "previous clip")
"""Kinds of roles that the guide has a form for; every other role is said in its own words."""

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
    said = [(place, asset) for place, asset in enumerate(assets) if asset.role is not None]
    sentences = [(_rank(asset), place, _sentence(assets, place)) for place, asset in said]
    return [text for *_, text in sorted(sentences)]


def _rank(asset: Asset) -> int:
    """Where a sentence stands: an edit or extension is the task, so it comes before the other roles."""
    return 0 if _kind(asset.role or "")[0] in {"source video", "previous clip"} else 1


def _kind(role: str) -> tuple[str | None, str]:
    """The kind of a role, and the text beside it."""
    found = _KIND.fullmatch(role.strip())
    if found is None:
        return None, tidy(role)
    return found["kind"].lower().replace("-", " "), tidy(found["text"] or "")


def _sentence(assets: Sequence[Asset], place: int) -> str:
    asset = assets[place]
    kind, text = _kind(asset.role or "")
    which = _which(assets, place)
    behind = f" ({which})" if which and asset.field not in FRAMES else ""
    if asset.field in FRAMES:
        noun = f"the supplied {FRAMES[asset.field]} frame"
        return f"Use {noun} as {text or f'the {kind}'}"
    match kind:
        case "character":
            return f"Use the supplied character reference{behind} as {text or 'the lead'}"
        case "style":
            return f"Use the supplied style reference{behind} throughout{f': {text}' if text else ''}"
        case "camera motion":
            return f"Match the supplied camera-motion reference{behind}{f': {text}' if text else ''}"
        case "source video":
            return f"Strictly edit the supplied source video{behind}{f'; {text}' if text else ''}"
        case "previous clip":
            return f"Continue from the supplied previous clip{behind}{f': {text}' if text else ''}"
        case _:
            ordinal, _, noun = (
                (which or f"the supplied {_noun(asset.medium)}").removeprefix("the ").partition(" ")
            )
            supplied = f"{ordinal} supplied {noun}" if which else f"{ordinal} {noun}"
            return f"Use the {supplied} as {text}"


def _noun(medium: str) -> str:
    return {True: "clip", False: "picture", None: "reference"}[is_clip(medium)]


def _which(assets: Sequence[Asset], place: int) -> str | None:
    """Which of several media one is, such as ``the second picture``; None if it is the only one."""
    listed = [at for at, asset in enumerate(assets) if asset.field not in FRAMES]
    if len(listed) < 2 or place not in listed:
        return None
    nouns = {at: _noun(assets[at].medium) for at in listed}
    noun = "reference" if "reference" in nouns.values() else nouns[place]
    alike = [at for at in listed if noun == "reference" or nouns[at] == noun]
    return f"the {noun}" if len(alike) == 1 else f"the {ORDINALS[alike.index(place)]} {noun}"


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
    first = text[0].upper() if text[:2].isalpha() and text[:2].islower() else text[0]
    return f"{first}{text[1:]}{'' if text.endswith(ENDINGS) else '.'}"


def tidy(text: str) -> str:
    """A text in one line, without the full stop that its sentence gets."""
    return _BLANKS.sub(" ", text).strip().rstrip(".").rstrip()

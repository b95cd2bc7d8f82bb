"""Rules that compare a prompt with the media that are sent with it (P04, P05, P10).

Where only the text is given, the media are unknown and these rules find nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from seedance_async.prompts.findings import Hit, Level
from seedance_async.prompts.subject import is_clip
from seedance_async.prompts.words import Words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from seedance_async.prompts.subject import Subject

_MEDIUM: Final = (
    r"(?:references?|images?|pictures?|photos?|photographs?|stills?|clips?|videos?|footage|frames?|assets?)"
)
_SUPPLIED: Final = re.compile(
    rf"\b(?:the|this|these|both|my|our)\s+(?:[\w-]+\s+)?(?:supplied|provided)\s+(?:[\w-]+\s+){{0,3}}?{_MEDIUM}\b"
    rf"|\b(?:use|using|match|matching|animate|edit|follow|following|based on|per)\s+(?:the|this|these|my)\s+"
    rf"(?:attached|uploaded)\s+(?:[\w-]+\s+){{0,3}}?{_MEDIUM}\b",
    re.IGNORECASE,
)
_CLIP: Final = r"(?:video|clip|footage)\b"
EDIT_OR_EXTENSION: Final = re.compile(
    r"\b(?:strictly\s+)?edit(?:ing)?\s+(?:the|this|my)\s+"
    rf"(?:(?:supplied|provided|source|original|attached)\s+)+{_CLIP}"
    r"|\b(?:continue|continuing|carry on)\s+(?:directly\s+|seamlessly\s+)?(?:from\s+)?(?:the|this|my)\s+"
    rf"(?:(?:supplied|provided|previous|prior|earlier)\s+)+{_CLIP}"
    r"|\bextend(?:ing)?\s+(?:the|this|my)\s+"
    rf"(?:(?:supplied|provided|previous|prior|source|original)\s+)+{_CLIP}",
    re.IGNORECASE,
)
_ROLE: Final = Words(
    "supplied", "provided", "attached", "references?", "source", "previous clip", "prior clip", "pictures?",
    "images?", "photos?", "photographs?", "clips?", "videos?", "footage", "frames?", "stills?", "sheets?",
    "first", "second", "third", "asset", "assets", "storyboard", "portrait", "as shown", "@\\w+",
)  # fmt: skip


def roles_without_media(subject: Subject) -> Iterator[Hit]:
    """P04: a role for media that are not sent."""
    if subject.request is None or subject.media:
        return
    if not subject.has_any("supplied", "provided", "attached", "uploaded") or not subject.is_english:
        return
    editing = [found.span() for found in EDIT_OR_EXTENSION.finditer(subject.text)]
    field = "media_urls" if subject.is_video else "image_urls"
    for found in _SUPPLIED.finditer(subject.text):
        if not any(start <= found.start() < end for start, end in editing):  # P05 reports those
            reason = f"is missing: the request has no media; put its URL into {field}, or describe it"
            yield Hit(found.start(), found.end(), reason)


def editing_without_a_clip(subject: Subject) -> Iterator[Hit]:
    """P05: the wording of an edit or an extension, and no clip to edit or extend."""
    clip = subject.clip
    if clip is None or not subject.has_any("edit", "continu", "extend", "carry on") or not subject.is_english:
        return
    kinds = [is_clip(medium) for medium in clip.media_urls]
    if True in kinds:
        return
    for found in EDIT_OR_EXTENSION.finditer(subject.text):
        if None in kinds:
            reason = "needs a clip in media_urls, and no URL there looks like one"
            yield Hit(found.start(), found.end(), reason, level=Level.WARNING)
        else:
            reason = "needs the clip's URL in media_urls; the request has no clip"
            yield Hit(found.start(), found.end(), reason)


def media_without_roles(subject: Subject) -> Iterator[Hit]:
    """P10: media that the prompt does not mention; a single start frame needs no words."""
    clip = subject.clip
    if clip is None or not clip.media_urls or not subject.is_english or _ROLE.search(subject.text):
        return
    count = len(clip.media_urls)
    sent = "a reference is" if count == 1 else f"{count} references are"
    reason = (
        f'{sent} sent, but the prompt does not say what for; write "Use the supplied picture as the lead"'
    )
    yield Hit(0, 0, reason)

"""Rules about what must not be in a prompt: ids, foreign labels, empty variables, leftovers (P01-P03, P11).

They are about structure, so they apply to every language. Text in quotation marks is to be read or spoken in
the clip, so it is not checked.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import TYPE_CHECKING, Final

from seedance_async.models.rules import IN_APP_LABEL
from seedance_async.prompts import words
from seedance_async.prompts.findings import Hit
from seedance_async.prompts.subject import is_clip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from seedance_async.prompts.subject import Subject

DASHES_OF_A_UUID: Final = 4

_IDS: Final = re.compile(
    r"asset\s*://\S*"
    r"|https?://[^\s\"'<>()（），。]+"
    r"|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"
    r"|\b(?:sd2|gpt2|nbp)_[0-9A-Za-z]{5,}\b"
    r"|\basset-[0-9]{8,}[\w-]*",
    re.IGNORECASE,
)
_LABEL: Final = re.compile(
    r"(?<![\w.])@\s?(?P<word>image|img|picture|photo|video|clip|audio|music|character|element|reference|ref|asset|material)"
    r"\s?[_-]?(?P<number>[0-9]{1,2})(?![\w])"
    r"|<{2,3}\s*(?P<word2>[A-Za-z]+)[ _-]?(?P<number2>[0-9]{1,2})\s*>{2,3}",
    re.IGNORECASE,
)
_PICTURE_WORDS: Final = frozenset({"image", "img", "picture", "photo", "图片", "图像", "圖片", "圖像"})
_CLIP_WORDS: Final = frozenset({"video", "clip", "视频", "影片", "視頻"})

_VARIABLE: Final = re.compile(
    r"\$?\{\{\s*[A-Za-z_][\w.]*\s*\}\}|\$\{[A-Za-z_]\w*\}|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}"
)
_BLANK_TO_FILL: Final = re.compile(
    r"\[(?:(?i:insert|fill in|replace with)\b[^\]\n]{1,60}|YOUR [A-Z][A-Z _-]*|your [a-z][a-z _-]{1,40}"
    r"|[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)\]"
    r"|<(?i:insert|your) [\w -]{1,40}>"
)

_NO_TEXT: Final = re.compile(
    r"\s*(?:(?:none|null|nil|nan|undefined|n/a|<na>|\[object object\]|todo|tbd|xxx"
    r"|\.{3,}|…|-{3,}|_{3,})\s*)?",
    re.IGNORECASE,
)
"""What programs and people write where there is no text."""

_OF_A_SPREADSHEET: Final = re.compile(
    r"\s*(?:#(?:NAME\?|N/A|NV|[A-Z0-9/]{3,12}!|#+)|Err:[0-9]{3})\s*\Z"
    r"|\s*=\s*(?:[A-Z][A-Z0-9.]*\(|\"|\$?[A-Z]{1,3}\$?[0-9]+\b)"
)
"""An error value of a spreadsheet, as the whole cell, or a formula that was exported instead of its value."""

_LEADING_LABEL: Final = re.compile(
    r"\A\W{0,4}(?:(?:video|image|final|full|seedance(?: 2(?:\.0)?)?|sora(?: 2)?|veo(?: 3)?|kling)\s+)?"
    r"prompt\s*"
    r"(?:[:：]|(?=[👇⬇↓]))\W*",
    re.IGNORECASE,
)
_PARAMETER: Final = re.compile(
    r"(?<!\S)--(?:ar|v|style|stylize|s|q|no|seed|niji|chaos|motion|fps|raw|hd)\b(?: [\w:.]+)?"
)
_LEFTOVER: Final = re.compile(
    r"(?<!\w)(?:copy (?:and paste )?(?:this|the) prompt|prompt (?:in|below|👇)|full prompt (?:below|in)"
    r"|negative prompt\s*:)"
    r"|```\w*",
    re.IGNORECASE,
)


def raw_ids(subject: Subject) -> Iterator[Hit]:
    """P01: an asset's id, a task's id, or a URL."""
    if not (
        subject.has_any("://", "sd2_", "gpt2_", "nbp_", "asset-")
        or subject.text.count("-") >= DASHES_OF_A_UUID
    ):
        return
    for found in _IDS.finditer(subject.text):
        if not subject.is_quoted(found.start()):
            reason = "is an id or a URL, which means nothing to the model: say in words what the asset is for"
            yield Hit(found.start(), found.end(), reason)


def foreign_labels(subject: Subject) -> Iterator[Hit]:
    """P02: a label that another app uses for its uploads."""
    text = subject.text
    if "@" in text or "<<" in text:
        for found in _LABEL.finditer(text):
            if not subject.is_quoted(found.start()):
                word, number = found["word"] or found["word2"], int(found["number"] or found["number2"])
                yield _label(subject, found.span(), word, number)
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    if "@" in plain:
        for found in IN_APP_LABEL.finditer(plain):
            if plain == text:
                word, number = re.sub(r"[@\s\d]", "", found[0]), int(re.sub(r"\D", "", found[0]))
                yield _label(subject, found.span(), word, number)
            else:
                yield Hit(0, 0, f"the label {found[0]!r} {_NO_LABEL}")


_NO_LABEL: Final = (
    "is a label of another app, unknown to the API: say in words which picture or clip is meant"
)


def _label(subject: Subject, span: tuple[int, int], word: str, number: int) -> Hit:
    return Hit(*span, _NO_LABEL, fix=_in_words(subject, word.lower(), number))


def _in_words(subject: Subject, word: str, number: int) -> str | None:
    """Return words for the medium that a label means; None if it is not clear which one."""
    if word not in _PICTURE_WORDS | _CLIP_WORDS or not 1 <= number <= len(words.ORDINALS):
        return None
    wants_clip = word in _CLIP_WORDS
    noun = "clip" if wants_clip else "picture"
    which = f"the {words.ORDINALS[number - 1]} supplied {noun}"
    if subject.request is None:
        return which
    if subject.clip is not None and subject.clip.image_url is not None:
        frames = ("opening", "closing")[: len(subject.media)]
        return (
            f"the supplied {frames[number - 1]} frame" if not wants_clip and number <= len(frames) else None
        )
    kinds = [is_clip(medium) for medium in subject.media]
    of_the_kind = sum(kind is wants_clip for kind in kinds)
    if None in kinds or number > of_the_kind:
        return None
    return f"the supplied {noun}" if of_the_kind == 1 else which


def unfilled(subject: Subject) -> Iterator[Hit]:
    """P03: a variable that is not filled in, or what stands in the place of a text that is not there.

    Braces also mark speech. So a single word in them counts only if it looks like a name: it has an
    underscore or a digit, or it is in lower case in an English prompt and follows no word for speaking.
    """
    text = subject.text
    if _NO_TEXT.fullmatch(text):
        yield Hit(0, 0, f"the prompt {text.strip()!r} stands for a text that is missing")
    if _OF_A_SPREADSHEET.match(text):
        yield Hit(0, 0, "the prompt is an error or a formula of a spreadsheet: export its values")
    if "{" in text:
        for found in _VARIABLE.finditer(text):
            if found["name"] is None or _is_name(subject, found["name"], found.start()):
                yield Hit(found.start(), found.end(), "is a variable that is not filled in")
    for found in _BLANK_TO_FILL.finditer(text) if "[" in text or "<" in text else ():
        yield Hit(found.start(), found.end(), "is a placeholder of a template that is not filled in")


def _is_name(subject: Subject, name: str, place: int) -> bool:
    if re.search(r"[_0-9]", name):
        return True
    return (
        name.islower()
        and subject.is_english
        and not words.SPEECH_VERB_BEFORE.search(subject.before(place))
        and not subject.before(place).rstrip().endswith(",")
        and subject.text[:place].rstrip()[-1:] not in {":", "："}
    )


def leftovers(subject: Subject) -> Iterator[Hit]:
    """P11: leftovers of copying, and a prompt that is JSON."""
    text = subject.text
    if _is_json(text):
        yield Hit(0, 0, "the prompt is JSON: the model reads prose, so describe what is seen and heard")
        return
    start = 0
    if found := _LEADING_LABEL.match(text):
        start = found.end()
        yield Hit(0, start, "is a leftover of copying", fix="")
    for found in _PARAMETER.finditer(text):
        reason = "is a parameter of another service, which this one takes as text: use the request's field"
        yield Hit(found.start(), found.end(), reason, fix="")
    for found in _LEFTOVER.finditer(text, start):
        fix = "" if found[0].startswith("```") else None
        yield Hit(found.start(), found.end(), "is a leftover of copying", fix=fix)


def _is_json(text: str) -> bool:
    bare = text.strip().removeprefix("```json").removesuffix("```").strip()
    if not bare.startswith(("{", "[")):
        return False
    if re.match(r"\{\s*\"[^\"]+\"\s*:|\[\s*\{\s*\"", bare):
        return True
    try:
        return isinstance(json.loads(bare), dict | list)
    except (ValueError, RecursionError):
        return False

"""The mechanical fixes of what was found in a prompt, applied to it. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from attrs import evolve

from seedance_async.errors import ValidationError
from seedance_async.prompts.findings import Level

if TYPE_CHECKING:
    from collections.abc import Iterable

    from seedance_async.models import Request
    from seedance_async.prompts.findings import Finding

_GAP: Final = re.compile(r"(?<=\S)[ \t]{2,}(?=\S)")


def fixed_text(text: str, findings: Iterable[Finding]) -> str:
    """A prompt with the fixes of these findings; those of notes are left to taste.

    Args:
        text: the prompt in which they were found.
        findings: of that prompt.
    """
    fixes = [
        (*finding.place, finding.fix)
        for finding in findings
        if finding.fix is not None and finding.level is not Level.NOTE
    ]
    if not fixes:
        return text
    upto = len(text)
    for start, end, fix in sorted(fixes, reverse=True):
        if end <= upto:  # the later one of two that overlap
            text = f"{text[:start]}{fix}{text[end:]}"
            upto = start
    return _GAP.sub(" ", text).strip()


def fixed_request(request: Request, findings: Iterable[Finding]) -> Request:
    """A request with its prompt fixed; as it was where too little would be left of it."""
    try:
        return evolve(request, prompt=fixed_text(request.prompt, findings))
    except ValidationError:
        return request

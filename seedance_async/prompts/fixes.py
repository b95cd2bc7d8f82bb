"""Application of the mechanical fixes of findings to a prompt. Pure."""

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
    """Return a prompt with the fixes of its errors and warnings; notes are not applied.

    Args:
        text: the prompt.
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
        if end <= upto:  # of two that overlap, the later one is applied
            text = f"{text[:start]}{fix}{text[end:]}"
            upto = start
    return _GAP.sub(" ", text).strip()


def fixed_request(request: Request, findings: Iterable[Finding]) -> Request:
    """Return a request with its prompt fixed; unchanged if the fixed prompt would not be valid."""
    try:
        return evolve(request, prompt=fixed_text(request.prompt, findings))
    except ValidationError:
        return request

"""Pages of the documentation as values: their text, their blocks, their tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from sybil.document import Document
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer

ROOT: Final = Path(__file__).parents[2]
README: Final = "README.md"


def guide(name: str) -> str:
    """The page of a directory of ``examples/``."""
    return f"examples/{name}/README.md"


def text(page: str) -> str:
    """All of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def section(page: str, heading: str) -> str:
    """What stands below a heading, up to the next one of its level."""
    return re.split(r"^## ", text(page).split(f"\n## {heading}\n")[1], flags=re.MULTILINE)[0]


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    regions = FencedCodeBlockLexer(language)(Document(text(page), page))
    return [str(region.lexemes["source"]) for region in regions]


def block(page: str, *, naming: str, language: str = "python") -> str:
    """The one block with this in it."""
    (found,) = [source for source in blocks(page, language) if naming in source]
    return found


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its own head."""
    lines = [line for line in section(page, heading).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]

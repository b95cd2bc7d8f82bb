"""Tests of the README: its length, its program, its commands, its arithmetic, its links and its pictures."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from tests.docs.copying import GUIDES, blocks_of
from tests.docs.pages import README, ROOT, block, blocks, rows, text
from tests.examples.processes import run

if TYPE_CHECKING:
    from pathlib import Path

MOST_WORDS = 1500
NOT_YET = {"workers", "agents"}
"""Places of ``examples/`` that are linked before they are there."""
DEMO = (
    "python3 -m venv .venv && .venv/bin/pip install '.[cli,sandbox]' && .venv/bin/seedance demo -o demo-out"
)
TESTS = "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/pytest -n auto"


def program(source: str) -> list[str]:
    """The statements of a program, without what only files need: docstrings, future imports, main guards."""
    tree = ast.parse(source)
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)]:
        if ast.get_docstring(function) is not None:
            del function.body[0]
    kept = []
    for node in tree.body:
        match node:
            case ast.Expr(ast.Constant()) | ast.ImportFrom(module="__future__"):
                pass
            case ast.If(body=body):
                kept += body
            case _:
                kept.append(node)
    return [ast.unparse(node) for node in kept]


def test_it_is_short() -> None:
    """Tables and blocks included."""
    assert MOST_WORDS >= len(text(README).split())


def test_its_program_is_the_file_that_it_names() -> None:
    """So that what the next block runs is what the reader has read."""
    (shown,) = [part for part in blocks_of(text(README)) if part.language == "python"]
    assert shown.is_copy_of is not None

    assert program(shown.source) == program((ROOT / shown.is_copy_of).read_text(encoding="utf-8"))


def test_one_clip_runs_as_a_script(tmp_path: Path) -> None:
    """The first program anybody copies."""
    script = tmp_path / "one_clip.py"
    script.write_text(block(README, naming="asyncio.run"), encoding="utf-8")

    lines = run(script, directory=tmp_path)

    assert 2 == len(list((tmp_path / "out").iterdir()))
    assert ".mp4" in lines[0]


@pytest.mark.parametrize("command", [DEMO, TESTS])
def test_the_two_commands_stand_in_blocks_of_their_own(command: str) -> None:
    """They are run as they are written here, in fresh copies."""
    assert [f"{command}\n"] == [source for source in blocks(README, "bash") if command in source]


def test_the_arithmetic_of_the_problem_is_right() -> None:
    """One clip of 180 s at 30 requests a minute."""
    polls = 180 // 5
    naive, least = rows(README, "The problem")

    assert [1 + polls, 30 * 60 // (1 + polls)] == [int(cell) for cell in naive[1:]]
    assert [2, 30 * 60 // 2] == [int(cell) for cell in least[1:]]


@pytest.mark.parametrize("page", [README, *GUIDES])
def test_every_link_to_a_file_leads_somewhere(page: str) -> None:
    """Relative to the page; also the heading that it names."""
    here = (ROOT / page).parent
    for path, heading in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", text(page)):
        target = here / path if path else ROOT / page
        if NOT_YET & set(target.parts):
            continue
        assert target.exists(), path
        if heading:
            assert heading in headings(target), (path, heading)


def test_every_guide_is_one_click_away() -> None:
    """A page that the README does not name is found by nobody."""
    linked = set(re.findall(r"\]\((examples/[\w-]+/README\.md)", text(README)))

    assert set(GUIDES) <= linked


def test_its_pictures_are_small_and_say_what_they_show() -> None:
    """Both, made by ``examples/pictures/make.py``."""
    pictures = dict(re.findall(r"!\[([^]]+)\]\(([^)]+)\)", text(README)))

    assert ["examples/pictures/live.svg", "examples/pictures/gallery.webp"] == list(pictures.values())
    assert all(len(words) > 20 for words in pictures)
    assert all((ROOT / path).stat().st_size < 150_000 for path in pictures.values())


def headings(page: Path) -> set[str]:
    """The anchors of a page, as they are made of its headings."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in found}

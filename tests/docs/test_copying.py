"""Tests of the pages by copying them: every block in order, in one shell, by somebody without a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.copying import GUIDES, copy_page

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The processes live in real time."""
    return "asyncio"


def test_whoever_copies_the_readme_has_files_and_no_error(tmp_path: Path) -> None:
    """The demo, one clip, a batch that was killed, and a storyboard."""
    copy_page("README.md", tmp_path)

    here = tmp_path / "repository"
    for gallery in ("demo-out", "pond", "harbour"):
        assert (here / gallery / "gallery.html").is_file()
    for pattern in (
        "demo-out/01-*.mp4",
        "out/sd2_*.mp4",
        "pond/boat.mp4",
        "pond/fox-3.png",
        "harbour/shot-2.mp4",
    ):
        assert list(here.glob(pattern)), pattern


@pytest.mark.parametrize("page", GUIDES)
def test_whoever_copies_a_guide_meets_no_error(page: str, tmp_path: Path) -> None:
    """Each in a copy of its own."""
    copy_page(page, tmp_path)

"""Tests of the pages by copying them: every block in order, in one shell, by somebody without a key.

``.ci/run`` copies README.md, and installs what it says to install.
"""

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


@pytest.mark.parametrize("page", GUIDES)
def test_whoever_copies_a_guide_meets_no_error(page: str, tmp_path: Path) -> None:
    """Each in a copy of its own."""
    copy_page(page, tmp_path)

"""Fixtures: a state directory of its own, in which the record of plans and the account's are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this machine remembers what was sent and allowed."""
    place = tmp_path / "state"
    monkeypatch.setenv("SEEDANCE_STATE_DIR", str(place))
    return place

"""Fixtures: a state directory of its own for the record of plans and the account's, and a person's shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async.sandbox import Sandbox


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this machine remembers what was sent and allowed."""
    place = tmp_path / "state"
    monkeypatch.setenv("SEEDANCE_STATE_DIR", str(place))
    return place


@pytest.fixture
def environment(seedance_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables with which a person's own commands reach the sandbox."""
    monkeypatch.setenv("SEEDANCE_API_KEY", seedance_sandbox.api_key)
    monkeypatch.setenv("SEEDANCE_BASE_URL", seedance_sandbox.base_url)

"""Fixtures: the environment in which the README's programs run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from seedance_async.cli.sandbox import variables

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async.sandbox import Sandbox


@pytest.fixture
async def environment(seedance_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A directory to write into, and the variables that `seedance sandbox` tells to set."""
    monkeypatch.chdir(tmp_path)
    for name, value in variables(seedance_sandbox).items():
        monkeypatch.setenv(name, value)

"""A command line to type at, in virtual time, against a sandbox in the same loop."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from attrs import frozen

from seedance_async.cli.app import execute
from seedance_async.cli.sandbox import variables
from seedance_async.sandbox import Sandbox
from tests.canary import clean

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from typing import Any

    Type = Callable[..., Coroutine[Any, Any, "Ending"]]


@frozen
class Ending:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """What it wrote to stdout."""
        return self.out.splitlines()


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A sandbox on the real clock, for processes, in which a minute passes in 0.15 s."""
    async with Sandbox(speed=400) as sandbox:
        yield sandbox


@pytest.fixture
def environment(seedance_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that `seedance sandbox` tells to set."""
    for name, value in variables(seedance_sandbox).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
async def seedance(
    environment: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Type:
    """Run `seedance` with these arguments."""
    # The command never loads pydantic; where another test has, cyclopts would check flags by it and say less.
    monkeypatch.delitem(sys.modules, "pydantic", raising=False)

    async def run(*arguments: object) -> Ending:
        code = await execute([str(argument) for argument in arguments])
        return Ending(code, *map(clean, capsys.readouterr()))

    return run

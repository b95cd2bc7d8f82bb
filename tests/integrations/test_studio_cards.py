"""The cards of the studio example: none is paid twice, and a disk that fails ends one of them at most."""

from __future__ import annotations

import importlib.util
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from seedance_async import NanoBananaPro
from seedance_async.sandbox import Sandbox
from tests.faults.helpers import client_for

if TYPE_CHECKING:
    from types import ModuleType

STUDIO = Path(__file__).parents[2] / "examples" / "fastapi_studio" / "studio.py"
BOAT = NanoBananaPro(prompt="A paper boat on a pond")
HOUR = 3600.0


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example, with a directory of its own."""
    monkeypatch.setenv("STUDIO_DIRECTORY", str(tmp_path))
    spec = importlib.util.spec_from_file_location("studio_example", STUDIO)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def states(cards: Any) -> dict[str, str]:  # noqa: ANN401 - the example's
    """Of all cards."""
    return {card["key"]: card["state"] for card in cards.since(0)}


@pytest.mark.parametrize(("hours", "state", "posts"), [(21, "failed", 0), (19, "done", 1)])
async def test_an_unanswered_card_is_sent_again_only_while_its_key_is_trusted(
    studio: ModuleType, tmp_path: Path, hours: int, state: str, posts: int
) -> None:
    """Later it might be paid a second time."""
    cards = studio.Cards(tmp_path / "cards.sqlite")
    cards.add("first-key", BOAT)
    cards.set("first-key", studio.OPEN, asked_at=time.time() - hours * HOUR)
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        async with anyio.create_task_group() as group:
            await studio.Studio(client, cards, group).add("first-key", BOAT)

        assert {"first-key": state} == states(cards)
        assert posts == len(sandbox.paid_tasks)


async def test_a_disk_that_fails_for_one_card_ends_no_other(
    studio: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its card stays as it is; the next process collects what was paid."""
    cards = studio.Cards(tmp_path / "cards.sqlite")
    write, full = cards.set, {"first-key"}

    def set_unless_full(key: str, *state: str, **facts: object) -> None:
        if key in full:
            raise sqlite3.OperationalError("database or disk is full")
        write(key, *state, **facts)

    monkeypatch.setattr(cards, "set", set_unless_full)
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        async with anyio.create_task_group() as group:
            there = studio.Studio(client, cards, group)
            await there.add("first-key", BOAT)
            await there.add("second-key", BOAT)
        assert {"first-key": studio.SENDING, "second-key": studio.DONE} == states(cards)
        assert any("first-key is left as it is" in line for line in caplog.messages)

        full.clear()
        async with anyio.create_task_group() as group:
            await studio.Studio(client, cards, group).resume()
        assert {"first-key": studio.DONE, "second-key": studio.DONE} == states(cards)
        assert 2 == len(sandbox.paid_tasks)

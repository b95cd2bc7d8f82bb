"""``seedance batch --engine`` and ``seedance worker``: what they refuse before anything is sent."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from seedance_async import cli
from seedance_async.exit_codes import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async.sandbox import Sandbox
    from tests.cli.conftest import Type

SECRET = "pass_of_a_canary"
AWAY = f"postgresql://studio:{SECRET}@127.0.0.1:1/jobs"
JOB = '{"model": "nano-banana-pro", "prompt": "A paper boat"}\n'


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """One job."""
    path = tmp_path / "jobs.jsonl"
    path.write_text(JOB)
    return path


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--canary"], "not with --engine: --canary"),
        (["--until", "still-*", "--sandbox"], "not with --engine: --until, --sandbox"),
        (["--api-key", "sk_test_x"], "not with --engine: --api-key"),
        (["--media-store", "s3://bucket"], "not with --engine: --media-store"),
    ],
)
async def test_options_that_do_not_go_with_an_engine_are_refused(
    seedance: Type, seedance_sandbox: Sandbox, manifest: Path, tmp_path: Path, flags: list[str], said: str
) -> None:
    """All are named, and the database is not even asked for."""
    ending = await seedance("batch", manifest, "-o", tmp_path / "out", "--engine", AWAY, *flags)

    assert (ExitCode.USAGE, True) == (ending.code, said in ending.err)
    assert [] == list(seedance_sandbox.requests)
    assert SECRET not in ending.err


@pytest.mark.parametrize("command", ["batch", "worker"])
async def test_a_server_that_is_away_is_a_mistake_and_nothing_is_sent(
    seedance: Type, seedance_sandbox: Sandbox, manifest: Path, tmp_path: Path, command: str
) -> None:
    """The message has the address without its password."""
    words = ["batch", manifest] if command == "batch" else ["worker"]
    ending = await seedance(*words, "-o", tmp_path / "out", "--engine", AWAY)

    assert ExitCode.USAGE == ending.code
    assert "the engine's database postgresql://studio@127.0.0.1:1/jobs cannot be used" in ending.err
    assert SECRET not in ending.err
    assert [] == list(seedance_sandbox.requests)


async def test_a_url_that_cannot_be_read_is_not_repeated(seedance: Type, tmp_path: Path) -> None:
    """It may hold a password."""
    ending = await seedance("worker", "-o", tmp_path, "--engine", f"mysql://studio:{SECRET}@db/jobs")

    assert (ExitCode.USAGE, True) == (ending.code, "the engine's URL cannot be read" in ending.err)
    assert SECRET not in ending.err


async def test_a_worker_needs_an_engine_and_a_place(seedance: Type) -> None:
    """Both are said with the form."""
    without_engine, without_place = await seedance("worker"), await seedance("worker", "--engine", AWAY)

    assert [ExitCode.USAGE] * 2 == [without_engine.code, without_place.code]
    assert "--engine URL is missing: seedance worker --engine URL --output DIR" in without_engine.err
    assert "--output DIR is missing" in without_place.err


async def test_the_extra_is_named_where_it_is_missing(
    seedance: Type, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command that installs it."""
    for name in [name for name in sys.modules if name.startswith("seedance_async.integrations.engine")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "dbos", None)
    monkeypatch.delitem(sys.modules, "seedance_async.cli.engine", raising=False)
    monkeypatch.delattr(cli, "engine", raising=False)

    ending = await seedance("batch", manifest, "-o", tmp_path / "out", "--engine", AWAY)

    assert (ExitCode.USAGE, True) == (ending.code, "pip install 'seedance-async[dbos]'" in ending.err)

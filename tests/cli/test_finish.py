"""`seedance batch --finish kept --set FIELD=VALUE`; and `seedance review` without a batch."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import pytest

from seedance_async import ConfigurationError
from seedance_async.batch import picks
from seedance_async.batch.finals import parse_changes
from seedance_async.exit_codes import ExitCode
from tests.cli.test_batch import PRICE, pictures, results

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async.sandbox import Sandbox
    from tests.cli.conftest import Type

FINISH = ("--finish", "kept", "--set")


async def kept(seedance: Type, directory: Path, count: int) -> tuple[str, ...]:
    """A batch of pictures that are all kept; the command that runs it."""
    words = ("batch", str(pictures(directory, count)), "-o", str(directory / "out"))
    await seedance(*words)
    for name, line in results(directory / "out").items():
        ids = line["task_ids"]
        assert isinstance(ids, list)
        picks.write(directory / "out", name, tuple(ids), pick="keep")
    return words


def bodies(sandbox: Sandbox) -> list[dict[str, object]]:
    """What was asked for."""
    return [json.loads(record.body) for record in sandbox.requests if record.endpoint == "submit"]


async def test_kept_takes_are_finished_once(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """With every field that is set; typed again it pays nothing."""
    words = await kept(seedance, tmp_path, 1)
    changes = (*FINISH, "resolution=2K", "--set", "image_size=1:1")
    first = await seedance(*words, *changes)
    posts = bodies(seedance_sandbox)
    second = await seedance(*words, *changes)

    assert [ExitCode.OK, ExitCode.OK] == [first.code, second.code]
    assert ("2K", "1:1") == (posts[-1]["resolution"], posts[-1]["image_size"])
    assert 2 == len(posts) == len(bodies(seedance_sandbox)) == len(seedance_sandbox.paid_tasks)
    assert (tmp_path / "out" / "boat-1-final.jpg").is_file()
    assert "made without a seed" in first.err


async def test_a_dry_run_says_what_finals_cost_and_sends_nothing(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Beside what is spent."""
    words = await kept(seedance, tmp_path, 2)
    ending = await seedance(*words, *FINISH, "image_size=1:1", "--dry-run")

    assert "2 to send" in ending.out
    assert f"{2 * PRICE}, in addition to {2 * PRICE} spent" in ending.out
    assert 2 == len(seedance_sandbox.paid_tasks)


async def test_the_command_that_goes_on_goes_on_with_the_finals(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """After a cap, with the same fields."""
    words = await kept(seedance, tmp_path, 1)
    ending = await seedance(*words, *FINISH, "image_size=1:1", "--max-credits", PRICE + 1)

    assert ExitCode.OUT_OF_CREDITS == ending.code
    assert 1 == len(seedance_sandbox.paid_tasks)
    (command,) = [line for line in ending.err.splitlines() if "seedance batch" in line]
    assert "--finish kept" in command
    assert "--set image_size=1:1" in command


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--set", "resolution=2K"), "give --finish kept as well"),
        (("--finish", "kept"), "needs --set FIELD=VALUE"),
        ((*FINISH, "resolutoin=2K"), "did you mean 'resolution'?"),
        ((*FINISH, "resolution"), "must be FIELD=VALUE"),
        ((*FINISH, "resolution="), "has no value"),
        ((*FINISH, "name=other"), "cannot be changed"),
        ((*FINISH, "seed=1", "--set", "seed=2"), "is there twice"),
        ((*FINISH, "resolution=3K"), "must be one of '1K', '2K', '4K'; got '3K'"),
        (("--finish", "rejected", "--set", "resolution=2K"), "kept"),
    ],
    ids=str,
)
async def test_flags_that_make_no_sense_send_nothing(
    flags: tuple[str, ...], reason: str, seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Two, and what to do instead."""
    ending = await seedance(*await kept(seedance, tmp_path, 1), *flags)

    assert ExitCode.USAGE == ending.code
    assert reason in ending.err
    assert 1 == len(seedance_sandbox.paid_tasks)


async def test_without_anything_kept_it_is_told_how_to_keep(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Whether or not there is a batch yet; no directory is left behind by it."""
    words = ("batch", pictures(tmp_path, 1), "-o", tmp_path / "out", *FINISH, "resolution=2K")
    ending = await seedance(*words)

    assert ExitCode.USAGE == ending.code
    assert "seedance review" in ending.err
    assert not seedance_sandbox.tasks
    assert not (tmp_path / "out").exists()


async def test_the_command_is_that_of_the_review_page(seedance: Type, tmp_path: Path) -> None:
    """What it copies is understood, once there is a field in it."""
    words = await kept(seedance, tmp_path, 1)
    command = shlex.join(["seedance", *words, *FINISH, "resolution=2K"])

    assert ExitCode.OK == (await seedance(*shlex.split(command)[1:], "--dry-run")).code


def test_values_are_read_as_the_cells_of_a_csv_are() -> None:
    """Numbers, true and false, and lists."""
    texts = [
        "seed=7",
        "generate_audio=FALSE",
        "duration=5",
        "prompt=a = b",
        "image_urls=https://a/x;https://a/y",
    ]

    assert {
        "seed": 7,
        "generate_audio": False,
        "duration": "5",
        "prompt": "a = b",
        "image_urls": ["https://a/x", "https://a/y"],
    } == parse_changes(texts)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    """Not one after the other."""
    with pytest.raises(ConfigurationError) as refused:
        parse_changes(["sed=1", "prompt", "repeat=2"])

    assert all(word in str(refused.value) for word in ("did you mean 'seed'", "'prompt' must be", "'repeat'"))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("nothing",), "is not a directory"),
        ((".",), "has no batch in it"),
        ((".", "--port", "70000"), "--port must be 0 to 65535"),
    ],
    ids=str,
)
async def test_there_is_nothing_to_review(
    words: tuple[str, ...], reason: str, seedance: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told before anything is served."""
    monkeypatch.chdir(tmp_path)
    ending = await seedance("review", *words)

    assert ExitCode.USAGE == ending.code
    assert reason in ending.err

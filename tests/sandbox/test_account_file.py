"""Tests of the account file: the next process has every task of the last, and time has passed for them."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession

from seedance_async import InsufficientCreditsError, NanoBananaPro, Seedance2Video, SeedanceClient
from seedance_async.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MONDAY = datetime(2026, 6, 1, 9, tzinfo=UTC)
BOAT = NanoBananaPro(prompt="A paper boat on a pond")
HAT = Seedance2Video(prompt="A red hat in the wind")


def life(path: Path, *, at: datetime = MONDAY, port: int = 0) -> Sandbox:
    """One life of the account, which begins at a wall instant."""
    return Sandbox(memory=path / "deep" / "account.jsonl", epoch=at, credits=100, port=port)


def client_of(sandbox: Sandbox) -> SeedanceClient:
    """A client of it."""
    return SeedanceClient(sandbox.api_key, sandbox.base_url)


async def test_a_task_goes_on_while_the_sandbox_is_down(tmp_path: Path) -> None:
    """Its id, price, key and end are the same, so what was paid is collected in the next life."""
    async with life(tmp_path) as first, client_of(first) as client:
        submission = await client.submit(BOAT, idempotency_key="boat-1")
    async with life(tmp_path, at=MONDAY + timedelta(hours=1)) as second, client_of(second) as client:
        task = await client.get_task(submission.id)
        again = await client.submit(BOAT, idempotency_key="boat-1")

    assert task.is_completed
    assert (first.tasks[submission.id].ends_at - first.tasks[submission.id].accepted_at) == pytest.approx(
        second.tasks[submission.id].ends_at - second.tasks[submission.id].accepted_at, abs=1e-5
    )
    assert submission.id == again.id
    assert 1 == len(second.paid_tasks)
    assert 100 - 12 == second.balance()


async def test_files_stay_where_their_urls_say(tmp_path: Path) -> None:
    """The next life listens at the same ports, if they are free, and knows its own signatures."""
    async with life(tmp_path) as first, client_of(first) as client:
        task = await client.generate(BOAT)
        api = first.base_url
    later = MONDAY + timedelta(minutes=5)
    async with life(tmp_path, at=later) as second, client_of(second) as client:
        (path,) = await client.download(task, tmp_path)

    assert api == second.base_url
    assert path.stat().st_size > 1000


async def test_a_port_that_is_taken_is_no_obstacle(tmp_path: Path) -> None:
    """Another program may have it by then."""
    async with (
        life(tmp_path),
        life(tmp_path, at=MONDAY + timedelta(minutes=1)) as second,
        client_of(second) as client,
    ):
        submission = await client.submit(HAT)

    assert submission.id in second.tasks


async def test_a_port_that_was_asked_for_is_not_changed(tmp_path: Path) -> None:
    """Whoever names a port means it."""
    async with life(tmp_path) as first:
        taken = int(first.base_url.split(":")[2].split("/")[0])
        with pytest.raises(OSError, match="in use"):
            async with life(tmp_path, port=taken):
                pass


async def test_what_made_no_task_is_not_kept(tmp_path: Path) -> None:
    """A refused submit charged nothing, and a key that comes again makes no second task."""
    async with life(tmp_path) as first, client_of(first) as client:
        for key in ("hat", "hat", "hat-2", "hat-3"):
            await client.submit(HAT, idempotency_key=key)
        with pytest.raises(InsufficientCreditsError):
            await client.submit(HAT)
    async with life(tmp_path, at=MONDAY + timedelta(seconds=9)) as second:
        pass

    assert 3 == len(first.tasks)
    assert list(first.tasks) == list(second.tasks)


async def test_credits_that_were_bought_are_there_in_the_next_life(tmp_path: Path) -> None:
    """Without them what was paid with them could not be paid again, and its tasks would be gone."""
    async with life(tmp_path) as first, client_of(first) as client:
        for _ in range(3):
            await client.submit(HAT)
        first.top_up(50)
        bought = await client.submit(HAT)
    async with life(tmp_path, at=MONDAY + timedelta(hours=1)) as second:
        pass

    assert 100 - 3 * 30 + 50 - 30 == first.balance() == second.balance()
    assert bought.id in second.tasks
    assert [entry.kind for entry in first.ledger] == [entry.kind for entry in second.ledger]


async def test_credits_bought_over_http_are_there_too(tmp_path: Path) -> None:
    """The admin endpoint is the only way to a sandbox in another process."""
    async with life(tmp_path) as first, ClientSession() as session:
        await session.post(f"{first.admin_url}/credits", json={"credits": 7})
    async with life(tmp_path, at=MONDAY + timedelta(hours=1)) as second:
        assert 107 == second.balance()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"seed": 1}, "seed 0"),
        ({"speed": 20}, "speed 1"),
        ({"credits": 101}, "credits 100"),
        ({"api_key": "sk_test_other"}, "another API key"),
        ({"credits": 5, "seed": 2}, "seed 0 and credits 100"),
    ],
)
async def test_another_seed_or_purse_is_refused(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    """Its tasks would come back with other ids, or not at all."""
    path = tmp_path / "account.jsonl"
    async with Sandbox(memory=path, credits=100) as first, client_of(first) as client:
        await client.submit(BOAT)
    before = path.read_bytes()

    with pytest.raises(ValueError, match=f"was begun with {said}; give the same"):
        async with Sandbox(memory=path, **{"credits": 100, **given}):
            pass

    assert before == path.read_bytes()
    assert b"sk_test" not in before


@pytest.mark.parametrize(
    "content",
    [b'{"model": "seedance2", "prompt": "A kite"}\n', b"name,model\n", b"[1]", b"\xff\xfe\x00", b"# notes"],
)
async def test_a_file_that_is_not_a_sandboxes_is_not_touched(tmp_path: Path, content: bytes) -> None:
    """A manifest may be named by mistake."""
    path = tmp_path / "jobs.jsonl"
    path.write_bytes(content)

    with pytest.raises(ValueError, match=r"jobs\.jsonl was not written by a sandbox"):
        async with Sandbox(memory=path):
            pass

    assert content == path.read_bytes()


async def test_an_empty_file_is_a_new_one(tmp_path: Path) -> None:
    """As `mktemp` makes it."""
    path = tmp_path / "account.jsonl"
    path.touch()
    async with Sandbox(memory=path) as first, client_of(first) as client:
        await client.submit(BOAT)
    async with Sandbox(memory=path) as second:
        assert list(first.tasks) == list(second.tasks)


async def test_a_reset_keeps_the_terms(tmp_path: Path) -> None:
    """What is made after it comes back as well."""
    path = tmp_path / "account.jsonl"
    async with Sandbox(memory=path, seed=4) as first, client_of(first) as client:
        first.top_up(1)
        first.reset()
        submission = await client.submit(BOAT)
    async with Sandbox(memory=path, seed=4) as second:
        assert [submission.id] == list(second.tasks)
        assert first.base_url == second.base_url
        assert 100_000 - 12 == second.balance()


async def test_a_reset_is_remembered(tmp_path: Path) -> None:
    """What an operator had forgotten does not come back."""
    async with life(tmp_path) as first, client_of(first) as client:
        await client.submit(BOAT)
        first.reset()
    async with life(tmp_path) as second:
        pass

    assert {} == second.tasks


async def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Prompts and keys stand in it."""
    mask = os.umask(0o022)
    try:
        async with life(tmp_path) as sandbox, client_of(sandbox) as client:
            await client.submit(BOAT)
    finally:
        os.umask(mask)

    path = tmp_path / "deep" / "account.jsonl"
    assert BOAT.prompt in path.read_text()
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("text", ["", None], ids=["to a file", "to nothing"])
async def test_a_link_in_its_place_is_refused_and_not_followed(tmp_path: Path, text: str | None) -> None:
    """Whoever planted it would choose what is written to."""
    victim, path = tmp_path / "victim", tmp_path / "deep" / "account.jsonl"
    if text is not None:
        victim.write_text(text)
    path.parent.mkdir()
    path.symlink_to(victim)

    with pytest.raises(OSError, match=r"account in a file that a link leads to: .*account\.jsonl"):
        async with life(tmp_path):
            pass

    assert text == (victim.read_text() if victim.exists() else None)
    assert path.is_symlink()


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) - 30],
        lambda text: text[:-1],
        lambda text: text + text.splitlines(keepends=True)[-1][:40],
        lambda text: text + "\0" * 100,
        lambda text: text + "\udcff\udcfe",
        lambda text: text + "[" * 100_000,
    ],
    ids=["cut", "no line end", "half a line more", "zeros", "no UTF-8", "too deep"],
)
async def test_a_half_last_line_is_read_past(damage: Callable[[str], str], tmp_path: Path) -> None:
    """The process died while it wrote; what stands before is known, and what comes after stays apart."""
    file = tmp_path / "deep" / "account.jsonl"
    async with life(tmp_path) as first, client_of(first) as client:
        boat = await client.submit(BOAT, idempotency_key="boat-1")
        hat = await client.submit(HAT, idempotency_key="hat-1")
    file.write_bytes(damage(file.read_text()).encode(errors="surrogateescape"))
    async with life(tmp_path, at=MONDAY + timedelta(minutes=1)) as second, client_of(second) as client:
        assert (await client.get_task(boat.id)).id == boat.id
        lion = await client.submit(NanoBananaPro(prompt="A lion"), idempotency_key="lion-1")
        known = [paid.id for paid in second.paid_tasks]
    async with life(tmp_path, at=MONDAY + timedelta(minutes=2)) as third:
        assert known == [paid.id for paid in third.paid_tasks]

    assert boat.id == known[0]
    assert lion.id == known[-1]
    assert set(known) - {hat.id} == {boat.id, lion.id}

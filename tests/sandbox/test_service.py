"""Tests of the sandbox as a whole: time, chance, reset, and its own records."""

from __future__ import annotations

from datetime import UTC, datetime
from statistics import quantiles
from typing import TYPE_CHECKING

import anyio
import pytest

from seedance_async.sandbox import Behaviour, Conditions, Sandbox
from seedance_async.sandbox.calls import Record
from seedance_async.sandbox.recorder import worst_window
from tests.sandbox.api import CLIP, GPT_IMAGE, PICTURE, VIDEO, Api, calling

if TYPE_CHECKING:
    from collections.abc import Sequence

MANY = Conditions(requests=10_000)


async def durations(api: Api, path: str, body: dict[str, object], *, count: int) -> list[float]:
    """Submit so many and return how long each will take."""
    for _ in range(count):
        await api.post(path, body)
    return [task.ends_at - task.accepted_at for task in api.sandbox.tasks.values()]


async def test_videos_take_as_long_as_users_measured() -> None:
    """p10 106 s, median 184 s, p90 262 s in nineteen real jobs."""
    async with calling(Sandbox(conditions=MANY)) as api:
        deciles = quantiles(await durations(api, VIDEO, dict(CLIP), count=500), n=10)

    assert [106, 184, 262] == pytest.approx([deciles[0], deciles[4], deciles[8]], rel=0.15)


async def test_pictures_take_about_a_minute() -> None:
    """The documents' examples show 84 s and 102 s."""
    async with calling(Sandbox(conditions=MANY)) as api:
        deciles = quantiles(await durations(api, GPT_IMAGE, dict(PICTURE), count=200), n=10)

    assert 60 == pytest.approx(deciles[4], rel=0.15)


async def test_the_same_seed_and_the_same_calls_give_the_same_world() -> None:
    """Ids, durations and failures: a test that fails can be run again."""
    worlds = []
    for seed in (7, 7, 8):
        async with calling(Sandbox(seed=seed, conditions=Conditions(failure_rate=0.5))) as api:
            for number in range(10):
                await api.post(VIDEO, CLIP, key=str(number))
            start = api.sandbox.runtime.state.calendar.started_at
            worlds.append([(t.id, t.outcome, round(t.ends_at - start)) for t in api.sandbox.tasks.values()])

    assert worlds[0] == worlds[1] != worlds[2]


async def test_speed_shrinks_all_times_alike() -> None:
    """RateWindow, task and key: ten times faster; what the wire tells is in the caller's own seconds."""
    conditions = Conditions(duration=lambda _order, _rng: 100.0)
    async with calling(Sandbox(speed=10, conditions=conditions, behaviour=Behaviour(key_life=200))) as api:
        submitted = await api.post(VIDEO, CLIP, key="k")
        for _ in range(29):
            await api.task(submitted.id)
        refused = await api.task(submitted.id)
        await anyio.sleep(10)
        task = (await api.task(submitted.id)).document
        await anyio.sleep(10)
        again = await api.post(VIDEO, CLIP, key="k")
    took = datetime.fromisoformat(str(task["updated_at"])) - datetime.fromisoformat(str(task["created_at"]))

    assert ("429", "6") == (str(refused.status), refused.headers["Retry-After"])
    assert ("completed", 10.0) == (task["status"], took.total_seconds())
    assert submitted.id != again.id


async def test_the_wall_clock_starts_where_it_is_told() -> None:
    """Records that are compared across runs need a fixed epoch."""
    async with calling(Sandbox(epoch=datetime(2026, 6, 3, 10, tzinfo=UTC))) as api:
        await anyio.sleep(192)
        task = await api.task((await api.post(VIDEO, CLIP)).id)

    assert "2026-06-03T10:03:12" == str(task.document["created_at"])[:19]


async def test_a_duration_of_infinity_never_ends() -> None:
    """For tests of patience."""
    async with calling(Sandbox(conditions=Conditions(duration=lambda _order, _rng: float("inf")))) as api:
        submitted = await api.post(VIDEO, CLIP)
        await anyio.sleep(24 * 3600)

        assert "processing" == (await api.task(submitted.id)).document["status"]


async def test_latency_lies_before_and_after_the_state_sees_a_request() -> None:
    """``at`` is the arrival; both directions take between 0.1 s and 0.3 s."""
    async with calling(Sandbox(conditions=Conditions(latency=(0.1, 0.3)))) as api:
        sent = anyio.current_time()
        await api.task("sd2_x")
        back = anyio.current_time()
    (record,) = api.sandbox.requests

    assert 0.1 <= record.at - sent <= 0.31
    assert 0.1 <= back - record.at <= 0.31


async def test_a_reset_forgets_everything_and_starts_from_the_same_seed() -> None:
    """One sandbox can serve many tests."""
    async with calling(Sandbox(seed=3)) as api:
        first = await api.post(VIDEO, CLIP, key="k")
        api.sandbox.reset()
        assert ([], {}, 100_000) == (api.sandbox.requests, api.sandbox.tasks, api.sandbox.balance())

        assert first.id == (await api.post(VIDEO, CLIP, key="k")).id
        assert not api.sandbox.requests[0].replayed


async def test_a_request_under_way_during_a_reset_ends_in_the_old_world() -> None:
    """It neither fails nor shows up in the new one."""
    async with (
        calling(Sandbox(conditions=Conditions(latency=(1, 1)))) as api,
        anyio.create_task_group() as group,
    ):
        group.start_soon(lambda: api.post(VIDEO, CLIP))
        await anyio.sleep(1.5)
        api.sandbox.reset()

    assert [] == api.sandbox.requests


async def test_what_was_seen_can_be_read_after_the_end() -> None:
    """Assertions stand behind the ``async with``, where the sandbox has stopped."""
    async with calling(Sandbox()) as api:
        await api.post(VIDEO, CLIP)

    assert 1 == len(api.sandbox.requests) == len(api.sandbox.paid_tasks)
    assert 99_970 == api.sandbox.balance()


def test_a_sandbox_that_was_never_started_says_so() -> None:
    """Rather than an AttributeError from inside."""
    with pytest.raises(RuntimeError, match="async with"):
        _ = Sandbox().requests


def seen(instants: Sequence[float], *, admitted: bool = True, account: str = "a") -> list[Record]:
    """Return records of arrivals at these instants."""
    return [
        Record(number=1, at=at, endpoint="task", method="GET", path="/", account=account, admitted=admitted)
        for at in instants
    ]


def test_the_worst_window_is_half_open_and_looks_at_every_start() -> None:
    """Two arrivals exactly one window apart do not share one."""
    assert 3 == worst_window(seen([0, 10, 50, 60, 110]), seconds=60).arrivals
    assert 2 == worst_window(seen([0, 59.9]), seconds=60).arrivals
    assert 1 == worst_window(seen([0, 60]), seconds=60).arrivals
    assert 0 == worst_window([], seconds=60).arrivals


def test_the_worst_window_tells_arrivals_from_admissions_and_accounts_apart() -> None:
    """A refused request has arrived; another account's requests are another window."""
    worst = worst_window(
        seen([0, 1, 2]) + seen([3, 4], admitted=False) + seen([5] * 4, account="b"), seconds=60
    )

    assert (5, 4) == (worst.arrivals, worst.admitted)


async def test_the_repr_tells_url_and_speed() -> None:
    """While it runs; and never its key."""
    sandbox = Sandbox(speed=60, api_key="sk_test_of_the_repr")
    before = repr(sandbox)
    async with sandbox:
        during = repr(sandbox)

    assert "<Sandbox not running, speed 60>" == before == repr(sandbox)
    assert f"<Sandbox {sandbox.base_url}, speed 60>" == during

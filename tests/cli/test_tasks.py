"""`seedance status`, `wait` and `download`: tasks by their ids."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from seedance_async import GptImage2
from seedance_async.exit_codes import ExitCode
from tests.rooms.raw_server import answer, raw_server

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async import SeedanceClient
    from seedance_async.sandbox import Sandbox
    from tests.cli.conftest import Type


@pytest.fixture
async def task_ids(seedance_client: SeedanceClient) -> list[str]:
    """Two tasks that somebody else has submitted a moment ago."""
    requests = [GptImage2(prompt="a paper boat"), GptImage2(prompt="a paper plane")]
    return [(await seedance_client.submit(request)).id for request in requests]


async def test_status_writes_a_line_for_each_task(seedance: Type, task_ids: list[str]) -> None:
    """Id, status and model, with tabs between, for `cut` and for eyes."""
    ending = await seedance("status", *task_ids)

    assert ExitCode.OK == ending.code
    assert [f"{task_id}\tprocessing\tgpt-image-2" for task_id in task_ids] == ending.lines


async def test_wait_writes_each_task_with_its_urls_as_it_gets_final(
    seedance: Type, seedance_sandbox: Sandbox, task_ids: list[str]
) -> None:
    """Every task is told once, when it is done, and where its files are."""
    ending = await seedance("wait", *task_ids)

    by_end = sorted(task_ids, key=lambda task_id: seedance_sandbox.tasks[task_id].ends_at)
    assert ExitCode.OK == ending.code
    assert [[task_id, "completed"] for task_id in by_end] == [line.split("\t")[:2] for line in ending.lines]
    assert all(seedance_sandbox.media_url in line for line in ending.lines)


async def test_json_gives_the_answers_of_the_api_as_they_came(seedance: Type, task_ids: list[str]) -> None:
    """A line a task, for programs, with fields this version may not know."""
    ending = await seedance("wait", "--json", *task_ids)

    assert set(task_ids) == {json.loads(line)["id"] for line in ending.lines}
    assert all(json.loads(line)["credits_refunded"] == 0 for line in ending.lines)


async def test_status_goes_on_after_a_task_that_nobody_knows(seedance: Type, task_ids: list[str]) -> None:
    """One wrong id costs its own line only; the exit code tells that there was one."""
    ending = await seedance("status", "sd2_nobody", task_ids[0])

    assert ExitCode.FAILED == ending.code
    assert 1 == len(ending.lines)
    assert "error: sd2_nobody:" in ending.err


async def test_status_stops_at_a_refused_key(
    seedance: Type, seedance_sandbox: Sandbox, task_ids: list[str]
) -> None:
    """The next task would be answered alike, so it is not asked for."""
    before = len(seedance_sandbox.requests)

    ending = await seedance("status", *task_ids, "--api-key", "sk_wrong")

    assert ExitCode.KEY_REFUSED == ending.code
    assert before + 1 == len(seedance_sandbox.requests)


async def test_wait_gives_up_after_its_timeout_and_says_that_the_task_goes_on(
    seedance: Type, task_ids: list[str]
) -> None:
    """The task is not lost: the line to wait for it again is told."""
    ending = await seedance("wait", task_ids[0], "--timeout", 5)

    assert ExitCode.FAILED == ending.code
    assert "" == ending.out
    assert f"seedance wait {task_ids[0]}" in ending.err


async def test_download_saves_the_files_and_writes_their_paths(
    seedance: Type, task_ids: list[str], tmp_path: Path
) -> None:
    """What was waited for is fetched by its id; a second time nothing is written twice."""
    await seedance("wait", *task_ids)

    first = await seedance("download", *task_ids, "-o", tmp_path)
    second = await seedance("download", *task_ids, "-o", tmp_path)

    assert ExitCode.OK == first.code
    assert {str(tmp_path / f"{task_id}.png") for task_id in task_ids} == set(first.lines)
    assert set(first.lines) == set(second.lines)
    assert len(task_ids) == len(list(tmp_path.iterdir()))


async def test_wait_without_any_patience_looks_once(
    seedance: Type, seedance_sandbox: Sandbox, task_ids: list[str]
) -> None:
    """A task that is final is told; of one that is not, that it goes on."""
    await seedance("wait", task_ids[0])
    running = (await seedance("generate", "seedance2", "A paper boat", "--timeout", 0)).err
    before = len(seedance_sandbox.requests)

    ending = await seedance("wait", task_ids[0], "--timeout", 0)

    assert ExitCode.OK == ending.code
    assert f"{task_ids[0]}\tcompleted" in ending.out
    assert before + 1 == len(seedance_sandbox.requests)
    assert "'processing'" in running
    assert "to collect it: seedance wait sd2_" in running


async def test_download_of_a_failed_task_gives_no_advice_to_repeat_it(
    seedance: Type, seedance_client: SeedanceClient, tmp_path: Path
) -> None:
    """There will never be files; why it failed is told."""
    task_id = (await seedance_client.submit(GptImage2(prompt="A boat [[sandbox:fail]]"))).id
    await seedance("wait", task_id)

    ending = await seedance("download", task_id, "-o", tmp_path)

    assert ExitCode.FAILED == ending.code
    assert f"error: {task_id}: task failed: " in ending.err
    assert "seedance download" not in ending.err


async def test_download_of_a_running_task_says_so(
    seedance: Type, task_ids: list[str], tmp_path: Path
) -> None:
    """There are no files yet; nothing is left behind."""
    ending = await seedance("download", task_ids[0], "-o", tmp_path)

    assert ExitCode.FAILED == ending.code
    assert "processing" in ending.err
    assert f"seedance wait {task_ids[0]} && seedance download {task_ids[0]} -o {tmp_path}" in ending.err
    assert "not done yet" in ending.err
    assert "finished" not in ending.err
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        ("status", "sd2_x"),
        ("wait", "sd2_x"),
        ("generate", "gpt-image-2", "A paper boat"),
        ("batch", "jobs.jsonl", "-o", "out"),
    ],
)
async def test_an_api_that_cannot_be_reached_is_told_at_once_and_then_rarely(
    words: tuple[str, ...], seedance: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again for ten minutes; not in silence, and not with a line for every attempt."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jobs.jsonl").write_text('{"model": "gpt-image-2", "prompt": "A paper boat"}\n')

    ending = await seedance(*words, "--base-url", "http://127.0.0.1:1/api/v1")

    reported = [line for line in ending.err.splitlines() if "trying again" in line]
    assert ExitCode.OK != ending.code
    assert "is unreachable or unavailable" in reported[0]
    assert "(127.0.0.1); again in" in reported[0]
    assert "trying again for up to 10 min: " in reported[0]
    assert 1 < len(reported) <= 11


@pytest.mark.parametrize("verb", ["status", "wait", "download"])
async def test_a_verb_without_an_id_is_a_mistake(seedance: Type, verb: str) -> None:
    """Nothing to ask for is no success."""
    ending = await seedance(verb)

    assert ExitCode.USAGE == ending.code
    assert "ID" in ending.err


async def test_a_rate_limit_that_cannot_be_read_is_a_mistake(seedance: Type) -> None:
    """The flag says how it is written."""
    ending = await seedance("status", "sd2_x", "--rate-limit", "fast")

    assert ExitCode.USAGE == ending.code
    assert "30/60" in ending.err


async def test_the_proxy_of_a_flag_is_asked_and_its_failure_is_told(seedance: Type) -> None:
    """By name, without the password; and the flag's form is told where it is wrong."""
    async with raw_server(answer(407)) as proxy:
        where = proxy.url.removesuffix("/api/v1").replace("//", "//fox:secret@")
        ending = await seedance("status", "sd2_x", "--base-url", "https://seedance.test/v1", "--proxy", where)
    mistake = await seedance("status", "sd2_x", "--proxy", "socks5://fox:secret@127.0.0.1:1")

    assert {("CONNECT", "seedance.test:443")} == {(seen.method, seen.path) for seen in proxy.seen}
    assert "the proxy refused to connect (HTTP 407)" in ending.err
    assert ExitCode.USAGE == mistake.code
    assert "a proxy must look like http://user:password@host:port" in mistake.err
    assert "secret" not in ending.err + mistake.err


async def test_networks_of_a_flag_are_read_before_anything_is_sent(seedance: Type) -> None:
    """The flag says how they are written."""
    ending = await seedance("status", "sd2_x", "--download-networks", "fake-ip")

    assert ExitCode.USAGE == ending.code
    assert "198.18.0.0/15" in ending.err

"""`seedance batch`: a manifest into a directory, and every way in which it can end."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
from shutil import rmtree
from typing import TYPE_CHECKING

import anyio
import pytest

from seedance_async.exit_codes import ExitCode
from seedance_async.sandbox import Conditions, Fault

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async.sandbox import Sandbox
    from tests.cli.conftest import Type

PRICE = 12


def pictures(directory: Path, count: int, *, prompt: str = "A boat") -> Path:
    """A manifest of so many pictures."""
    path = directory / "jobs.jsonl"
    jobs = (
        {"model": "nano-banana-pro", "name": f"boat-{number}", "prompt": prompt, "output_format": "jpeg"}
        for number in range(1, count + 1)
    )
    path.write_text("".join(json.dumps(job) + "\n" for job in jobs))
    return path


def results(directory: Path) -> dict[str, dict[str, object]]:
    """The lines of `results.jsonl` by the names of the jobs."""
    lines = map(json.loads, (directory / "results.jsonl").read_text().splitlines())
    return {line["name"]: line for line in lines}


def account(out: str) -> dict[str, str]:
    """What was written about the batch when it was over."""
    return dict(line.split(maxsplit=1) for line in out.splitlines())


async def test_every_job_is_saved_and_accounted_for(seedance: Type, tmp_path: Path) -> None:
    """Files, a line a job and a page; the numbers on stdout, and nothing to worry about on stderr."""
    out = tmp_path / "out"
    ending = await seedance("batch", pictures(tmp_path, 3), "-o", out)

    assert ExitCode.OK == ending.code
    assert ["boat-1.jpg", "boat-2.jpg", "boat-3.jpg"] == sorted(path.name for path in out.glob("*.jpg"))
    assert {"saved"} == {line["state"] for line in results(out).values()}
    reported = account(ending.out)
    assert "3: 3 saved" == reported["jobs"]
    assert str(3 * PRICE) == reported["credits"]
    assert (out / "gallery.html").as_uri() == reported["gallery"]
    assert "to continue" not in ending.err


async def test_a_log_has_a_line_for_each_file_once(seedance: Type, tmp_path: Path) -> None:
    """Of the run that saved it; the path is one to open."""
    out, manifest = tmp_path / "out", pictures(tmp_path, 2)
    first, second = [(await seedance("batch", manifest, "-o", out)).err for _ in range(2)]

    files = sorted(line.removeprefix("saved ") for line in first.splitlines() if line.startswith("saved "))
    assert [str(out / "boat-1.jpg"), str(out / "boat-2.jpg")] == files
    assert "\nsaved " not in second


async def test_a_refund_is_deducted_the_same_way_everywhere(
    seedance: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the totals, the gallery, the events, and the account's record."""
    monkeypatch.setenv("SEEDANCE_STATE_DIR", str(tmp_path / "state"))
    out, manifest = tmp_path / "out", pictures(tmp_path, 2)
    with manifest.open("a") as file:
        file.write('{"model": "gpt-image-2", "name": "doomed", "prompt": "A hat [[sandbox:fail]]"}\n')
    ending = await seedance("batch", manifest, "-o", out)
    *_, ended = map(json.loads, (await seedance("batch", manifest, "-o", out, "--json")).lines)
    recorded = await seedance("spend", "--by", "project")

    assert "24 (32 used, 8 refunded)" == account(ending.out)["credits"]
    assert "24 credits (32 used, 8 refunded)" in (out / "gallery.html").read_text()
    assert (32, 8) == (ended["credits_used"], ended["credits_refunded"])
    assert "total\t24\t32\t8\t0\t0" == recorded.lines[-1]


@pytest.mark.parametrize(("flags", "posts"), [((), 2), (("--no-share-posts",), 5)])
async def test_equal_pictures_share_a_post_unless_told_not_to(
    flags: tuple[str, ...], posts: int, seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Five takes: the first goes alone, because nobody knows its price yet, and the other four together."""
    manifest = tmp_path / "jobs.jsonl"
    manifest.write_text(
        '{"model": "gpt-image-2", "name": "shoe", "prompt": "A shoe on chrome", "repeat": 5}\n'
    )
    ending = await seedance("batch", manifest, "-o", tmp_path / "out", *flags)

    assert ExitCode.OK == ending.code
    assert 5 == len(seedance_sandbox.paid_tasks)
    assert posts == [record.method for record in seedance_sandbox.requests].count("POST")


async def test_running_it_again_sends_nothing(
    seedance: Type, tmp_path: Path, seedance_sandbox: Sandbox
) -> None:
    """The same command is how to go on, so it must be safe when there is nothing to go on with."""
    manifest = pictures(tmp_path, 2)
    await seedance("batch", manifest, "-o", tmp_path / "out")
    before = len(seedance_sandbox.requests)

    ending = await seedance("batch", manifest, "-o", tmp_path / "out")

    assert ExitCode.OK == ending.code
    assert before == len(seedance_sandbox.requests)
    assert "0" == account(ending.out)["requests"]


async def test_a_job_that_failed_is_told_and_ends_with_1(seedance: Type, tmp_path: Path) -> None:
    """By its name and the server's reason; its neighbours are saved."""
    manifest = pictures(tmp_path, 2)
    with manifest.open("a") as file:
        file.write('{"model": "gpt-image-2", "name": "doomed", "prompt": "A hat [[sandbox:fail]]"}\n')

    ending = await seedance("batch", manifest, "-o", tmp_path / "out")
    again = await seedance("batch", manifest, "-o", tmp_path / "out")

    for end in (ending, again):
        assert ExitCode.FAILED == end.code
        assert "3: 2 saved, 1 failed" == account(end.out)["jobs"]
        assert re.search(r"^failed doomed: task failed: Generation failed", end.err, re.MULTILINE)
        assert "to continue" not in end.err


async def test_what_a_failed_job_blocks_is_told_and_goes_on_when_it_is_made_anew(
    seedance: Type, tmp_path: Path
) -> None:
    """The advice is the one for failed jobs."""
    manifest = tmp_path / "jobs.jsonl"
    taker = {"model": "nano-banana-pro", "name": "b", "prompt": "On it goes", "image_urls": ["$a.image"]}
    doomed = {"model": "nano-banana-pro", "name": "a", "prompt": "A hat [[sandbox:fail]]"}
    manifest.write_text(f"{json.dumps(taker)}\n{json.dumps(doomed)}\n")

    ending = await seedance("batch", manifest, "-o", tmp_path / "out")
    manifest.write_text(f"{json.dumps(taker)}\n{json.dumps({**doomed, 'prompt': 'A hat'})}\n")
    again = await seedance("batch", manifest, "-o", tmp_path / "out")

    assert ExitCode.FAILED == ending.code
    assert re.search(r"^blocked b: it takes '\$a\.image', and 'a' has failed", ending.err, re.MULTILINE)
    assert "--retry-failed" in ending.err
    assert "to continue" not in ending.err
    assert (ExitCode.OK, "2: 2 saved") == (again.code, account(again.out)["jobs"].rpartition(", ")[2])


async def test_everything_wrong_with_a_manifest_is_told_at_once_and_nothing_is_sent(
    seedance: Type, tmp_path: Path, seedance_sandbox: Sandbox
) -> None:
    """Line and field of each mistake, also of names that come twice."""
    manifest = tmp_path / "jobs.jsonl"
    manifest.write_text(
        '{"model": "seedance2", "prompt": "A boat", "duration": 99}\n'
        '{"model": "seedance2", "prompt": "A boat", "name": "a"}\n'
        '{"model": "seedance2", "name": "A", "prompt": "Another boat"}\n'
        '{"model": "seedance3", "prompt": "x"}\n'
        "{broken\n"
    )
    for more in ([], ["--dry-run"]):
        ending = await seedance("batch", manifest, "-o", tmp_path / "out", *more)

        assert ExitCode.USAGE == ending.code
        found = re.findall(r"line (\d), (\w+):", ending.err)
        assert [("1", "duration"), ("3", "name"), ("4", "model"), ("5", "json")] == found
        assert "" == ending.out
    assert [] == seedance_sandbox.requests


@pytest.mark.parametrize(
    ("arguments", "missing"), [(["-o", "out"], "MANIFEST"), (["jobs.jsonl"], "--output"), ([], "MANIFEST")]
)
async def test_what_is_missing_on_the_command_line_is_named(
    seedance: Type, arguments: list[str], missing: str
) -> None:
    """A mistake costs nothing."""
    ending = await seedance("batch", *arguments)

    assert ExitCode.USAGE == ending.code
    assert missing in ending.err


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("flags", "reported"),
    [
        (("-o", "out", "--output-name", "same.{ext}"), "output name 'same.{ext}'"),
        (("-o", ""), "-o"),
        (("-o", "jobs.jsonl"), "jobs.jsonl is not a directory"),
    ],
)
async def test_flags_that_make_no_sense_are_told_also_by_a_trial_run(
    flags: tuple[str, ...],
    reported: str,
    more: tuple[str, ...],
    seedance: Type,
    seedance_sandbox: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A trial run that is content promises that the real one begins."""
    monkeypatch.chdir(tmp_path)
    ending = await seedance("batch", pictures(tmp_path, 2), *flags, *more)

    assert ExitCode.USAGE == ending.code
    assert reported in ending.err
    assert [] == seedance_sandbox.requests
    assert ["jobs.jsonl"] == [path.name for path in tmp_path.iterdir()]


async def test_the_cap_stops_it_with_3_and_a_higher_one_goes_on(
    seedance: Type, tmp_path: Path, seedance_sandbox: Sandbox
) -> None:
    """What is said afterwards is the command that goes on, and it does."""
    manifest, out = pictures(tmp_path, 5), tmp_path / "out"

    stopped = await seedance("batch", manifest, "-o", out, "--max-credits", 2 * PRICE)

    assert ExitCode.OUT_OF_CREDITS == stopped.code
    assert "5: 3 planned, 2 saved" == account(stopped.out)["jobs"]
    assert re.search(r"^stopped: the cap of 24 credits is reached", stopped.err, re.MULTILINE)
    assert f"  seedance batch {manifest} -o {out} --max-credits 60" in stopped.err.splitlines()

    ended = await seedance("batch", manifest, "-o", out, "--max-credits", 5 * PRICE)
    assert ExitCode.OK == ended.code
    assert 5 == len(seedance_sandbox.paid_tasks)


@pytest.mark.case(84)
@pytest.mark.parametrize("flag", ["--base-url", "--rate-limit", "--api-key"])
async def test_a_sandbox_takes_no_flags_of_another_api(seedance: Type, tmp_path: Path, flag: str) -> None:
    """They would be left unheard, and the run be another than was asked for."""
    (tmp_path / "jobs.jsonl").write_text('{"model": "gpt-image-2", "prompt": "A kite"}\n')

    ending = await seedance(
        "batch", str(tmp_path / "jobs.jsonl"), "-o", str(tmp_path / "out"), "--sandbox", flag, "30/60"
    )

    assert ExitCode.USAGE == ending.code
    assert flag in ending.err
    assert not (tmp_path / "out").exists()


async def test_an_edited_job_is_told_to_be_paid_for_itself(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Its name now means another picture, and another charge."""
    manifest = tmp_path / "jobs.jsonl"
    manifest.write_text('{"name": "fox", "model": "gpt-image-2", "prompt": "A fox"}\n')
    await seedance("batch", str(manifest), "-o", str(tmp_path / "out"))
    manifest.write_text('{"name": "fox", "model": "gpt-image-2", "prompt": "A red fox"}\n')

    ending = await seedance("batch", str(manifest), "-o", str(tmp_path / "out"))

    assert 2 == len(seedance_sandbox.paid_tasks)
    assert "1 edited since the last run" in ending.err


async def test_the_same_manifest_in_another_directory_is_told(
    seedance: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two directories are two orders; running one of them again is not."""
    monkeypatch.setenv("SEEDANCE_STATE_DIR", str(tmp_path / "state"))
    jobs, here, there = pictures(tmp_path, 1), tmp_path / "here", tmp_path / "there"
    first, again, elsewhere = [await seedance("batch", jobs, "-o", out) for out in (here, here, there)]
    rmtree(here)
    alone = await seedance("batch", jobs, "-o", there)

    assert f"note: {here} has a batch of the same manifest" in elsewhere.err
    assert "1 job is sent from here" in elsewhere.err
    assert not any("same manifest" in ending.err for ending in (first, again, alone))
    assert 0o600 == stat.S_IMODE((tmp_path / "state" / "batches.jsonl").stat().st_mode)


async def test_no_order_that_is_not_paid_twice_is_called_so(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was sent from there, nothing is sent from here, another account pays, or it is refused here."""
    monkeypatch.setenv("SEEDANCE_STATE_DIR", str(tmp_path / "state"))
    jobs = pictures(tmp_path, 1)
    for name in ("wrong-key", "here", "there"):
        (tmp_path / name).mkdir()
    unpaid = await seedance("batch", jobs, "-o", tmp_path / "wrong-key", "--api-key", "sk_test_wrong")
    here = await seedance("batch", jobs, "-o", tmp_path / "here")
    there = await seedance("batch", jobs, "-o", tmp_path / "there")
    again = await seedance("batch", jobs, "-o", tmp_path / "here")
    other = await seedance("batch", jobs, "-o", tmp_path / "wrong-key", "--api-key", "sk_test_wrong")
    (tmp_path / "there" / "journal.sqlite").unlink()
    refused = await seedance("batch", jobs, "-o", tmp_path / "there")

    assert 2 == len(seedance_sandbox.paid_tasks)
    assert [4, 0, 0, 0, 4, 2] == [each.code for each in (unpaid, here, there, again, other, refused)]
    assert [there] == [
        each for each in (unpaid, here, there, again, other, refused) if "same manifest" in each.err
    ]


async def test_a_planted_memory_of_the_sandbox_is_told_in_a_line(seedance: Type, tmp_path: Path) -> None:
    """Nothing is written to where the link leads."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "sandbox.jsonl").symlink_to(tmp_path / "victim")

    ending = await seedance("batch", pictures(tmp_path, 1), "-o", out, "--sandbox")

    assert ExitCode.FAILED == ending.code
    assert f"a link leads to: {out / 'sandbox.jsonl'}" in ending.err
    assert "Traceback" not in ending.err
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize("content", [b"\xff\n{}\n[1, 2]\n", None])
async def test_a_warning_that_cannot_be_given_stops_nothing(
    content: bytes | None, seedance: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of batches is a help, not a record."""
    state = tmp_path / "state"
    monkeypatch.setenv("SEEDANCE_STATE_DIR", str(state))
    if content is None:
        state.write_text("no directory")
    else:
        state.mkdir()
        (state / "batches.jsonl").write_bytes(content)

    assert ExitCode.OK == (await seedance("batch", pictures(tmp_path, 1), "-o", tmp_path / "out")).code


async def test_the_command_that_goes_on_addresses_the_same_api(
    seedance: Type, tmp_path: Path, seedance_sandbox: Sandbox
) -> None:
    """Without its address it would go to the vendor; the key is never among the words."""
    where = ["--base-url", seedance_sandbox.base_url, "--rate-limit", "30/60"]
    stopped = await seedance(
        "batch", pictures(tmp_path, 3), "-o", tmp_path / "out", "--max-credits", PRICE, *where,
        "--api-key", seedance_sandbox.api_key,
    )  # fmt: skip

    (reported,) = [line for line in stopped.err.splitlines() if line.startswith("  seedance batch")]
    assert reported.endswith(" ".join(where))
    assert seedance_sandbox.api_key not in stopped.err


async def test_what_failed_is_told_with_the_way_to_make_it_anew(
    seedance: Type, tmp_path: Path, seedance_sandbox: Sandbox
) -> None:
    """The same command leaves it alone, because another attempt costs money."""
    command = ["batch", pictures(tmp_path, 1, prompt="A boat [[sandbox:fail]]"), "-o", tmp_path / "out"]
    endings = [await seedance(*command) for _ in range(2)]

    assert [ExitCode.FAILED, ExitCode.FAILED] == [ending.code for ending in endings]
    assert all("--retry-failed" in ending.err for ending in endings)
    assert 1 == len(seedance_sandbox.tasks)
    await seedance(*command, "--retry-failed")
    assert 2 == len(seedance_sandbox.tasks)


@pytest.mark.seedance_sandbox(credits=2 * PRICE)
async def test_an_empty_account_stops_it_with_3(
    seedance: Type, tmp_path: Path, seedance_sandbox: Sandbox
) -> None:
    """After a top-up the same command goes on."""
    manifest = pictures(tmp_path, 4)
    stopped = await seedance("batch", manifest, "-o", tmp_path / "out")
    seedance_sandbox.top_up(1000)
    ended = await seedance("batch", manifest, "-o", tmp_path / "out")

    assert (ExitCode.OUT_OF_CREDITS, ExitCode.OK) == (stopped.code, ended.code)
    assert "to continue with what is left (2 planned):" in stopped.err
    assert 4 == len(seedance_sandbox.paid_tasks)


async def test_a_refused_key_ends_with_4(seedance: Type, tmp_path: Path) -> None:
    """Nothing is charged, and nothing is lost."""
    ending = await seedance("batch", pictures(tmp_path, 2), "-o", tmp_path / "out", "--api-key", "sk_wrong")

    assert ExitCode.KEY_REFUSED == ending.code
    assert "2: 2 planned" == account(ending.out)["jobs"]
    assert "sk_wrong" not in ending.out + ending.err


async def test_a_job_that_nobody_knows_about_ends_with_5_and_is_collected_by_the_next_run(
    seedance: Type, tmp_path: Path, seedance_sandbox: Sandbox
) -> None:
    """Its key is told; the same command asks again with the same bytes under it."""
    seedance_sandbox.faults.add(Fault(effect="drop", on="submit", moment="after", count=None))
    manifest = pictures(tmp_path, 1)
    ending = await seedance("batch", manifest, "-o", tmp_path / "out")
    seedance_sandbox.faults.clear()
    again = await seedance("batch", manifest, "-o", tmp_path / "out")

    assert (ExitCode.UNCERTAIN, ExitCode.OK) == (ending.code, again.code)
    key = re.findall(r"^uncertain boat-1: .*\(idempotency key (\S+)\)", ending.err, re.MULTILINE)
    assert [results(tmp_path / "out")["boat-1"]["idempotency_key"]] == key
    assert 1 == len(seedance_sandbox.paid_tasks)


async def test_ctrl_c_stops_it_in_good_order_with_130(
    seedance: Type, tmp_path: Path, seedance_sandbox: Sandbox
) -> None:
    """A POST on the wire gets its answer, nothing more is sent, and the way to go on is told."""
    manifest, out = pictures(tmp_path, 60), tmp_path / "out"
    seedance_sandbox.faults.add(Fault(effect="delay", on="submit", seconds=5, nth=8))
    endings = []

    async def run() -> None:
        endings.append(await seedance("batch", manifest, "-o", out, "--max-in-flight", 10))

    async with anyio.create_task_group() as keyboard:
        keyboard.start_soon(run)
        while len(seedance_sandbox.requests) < 8:  # noqa: ASYNC110 - the sandbox has no event to wait for
            await anyio.sleep(0.01)
        for _ in range(2):  # timeout(1) and its like pass on what the terminal has told already
            os.kill(os.getpid(), signal.SIGINT)

    (ending,) = endings
    sent = len(seedance_sandbox.requests)
    assert ExitCode.INTERRUPTED == ending.code
    assert 8 <= sent <= 10
    assert f"60: {60 - sent} planned, {sent} accepted" == account(ending.out)["jobs"]
    assert "stopping: waiting for the replies to requests in progress" in ending.err
    assert f"  seedance batch {manifest} -o {out} --max-in-flight 10" in ending.err.splitlines()

    again = await seedance("batch", manifest, "-o", out)
    assert ExitCode.OK == again.code
    assert 60 == len(seedance_sandbox.paid_tasks)
    submits = [record for record in seedance_sandbox.requests if record.endpoint == "submit"]
    assert 60 == len({record.idempotency_key for record in submits})


@pytest.mark.parametrize(
    "moment", ["seedance_async.batch.runner.Journal.open", "seedance_async.batch.preparing.take_manifest"]
)
async def test_ctrl_c_before_the_first_job_ends_with_130_and_the_way_to_go_on(
    moment: str, seedance: Type, tmp_path: Path, seedance_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the journal is opened, or the manifest read: there is nothing to tell of yet but the command."""

    async def interrupted(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await anyio.sleep(10)

    manifest, out = pictures(tmp_path, 2), tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(moment, interrupted)
        ending = await seedance("batch", manifest, "-o", out)

    assert ExitCode.INTERRUPTED == ending.code
    assert f"  seedance batch {manifest} -o {out}" in ending.err.splitlines()
    assert [] == seedance_sandbox.requests
    assert ExitCode.OK == (await seedance("batch", manifest, "-o", out)).code


async def test_events_tell_a_program_everything(seedance: Type, tmp_path: Path) -> None:
    """One JSON object a line on stdout: the begin, each job, the state of things, the end."""
    manifest = pictures(tmp_path, 3)
    ending = await seedance("batch", manifest, "-o", tmp_path / "out", "--json")

    events = [json.loads(line) for line in ending.lines]
    first, *others, last = events
    jobs = [event for event in others if event["event"] == "job"]
    progress = [event for event in others if event["event"] == "progress"]
    assert {"event": "started", "manifest": str(manifest), "directory": str(tmp_path / "out")} == first
    assert {"boat-1", "boat-2", "boat-3"} == {job["name"] for job in jobs}
    assert all(job["state"] == "saved" and job["files"] and not job["earlier"] for job in jobs)
    assert progress
    assert all(event["requests_in_window"] <= 30 and event["seconds_left"] >= 0 for event in progress)
    assert ("ended", ExitCode.OK, {"saved": 3}, 3 * PRICE) == (
        last["event"],
        last["exit_code"],
        last["counts"],
        last["credits_used"],
    )
    assert str(tmp_path / "out" / "gallery.html") == last["gallery"]


async def test_events_hold_every_character(seedance: Type, tmp_path: Path) -> None:
    """A terminal is spared control and direction characters; a program gets them, escaped."""
    name = "boat \u202e\x1b[31m é 舟"
    manifest = tmp_path / "jobs.jsonl"
    manifest.write_text(json.dumps({"model": "nano-banana-pro", "prompt": "A boat", "name": name}))

    ending = await seedance("batch", manifest, "-o", tmp_path / "out", "--json")

    reported = [event for event in map(json.loads, ending.lines) if event["event"] == "job"]
    assert [name] == [event["name"] for event in reported]
    assert ending.out.isascii()


async def test_a_gallery_that_cannot_be_written_changes_nothing_about_the_batch(
    seedance: Type, tmp_path: Path
) -> None:
    """What is saved is saved."""
    (tmp_path / "out" / "gallery.html.part").mkdir(parents=True)

    ending = await seedance("batch", pictures(tmp_path, 1), "-o", tmp_path / "out")

    assert ExitCode.OK == ending.code
    assert "the gallery could not be written" in ending.err
    assert "gallery" not in account(ending.out)


@pytest.mark.seedance_sandbox(conditions=Conditions(duration=lambda _order, _chance: 30.0))
async def test_a_batch_goes_on_with_what_it_has_learned(seedance: Type, tmp_path: Path) -> None:
    """A second run expects of its tasks what those of the first took."""
    expected = []
    for count in (8, 16):
        ending = await seedance("batch", pictures(tmp_path, count), "-o", tmp_path / "out", "--json")
        events = [json.loads(line) for line in ending.lines]
        expected.append(next(event["seconds_left"] for event in events if event["event"] == "progress"))

    cold, warm = expected
    assert warm < 60 < cold


async def test_a_log_shows_now_and_then_that_it_goes_on(seedance: Type, tmp_path: Path) -> None:
    """Every half minute a line with the jobs by state, the limit, the credits and the time that is left."""
    ending = await seedance("batch", pictures(tmp_path, 20), "-o", tmp_path / "out", "--max-credits", 1000)

    beats = [line for line in ending.err.splitlines() if line.startswith("[")]
    jobs, limit = r"\[\d+/20\] (\d+ \w+, )*\d+ \w+", r"\d+ of 30 requests in the last 60 s"
    pattern = rf"{jobs} · {limit} · [\d,]+ credits of at most 1,000 · \S+"
    assert beats
    assert all(re.match(pattern, beat) for beat in beats)
    assert "to go" in beats[0]


async def test_a_trial_run_checks_and_estimates_and_leaves_no_trace(
    seedance: Type, tmp_path: Path, seedance_sandbox: Sandbox
) -> None:
    """Neither at the server nor on the disk."""
    ending = await seedance("batch", pictures(tmp_path, 7), "-o", tmp_path / "out", "--dry-run")

    assert ExitCode.OK == ending.code
    assert "7 to send" == ending.lines[0].split(maxsplit=1)[1]
    assert [] == seedance_sandbox.requests
    assert not (tmp_path / "out").exists()


async def test_the_fields_of_a_template_are_listed(seedance: Type, tmp_path: Path) -> None:
    """And the template may use every one of them."""
    listed = await seedance("batch", "--list-fields")
    fields = [line.split("\t")[0] for line in listed.lines]
    template = "/".join(fields[:-1]) + "." + fields[-1]

    ending = await seedance("batch", pictures(tmp_path, 1), "-o", tmp_path / "out", "--output-name", template)

    assert (ExitCode.OK, ExitCode.OK) == (listed.code, ending.code)
    files = str(results(tmp_path / "out")["boat-1"]["files"])
    assert re.fullmatch(r"\['boat-1/000001/nano-banana-pro/nbp_\w+/1\.jpg'\]", files)


@pytest.mark.parametrize(
    "words", [("batch", "-", "-o", "out"), ("batch", "-o", "out", "-"), ("estimate", "-")]
)
async def test_a_hyphen_is_standard_input(
    words: tuple[str, ...], seedance: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As everywhere; a mistyped flag is still told as such."""
    monkeypatch.chdir(tmp_path)
    with pictures(tmp_path, 2).open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        ending = await seedance(*words)
    mistyped = await seedance("batch", "--dryrun", "jobs.jsonl")

    assert ExitCode.OK == ending.code
    assert "Did you mean --dry-run?" in mistyped.err


async def test_two_runners_in_one_directory_are_one_too_many(seedance: Type, tmp_path: Path) -> None:
    """The second is told who is there, and touches nothing."""
    manifest = pictures(tmp_path, 2)
    async with anyio.create_task_group() as others:
        others.start_soon(seedance, "batch", manifest, "-o", tmp_path / "out")
        while not (tmp_path / "out" / "journal.pid").exists():  # noqa: ASYNC110 - a file is no event
            await anyio.sleep(0.01)
        ending = await seedance("batch", manifest, "-o", tmp_path / "out")

    assert ExitCode.USAGE == ending.code
    assert f"process {os.getpid()}" in ending.err


@pytest.mark.parametrize("lost", ["journal.sqlite", "older journal"])
async def test_a_trial_run_refuses_a_directory_as_the_run_does(
    lost: str, seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """With the same words and the same exit code: nothing was sent, and nothing is."""
    manifest, out = pictures(tmp_path, 1), tmp_path / "out"
    await seedance("batch", manifest, "-o", out)
    (out / "journal.sqlite").unlink()
    if lost == "older journal":
        await seedance("batch", manifest, "-o", tmp_path / "other")
        (tmp_path / "other" / "journal.sqlite").rename(out / "journal.sqlite")
    paid = len(seedance_sandbox.paid_tasks)

    trial = await seedance("batch", manifest, "-o", out, "--dry-run")
    estimate = await seedance("estimate", manifest, "-o", out)
    run = await seedance("batch", manifest, "-o", out)

    assert [ExitCode.USAGE] * 3 == [trial.code, estimate.code, run.code]
    assert run.err in {trial.err, f"API: {seedance_sandbox.base_url}\n{trial.err}"}
    assert trial.err == estimate.err
    assert "Put" in trial.err
    assert paid == len(seedance_sandbox.paid_tasks)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("jobs.jsnl", "there is no such file in {here}; did you mean 'jobs.jsonl'?"),
        ("JOBS.jsonl", "perhaps 'jobs.jsonl' (other letter case)"),
        ("films/jobs.jsonl", "there is no such file, and no directory {here}/films"),
        ("", "is a directory; name the manifest in it, such as {here}/jobs.jsonl"),
    ],
)
@pytest.mark.parametrize("command", ["batch", "estimate", "expand"])
async def test_a_manifest_that_is_not_there_is_looked_for(
    command: str, name: str, words: str, seedance: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it was looked for, and what is there; a key that is missing as well can wait."""
    monkeypatch.delenv("SEEDANCE_API_KEY")
    pictures(tmp_path, 1)
    flags = ["-o", tmp_path / "out"] if command == "batch" else []

    ending = await seedance(command, tmp_path / name, *flags)

    assert ExitCode.USAGE == ending.code
    assert f"error: {tmp_path / name}: " in ending.err
    assert words.format(here=tmp_path) in ending.err
    assert not (tmp_path / "out").exists()

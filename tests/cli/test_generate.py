"""`seedance generate`: one job, from the prompt to the files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
import attrs
import av
import pytest

from seedance_async.exit_codes import ExitCode
from seedance_async.models import REQUEST_TYPES
from seedance_async.models.reference import ABOUT
from seedance_async.sandbox import Fault

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async.models import Request
    from seedance_async.sandbox import Sandbox
    from tests.cli.conftest import Type


async def test_generate_saves_a_clip_and_writes_nothing_but_its_paths_to_stdout(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """The paths can be piped on; everything said about the way there goes to stderr."""
    ending = await seedance("generate", "seedance2", "A paper boat crosses a pond", "-o", tmp_path)

    assert ExitCode.OK == ending.code
    assert [str(path) for path in sorted(tmp_path.iterdir(), key=lambda path: path.suffix)] == ending.lines
    with av.open(ending.lines[0]) as clip:
        assert clip.duration == pytest.approx(5_000_000, rel=0.1)
    assert "POST" == seedance_sandbox.requests[0].method
    assert 1 == len(seedance_sandbox.tasks)


async def test_generate_tells_key_and_task_before_it_waits(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """With those two, whatever happens to the command, its job can be collected."""
    ending = await seedance("generate", "gpt-image-2", "A paper boat", "-o", tmp_path)

    (task,) = seedance_sandbox.tasks.values()
    reported = ending.err.splitlines()
    assert reported[1].startswith("expected: 8 credits (an example of the vendor's), ")
    assert f"idempotency key {task.idempotency_key}" == reported[2]
    assert f"{task.id} accepted · 8 credits" == reported[3]
    assert reported[-1].startswith(f"{task.id} completed after ")


async def test_a_job_that_may_cost_too_much_is_not_sent(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """By the best price known, and also where there is none; what costs less goes through."""
    command = ("generate", "seedance2", "A paper boat", "-o", tmp_path, "--max-credits")
    refused = await seedance(*command, 29)
    unknown = await seedance(*command, 1000, "--quality-tier", "pro", "--resolution", "4k")

    assert ExitCode.OUT_OF_CREDITS == refused.code == unknown.code
    assert "may cost 30 credits, and --max-credits is 29" in refused.err
    assert "the price of this is unknown" in unknown.err
    assert not seedance_sandbox.requests

    assert ExitCode.OK == (await seedance(*command, 30)).code


async def test_generate_sends_what_the_flags_say(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Flags carry the API's own names; URL flags are repeated, not listed."""
    media = ["https://example.com/a.png", "https://example.com/b.mp4"]
    flags = ["--media-url", media[0], "--media-url", media[1], "--duration", 8, "--no-generate-audio"]

    ending = await seedance(
        "generate", "seedance2", "As in the references", *flags, "--seed=-1", "-o", tmp_path
    )

    sent = json.loads(seedance_sandbox.requests[0].body)
    assert ExitCode.OK == ending.code
    assert "media-to-video" == sent["mode"]
    assert media == sent["media_urls"]
    assert "8" == sent["duration"]
    assert sent["generate_audio"] is False
    assert -1 == sent["seed"]


async def test_generate_says_all_that_is_wrong_and_sends_nothing(
    seedance: Type, seedance_sandbox: Sandbox
) -> None:
    """Mistakes of every kind are told at once, field by field, before a request is spent."""
    flags = ["--duration", "soon", "--resolution", "4k", "--aspect-ratio", "3:2", "--image-url", "http://a"]

    ending = await seedance("generate", "seedance2", "hi", *flags)

    named = [line.split(":")[0].strip() for line in ending.err.splitlines()]
    assert ExitCode.USAGE == ending.code
    assert ["prompt", "image_url", "aspect_ratio", "duration", "resolution"] == named[1:-1]
    assert ending.err.endswith("nothing was sent, nothing was charged\n")
    assert [] == seedance_sandbox.requests


async def test_generate_suggests_the_flag_that_was_meant(seedance: Type) -> None:
    """A typing mistake is answered with the right spelling."""
    ending = await seedance("generate", "seedance2", "A paper boat", "--duraton", 8)

    assert ExitCode.USAGE == ending.code
    assert "--duraton" in ending.err
    assert "Did you mean --duration?" in ending.err


async def test_a_prompt_may_begin_with_a_hyphen_and_a_mistyped_flag_is_none(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Several words with flags around them are a prompt; one word with a hyphen is not paid for as one."""
    prompt = "- neon sign"
    ending = await seedance("generate", "gpt-image-2", prompt, "--batch-count", 2, "-o", tmp_path)
    mistyped = [
        await seedance("generate", "gpt-image-2", *words) for words in (["--hlep"], ["--sed", "A boat"])
    ]

    assert ExitCode.OK == ending.code
    assert [prompt] == [json.loads(each.body)["prompt"] for each in seedance_sandbox.requests if each.body]
    assert [ExitCode.USAGE, ExitCode.USAGE] == [each.code for each in mistyped]
    assert all("Unknown option: --" in each.err for each in mistyped)


async def test_generate_saves_every_picture_of_a_batch(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """`--batch-count` makes several tasks with one POST, and each has its file."""
    ending = await seedance("generate", "gpt-image-2", "A paper boat", "--batch-count", 3, "-o", tmp_path)

    posts = [record for record in seedance_sandbox.requests if record.method == "POST"]
    assert 1 == len(posts)
    assert 3 == len(seedance_sandbox.tasks)
    assert sorted(map(str, tmp_path.iterdir())) == sorted(ending.lines)
    assert 3 == len(ending.lines)


async def test_generate_under_an_earlier_key_collects_instead_of_paying_again(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """The key that was told can be given back."""
    again = ["generate", "nano-banana-pro", "A paper boat", "--idempotency-key", "k1", "-o", tmp_path]

    first, second = await seedance(*again), await seedance(*again)

    assert first.lines == second.lines
    assert 1 == len(seedance_sandbox.paid_tasks)


@pytest.mark.parametrize("key", ["", " "])
async def test_generate_takes_no_empty_key_for_a_new_job(
    key: str, seedance: Type, seedance_sandbox: Sandbox
) -> None:
    """Somebody wants an earlier job collected, and the variable with its key is unset: nothing is paid."""
    ending = await seedance("generate", "gpt-image-2", "A paper boat", "--idempotency-key", key)

    assert ExitCode.USAGE == ending.code
    assert "--idempotency-key is empty" in ending.err
    assert [] == seedance_sandbox.requests


@pytest.mark.parametrize("timeout", ["nan", "inf", "-1"])
async def test_a_timeout_that_cannot_be_waited_is_a_mistake_before_anything_is_paid(
    timeout: str, seedance: Type, seedance_sandbox: Sandbox
) -> None:
    """It would only be noticed once the task runs."""
    for command in (["generate", "gpt-image-2", "A paper boat"], ["wait", "gpt2_x"]):
        ending = await seedance(*command, "--timeout", timeout)

        assert ExitCode.USAGE == ending.code
        assert "--timeout" in ending.err
        assert "0 or more" in ending.err
    assert [] == seedance_sandbox.requests


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/no/such", ""])
async def test_a_directory_that_cannot_be_one_is_a_mistake_before_anything_is_paid(
    place: str, seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A paid picture needs somewhere to go."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")

    ending = await seedance("generate", "gpt-image-2", "A paper boat", "-o", place)

    assert ExitCode.USAGE == ending.code
    assert "director" in ending.err
    assert [] == seedance_sandbox.requests
    assert ["file"] == [path.name for path in tmp_path.iterdir()]


async def test_a_file_in_the_place_of_the_directory_is_a_mistake_before_anything_is_paid(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Whoever writes -o fox.png wants no directory of that name."""
    ending = await seedance("generate", "gpt-image-2", "A fox", "-o", str(tmp_path / "fox.png"))

    assert ExitCode.USAGE == ending.code
    assert "looks like a file" in ending.err
    assert [] == seedance_sandbox.requests


async def test_generate_tells_why_a_task_failed_and_what_came_back(seedance: Type) -> None:
    """A failed task ends with 1, its reason and its refund."""
    ending = await seedance("generate", "gpt-image-2", "A boat [[sandbox:fail]]")

    assert ExitCode.FAILED == ending.code
    assert "" == ending.out
    assert "failed after" in ending.err
    assert "8 credits refunded" in ending.err


async def test_generate_ends_with_4_when_the_key_is_refused(seedance: Type) -> None:
    """A wrong key is told as such, and the key itself is not repeated."""
    ending = await seedance("generate", "gpt-image-2", "A paper boat", "--api-key", "sk_wrong")

    assert ExitCode.KEY_REFUSED == ending.code
    assert "the key from --api-key was refused" in ending.err
    assert "https://seedance2ai.io/app/api" in ending.err
    assert "sk_wrong" not in ending.err


@pytest.mark.parametrize("words", [("status", "sd2_x"), ("batch", "jobs.jsonl", "-o", "out"), ("generate",)])
@pytest.mark.parametrize("is_flag", [True, False])
async def test_a_refused_key_is_said_to_be_from_where_it_is(
    is_flag: bool, words: tuple[str, ...], seedance: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By every command, with the page where keys are made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEEDANCE_API_KEY", "sk_other")
    (tmp_path / "jobs.jsonl").write_text('{"model": "nano-banana-pro", "prompt": "A boat"}')
    words = ("generate", "nano-banana-pro", "A boat") if words == ("generate",) else words

    ending = await seedance(*words, *(("--api-key", "sk_wrong") if is_flag else ()))

    assert ExitCode.KEY_REFUSED == ending.code
    assert f"the key from {'--api-key' if is_flag else 'SEEDANCE_API_KEY'} was refused" in ending.err
    assert "https://seedance2ai.io/app/api" in ending.err


@pytest.mark.parametrize("words", [("status", "sd2_x"), ("batch", "jobs.jsonl", "-o", "out"), ("spend",)])
async def test_without_a_key_a_command_says_what_to_set_and_how_to_try(
    words: tuple[str, ...], seedance: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the words of the command line, not of Python."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEEDANCE_API_KEY")
    (tmp_path / "jobs.jsonl").write_text('{"model": "nano-banana-pro", "prompt": "A boat"}')

    ending = await seedance(*words)

    assert ExitCode.USAGE == ending.code
    assert "set SEEDANCE_API_KEY or give --api-key; keys are made at https://" in ending.err
    assert "--sandbox" in ending.err
    assert "api_key=" not in ending.err


@pytest.mark.seedance_sandbox(credits=1)
async def test_generate_ends_with_3_when_credits_are_short(seedance: Type) -> None:
    """The balance does not cover the job: top up and run it again."""
    ending = await seedance("generate", "gpt-image-2", "A paper boat")

    assert ExitCode.OUT_OF_CREDITS == ending.code
    assert "top up" in ending.err


@pytest.mark.seedance_sandbox(faults=[Fault(effect="drop", on="submit", count=None)])
async def test_generate_ends_with_5_and_the_key_when_the_outcome_is_unknown(
    seedance: Type, seedance_sandbox: Sandbox
) -> None:
    """Every answer was lost, so the job may be paid: the line to collect it by is on the screen."""
    ending = await seedance("generate", "gpt-image-2", "A paper boat")

    (key,) = {task.idempotency_key for task in seedance_sandbox.tasks.values()}
    assert ExitCode.UNCERTAIN == ending.code
    assert f"--idempotency-key {key}" in ending.err
    assert 1 == len(seedance_sandbox.paid_tasks)


async def test_generate_that_is_cut_short_tells_how_to_collect_what_was_paid(
    seedance: Type, seedance_sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C is a cancellation in here: the task goes on, and the commands to collect it are told."""
    async with anyio.create_task_group() as keyboard:
        keyboard.start_soon(seedance, "generate", "seedance2", "A paper boat", "-o", "out")
        await anyio.sleep(30)  # long after the submit, long before a clip's end
        keyboard.cancel_scope.cancel()

    (task_id,) = seedance_sandbox.tasks
    reported = capsys.readouterr().err
    assert f"seedance wait {task_id} && seedance download {task_id} -o out" in reported


@pytest.mark.parametrize("request_type", REQUEST_TYPES.values(), ids=lambda each: each.model)
def test_every_field_of_a_request_is_a_flag_with_a_word_about_it(request_type: type[Request]) -> None:
    """A field that the API gains is not forgotten on the command line."""
    fields = {field.name for field in attrs.fields(request_type)} - {"prompt"}

    assert fields <= ABOUT.keys()

"""A program that is told of events: in their order, on its standard input, and at no cost to the batch."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from seedance_async.cli import hooks
from seedance_async.cli.hooks import Hook, environment_without, parse_command, parse_kinds
from seedance_async.cli.sandbox import variables
from seedance_async.errors import ConfigurationError
from tests.cli.processes import SEEDANCE, manifest
from tests.forked import run_python

if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import CompletedProcess

    from seedance_async.sandbox import Sandbox

RECORDER = """
import json, os, sys
told = {{"event": json.load(sys.stdin), "argv": sys.argv[1:], "env": dict(os.environ)}}
with open({log!r}, "a") as log:
    log.write(json.dumps(told) + "\\n")
"""


@pytest.fixture
def anyio_backend() -> str:
    """Child processes live on the real clock."""
    return "asyncio"


@pytest.fixture
def recorder(tmp_path: Path) -> str:
    """A command that writes down what it is told."""
    program = tmp_path / "it's a recorder.py"
    program.write_text(RECORDER.format(log=str(tmp_path / "told.jsonl")))
    return f'{sys.executable} "{program}" "two words" $HOME;'


def told(directory: Path) -> list[dict[str, Any]]:
    """What the recorder was told."""
    path = directory / "told.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def kinds(directory: Path) -> list[str]:
    """The names of these events."""
    return [each["event"]["event"] for each in told(directory)]


async def batch(sandbox: Sandbox, directory: Path, *flags: object) -> CompletedProcess[bytes]:
    """Run `seedance batch` on the manifest."""
    command = [
        *SEEDANCE[1:],
        "batch",
        str(directory / "jobs.jsonl"),
        "-o",
        str(directory / "out"),
        *map(str, flags),
    ]
    return await run_python(command, env={**os.environ, **variables(sandbox)})


async def test_each_event_is_json_on_standard_input_in_its_order(
    sandbox: Sandbox, tmp_path: Path, recorder: str
) -> None:
    """The same as those of --json, but for URLs; no shell reads the command, and no key is in reach."""
    manifest(tmp_path)
    ended = await batch(sandbox, tmp_path, "--json", "--on-event", recorder)

    assert 0 == ended.returncode, ended.stderr.decode()
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    received = [each["event"] for each in told(tmp_path)]
    assert ["started", "planned", "job", "job", "ended"] == [event["event"] for event in received]
    for event in events:
        event.pop("urls", None)
    assert events[:-1] == received[:-1]
    assert {"exit_code": 0, "counts": {"saved": 2}}.items() <= received[-1].items()
    for each in told(tmp_path):
        assert ["two words", "$HOME;"] == each["argv"]
        assert sandbox.api_key not in json.dumps(each)
        assert "signature" not in json.dumps(each["event"])


async def test_only_the_events_that_were_named_are_told(
    sandbox: Sandbox, tmp_path: Path, recorder: str
) -> None:
    """As for a message in the morning."""
    manifest(tmp_path)
    await batch(sandbox, tmp_path, "--on-event", recorder, "--on-event-for", "ended, stopping")

    assert ["ended"] == kinds(tmp_path)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.exit(3)", "has failed with exit code 3"),
        ("import os; os.close(0)", ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "has failed with exit code -15"),
    ],
    ids=["fails", "does not read", "is killed"],
)
async def test_a_program_that_fails_costs_one_message(
    code: str, said: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    """And nothing else: not the exit code, not a job."""
    manifest(tmp_path, 4)
    ended = await batch(sandbox, tmp_path, "--on-event", f'{sys.executable} -c "{code}"')

    assert 0 == ended.returncode, ended.stderr.decode()
    assert (1 if said else 0) == ended.stderr.decode().count("--on-event:")
    assert said in ended.stderr.decode()
    assert 4 == len(sandbox.paid_tasks)


async def test_ctrl_c_does_not_reach_it_and_it_is_told_of_the_end(
    sandbox: Sandbox, tmp_path: Path, recorder: str
) -> None:
    """Why nothing more is sent, and with which code it ended."""
    manifest(tmp_path, 60)
    command = [
        *SEEDANCE,
        "batch",
        str(tmp_path / "jobs.jsonl"),
        "-o",
        str(tmp_path / "out"),
        "--on-event",
        recorder,
    ]
    environment = {**os.environ, **variables(sandbox)}
    async with await anyio.open_process(command, env=environment, start_new_session=True) as process:
        with anyio.fail_after(30):
            while "job" not in kinds(tmp_path):  # noqa: ASYNC110 - another process writes it
                await anyio.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        await process.wait()

    assert 130 == process.returncode
    assert ["stopping", "ended"] == [kind for kind in kinds(tmp_path) if kind in hooks.LAST]
    assert 130 == told(tmp_path)[-1]["event"]["exit_code"]


async def test_a_batch_that_ends_by_an_error_is_told_of_as_well(
    sandbox: Sandbox, tmp_path: Path, recorder: str
) -> None:
    """Nobody else would say so at night."""
    path = manifest(tmp_path)
    path.write_text('{"model": "nano-banana-pro"}')
    ended = await batch(sandbox, tmp_path, "--on-event", recorder)

    assert 2 == ended.returncode
    assert ["ended"] == kinds(tmp_path)
    assert 2 == told(tmp_path)[-1]["event"]["exit_code"]
    assert "prompt" in told(tmp_path)[-1]["event"]["reason"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--on-event", ""], "--on-event is empty"),
        (["--on-event", "./no-such-program x"], "there is no executable program './no-such-program'"),
        (["--on-event", "sh -c 'open"], "No closing quotation"),
        (["--on-event", "sh", "--on-event-for", "endet"], "did you mean ended?"),
        (["--on-event", "sh", "--on-event-for", ","], "--on-event-for is empty"),
        (["--on-event-for", "ended"], "selects the events of --on-event CMD"),
    ],
)
async def test_mistakes_are_said_before_anything_is_sent(
    flags: list[str], said: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    """As with every flag."""
    manifest(tmp_path)
    ended = await batch(sandbox, tmp_path, *flags)

    assert 2 == ended.returncode
    assert said in ended.stderr.decode()
    assert [] == list(sandbox.requests)


def test_no_variable_with_the_key_is_handed_on() -> None:
    """Under whatever name somebody keeps it."""
    variables = {"SEEDANCE_API_KEY": "sk_a", "MINE": "x sk_b y", "COPY": "sk_a", "PATH": "/bin"}

    assert {"PATH": "/bin"} == environment_without("sk_b", variables)
    assert {"PATH": "/bin", "MINE": "x sk_b y"} == environment_without(None, variables)


def test_a_command_is_taken_apart_as_by_a_shell() -> None:
    """Quotes hold words together; nothing is expanded."""
    assert ["sh", "-c", "a b", "$HOME"] == parse_command("sh -c 'a b' $HOME")
    assert frozenset(hooks.KINDS) == parse_kinds(None)
    with pytest.raises(ConfigurationError, match="is not one of"):
        parse_kinds("zzz")


class TestHangs:
    """A program that does not end; patience is short here."""

    def hook(self, code: str, *, patience: float, grace: float) -> Hook:
        """A program that runs this code."""
        command = [sys.executable, "-c", code]
        return Hook(command, environment=os.environ, patience=patience, grace=grace)

    async def test_it_is_killed_with_all_that_it_started(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """And is asked no more after three times."""
        code = (
            "import subprocess, sys, time; child = subprocess.Popen(['sleep', '600']); "
            f"open({str(tmp_path / 'pids')!r}, 'a').write(f'{{child.pid}}\\n'); time.sleep(600)"
        )
        hook = self.hook(code, patience=1.0, grace=30.0)
        for _ in range(5):
            hook.send("job", {})
        await hook.close()
        await asyncio.sleep(0)  # what the thread has to say is said on the loop

        pids = [int(line) for line in (tmp_path / "pids").read_text().splitlines()]
        assert 3 == len(pids)
        assert all(ends(pid) for pid in pids)
        assert 1 == sum("was killed" in message for message in caplog.messages)
        assert 1 == sum("it gets no more events" in message for message in caplog.messages)

    async def test_at_the_end_only_the_last_event_is_waited_for(self, tmp_path: Path) -> None:
        """However many wait: they are dropped, what hangs is killed, and the end is told."""
        code = (
            "import sys, json, time; event = json.load(sys.stdin)['event']\n"
            "if event == 'job': time.sleep(600)\n"
            f"open({str(tmp_path / 'told')!r}, 'a').write(event)"
        )
        hook = self.hook(code, patience=600.0, grace=3.0)
        for _ in range(50):
            hook.send("job", {})
        hook.send("ended", {})
        began = time.monotonic()
        await hook.close()

        assert "ended" == (tmp_path / "told").read_text()
        assert time.monotonic() - began < 60

    async def test_the_queue_is_bounded(self, caplog: pytest.LogCaptureFixture) -> None:
        """The oldest go first; how many is said."""
        hook = self.hook("import time; time.sleep(600)", patience=600.0, grace=0.2)
        for _ in range(hooks.QUEUE + 500):
            hook.send("job", {})
        await hook.close()

        assert any("events were dropped, because the program is too slow" in text for text in caplog.messages)

    async def test_a_program_that_does_not_read_a_long_event_is_no_failure(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A broken pipe is its own matter."""
        hook = self.hook("pass", patience=60.0, grace=60.0)
        hook.send("job", {"error": "x" * 1_000_000})
        await hook.close()
        await asyncio.sleep(0)

        assert [] == [message for message in caplog.messages if "on-event" in message]


def ends(pid: int) -> bool:
    """Whether a process that is not our child has ended or does soon: a kill waits for the scheduler."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], 30.0)[0])
    finally:
        os.close(process)

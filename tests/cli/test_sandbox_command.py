"""`seedance sandbox`: serve the emulator, or run a command against it. Real processes, real time."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import pytest

from seedance_async import RateLimit
from seedance_async.cli.app import execute
from seedance_async.cli.sandbox import rate_limit
from seedance_async.exit_codes import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

SEEDANCE = [sys.executable, "-m", "seedance_async"]
SHOW = "import json, os; print(json.dumps({k: v for k, v in os.environ.items() if k[:9] == 'SEEDANCE_'}))"


def seedance(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command line to its end."""
    return subprocess.run([*SEEDANCE, *arguments], capture_output=True, text=True, timeout=50, check=False)


def test_the_sandbox_serves_until_ctrl_c_and_tells_how_to_reach_it() -> None:
    """Its stdout can be evaluated by a shell; Ctrl-C is how it is meant to end."""
    with subprocess.Popen(
        [*SEEDANCE, "sandbox", "--speed", "20", "--api-key", "sk it's"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        exports = "".join(process.stdout.readline() for _ in range(4))
        names = ("BASE_URL", "API_KEY", "RATE_LIMIT", "TIME_SCALE")
        shell = "\n".join([exports, *(f'printf "%s\\n" "$SEEDANCE_{name}"' for name in names)])
        reported = subprocess.run(
            ["sh", "-c", shell], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        with urllib.request.urlopen(f"{reported[0].removesuffix('/api/v1')}/_sandbox/tasks") as answer:
            tasks = json.load(answer)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)

    assert {"tasks": []} == tasks
    assert ["sk it's", "30/3", "0.05"] == reported[1:]
    assert ExitCode.OK == process.returncode


def test_a_command_runs_against_the_sandbox_and_its_exit_code_is_handed_on() -> None:
    """One line is enough to try a program: the variables are set for it, and it may have flags of its own."""
    ending = seedance("sandbox", "--speed", "60", "--", sys.executable, "-c", f"{SHOW}; exit(7)")

    variables = json.loads(ending.stdout)
    assert 7 == ending.returncode
    assert {
        "SEEDANCE_API_KEY": "sk_test_sandbox",
        "SEEDANCE_RATE_LIMIT": "30/1",
        "SEEDANCE_TIME_SCALE": "0.0166666667",
    } == {name: value for name, value in variables.items() if name != "SEEDANCE_BASE_URL"}


def test_a_death_by_signal_is_told_as_shells_do() -> None:
    """128 and the signal's number."""
    ending = seedance("sandbox", sys.executable, "-c", "import os; os.kill(os.getpid(), 9)")

    assert 128 + signal.SIGKILL == ending.returncode


def test_at_its_own_speed_the_sandbox_leaves_the_limit_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The documented limit is the client's default already."""
    monkeypatch.delenv("SEEDANCE_RATE_LIMIT", raising=False)

    ending = seedance("sandbox", sys.executable, "-c", SHOW)

    assert "SEEDANCE_RATE_LIMIT" not in json.loads(ending.stdout)


@pytest.mark.parametrize("speed", [1, 7, 20, 600, 0.5])
def test_the_limit_shrinks_with_the_clock(speed: float) -> None:
    """However fast, the text can be read back, and thirty requests fit one window."""
    limit = RateLimit.parse(rate_limit(speed))

    assert 30 == limit.requests
    assert limit.period == pytest.approx(60 / speed)


def test_faults_are_read_from_a_file(tmp_path: Path) -> None:
    """The client meets them: here every poll is answered 404, so waiting ends with an error at once."""
    rules = tmp_path / "faults.json"
    rules.write_text(json.dumps([{"effect": "status", "status": 401, "on": "submit", "count": None}]))

    ending = seedance(
        "sandbox", "--faults", str(rules), "--", *SEEDANCE, "generate", "gpt-image-2", "A paper boat"
    )

    assert 4 == ending.returncode


@pytest.mark.parametrize("text", ["", "{}", '[{"effect": "magic"}]', '[{"colour": "blue"}]', "[1]"])
def test_faults_that_make_no_sense_are_a_mistake(tmp_path: Path, text: str) -> None:
    """Told in a line, before anything is served."""
    rules = tmp_path / "faults.json"
    rules.write_text(text)

    ending = seedance("sandbox", "--faults", str(rules), "--", "true")

    assert ExitCode.USAGE == ending.returncode
    assert 1 == len(ending.stderr.splitlines())


BEGUN = '{"seed": 3, "speed": 2.0, "account": "x", "credits": 9}'


@pytest.mark.parametrize("flags", [[], ["--credits", "100", "--speed", "60"]], ids=["left out", "the same"])
def test_a_state_file_keeps_tasks_credits_and_address(tmp_path: Path, flags: list[str]) -> None:
    """What the sandbox was begun with need not be said again, and what was paid is collected."""
    state = str(tmp_path / "new" / "state.jsonl")
    generate = [
        *SEEDANCE,
        "generate",
        "nano-banana-pro",
        "A paper boat",
        "--timeout",
        "0",
        "-o",
        str(tmp_path),
    ]
    first = seedance(
        "sandbox",
        "--state",
        state,
        "--credits",
        "100",
        "--speed",
        "60",
        "--",
        *generate,
        "--rate-limit",
        "30/1",
    )
    (task_id,) = re.findall(r"(nbp_\S+) accepted", first.stderr)
    second = seedance("sandbox", "--state", state, *flags, "--", *SEEDANCE, "wait", task_id)

    assert "sandbox: 0 tasks and 100 credits" in first.stderr
    assert "sandbox: 1 task and 88 credits" in second.stderr
    assert second.stdout.startswith(f"{task_id}\tcompleted")
    assert re.findall(r"http://[\d.:]+/api/v1", first.stderr)[0] in second.stderr


@pytest.mark.parametrize(
    ("name", "content", "options", "said"),
    [
        (".", None, [], "is a directory"),
        ("jobs.jsonl", '{"model": "seedance2"}', [], "was not written by a sandbox"),
        (
            "s",
            '{"seed": 3, "speed": 2.0, "account": "x", "credits": 9}',
            ["--seed", "4"],
            "begun with seed 3",
        ),
        ("s", '{"seed": 3, "speed": 2.0, "account": "x", "credits": 9}', [], "begun with another API key"),
        ("s", '{"seed": 3}', [], "was not written by a sandbox"),
    ],
)
async def test_a_state_file_that_cannot_be_gone_on_with_is_a_mistake(
    tmp_path: Path,
    name: str,
    content: str | None,
    options: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Told in a line; nothing is served and the file is left as it is."""
    path = tmp_path / name
    if content is not None:
        path.write_text(content)

    assert ExitCode.USAGE == await execute(["sandbox", "--state", str(path), *options, "--", "true"])

    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert content is None or content == path.read_text()


async def test_a_state_file_that_is_a_device_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    """It would be read for ever."""
    assert ExitCode.USAGE == await execute(["sandbox", "--state", "/dev/full", "--", "true"])
    assert "is a device" in capsys.readouterr().err


def test_two_sandboxes_do_not_share_a_state_file(tmp_path: Path) -> None:
    """Both would charge the same credits, and neither would know the other's tasks."""
    inner = [*SEEDANCE, "sandbox", "--state", "state.jsonl"]
    outer = seedance(
        "sandbox", "--state", str(tmp_path / "state.jsonl"), "--", "env", "-C", str(tmp_path), *inner
    )

    assert ExitCode.USAGE == outer.returncode
    assert "state.jsonl is in use by another sandbox" in outer.stderr


@pytest.mark.parametrize("host", ["http://sandbox", "sandbox:80", "a/b", "", "a b"])
async def test_a_url_host_is_a_host_alone(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Scheme and port are the sandbox's own."""
    assert ExitCode.USAGE == await execute(["sandbox", "--url-host", host, "--", "true"])

    assert "--url-host must be a host name" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "reported"), [([], True), (["--url-host", "box"], False)])
def test_a_sandbox_for_other_machines_asks_for_its_name(options: list[str], reported: bool) -> None:
    """Else the files' URLs would lead them to themselves."""
    ending = seedance("sandbox", "--host", "0.0.0.0", *options, "--", sys.executable, "-c", "")

    assert reported == ("give --url-host NAME" in ending.stderr)


def test_another_host_name_is_exported_with_its_allowance() -> None:
    """What the command prints is enough for a program that is started in the network."""
    ending = seedance("sandbox", "--url-host", "sandbox", "--", sys.executable, "-c", SHOW)

    variables = json.loads(ending.stdout)
    assert variables["SEEDANCE_BASE_URL"].startswith("http://sandbox:")
    assert "sandbox" == variables["SEEDANCE_SANDBOX_HOSTS"]


POST_TWICE = """
import json, os, urllib.error, urllib.request
headers = {
    "Authorization": f"Bearer {os.environ['SEEDANCE_API_KEY']}",
    "Content-Type": "application/json",
    "Idempotency-Key": "k",
}
url = os.environ["SEEDANCE_BASE_URL"]
for number in range(2):
    request = urllib.request.Request(f"{url}/video/seedance2", b'{"prompt": "A kite"}', headers)
    try:
        print(urllib.request.urlopen(request).status)
    except urllib.error.HTTPError as refusal:
        print(refusal.code)
with urllib.request.urlopen(url.replace("/api/v1", "/_sandbox/behaviour")) as answer:
    print(json.load(answer)["window"])
"""
"""Tells what a POST, and the same POST again, are answered, and by which window they were counted."""


@pytest.mark.parametrize(
    ("switches", "options", "reported"),
    [
        ({}, [], ["202", "202", "sliding-log"]),
        ({"repeated_key": "reject"}, [], ["202", "409", "sliding-log"]),
        ({"before_key": [], "window": "fixed"}, [], ["202", "202", "fixed"]),
        ({"window": "fixed"}, ["--window", "token-bucket"], ["202", "202", "token-bucket"]),
    ],
)
def test_the_switches_are_read_from_a_file(
    tmp_path: Path, switches: dict[str, object], options: list[str], reported: list[str]
) -> None:
    """They change what a POST is answered; a flag says more than the file."""
    path = tmp_path / "behaviour.json"
    path.write_text(json.dumps(switches))

    ending = seedance("sandbox", "--behaviour", str(path), *options, "--", sys.executable, "-c", POST_TWICE)

    assert reported == ending.stdout.split(), ending.stderr


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["is not JSON"]),
        ("[]", ["must be a JSON object; got []"]),
        ('{"repeated_keys": 1}', ["no field 'repeated_keys'", "did you mean 'repeated_key'?"]),
        ('{"repeated_key": "rejct"}', ["repeated_key", "replay, reject", "did you mean 'reject'?"]),
        ('{"stored": ["2xx", "3xx"]}', ["stored", "2xx, 4xx, 5xx", "'3xx'"]),
        ('{"stored": "2xx"}', ["stored must be a list", "'2xx'"]),
        ('{"before_key": [["auth"]]}', ["before_key must be a list", "[['auth']]"]),
        ('{"window": ["fixed"]}', ["window must be one of", "['fixed']"]),
        ('{"gets_count": 1}', ["gets_count must be true or false; got 1"]),
        ('{"refused_count": null}', ["refused_count must be true or false; got None"]),
        ('{"key_life": 0}', ["key_life must be a number above 0"]),
        ('{"url_life": Infinity}', ["url_life must be a number above 0 to 1e+09"]),
        ('{"window_phase": "5"}', ["window_phase must be a number", "'5'"]),
        ('{"window_phase": true}', ["window_phase must be a number", "True"]),
    ],
)
async def test_switches_that_make_no_sense_are_a_mistake(
    tmp_path: Path, text: str, parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Told in a line that names the file, the field, and what it takes; nothing is served."""
    path = tmp_path / "behaviour.json"
    path.write_text(text)

    assert ExitCode.USAGE == await execute(["sandbox", "--behaviour", str(path), "--", "true"])

    (line,) = capsys.readouterr().err.splitlines()
    assert [] == [part for part in [str(path), *parts] if part not in line]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--speed", "0"),
        ("--speed", "inf"),
        ("--speed", "nan"),
        ("--port", "99999"),
        ("--port", "-1"),
        ("--media-port", "99999"),
        ("--api-key", ""),
    ],
)
def test_options_that_make_no_sense_are_a_mistake(option: str, value: str) -> None:
    """A clock that stands still serves nobody."""
    ending = seedance("sandbox", option, value, "--", "true")

    assert ExitCode.USAGE == ending.returncode
    assert option in ending.stderr
    assert 1 == len(ending.stderr.splitlines())


@pytest.mark.case(103)
def test_a_live_key_is_a_mistake_and_is_not_repeated() -> None:
    """The command is not run, so nothing is sent with it."""
    ending = seedance("sandbox", "--api-key", "sk_live_0123456789", "--", sys.executable, "-c", SHOW)

    assert (ExitCode.USAGE, "") == (ending.returncode, ending.stdout)
    assert "sk_live_" in ending.stderr
    assert "0123456789" not in ending.stderr
    assert 1 == len(ending.stderr.splitlines())


def _can_be_listened_at(host: str) -> bool:
    """Whether this machine speaks IPv6 is not ours to say."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
        try:
            trial.bind((host, 0))
        except OSError:
            return False
    return True


@pytest.mark.parametrize("host", [*filter(_can_be_listened_at, ["0.0.0.0", "127.0.0.1", "::", "::1"])])
def test_a_client_can_ask_and_fetch_wherever_it_listens(host: str, tmp_path: Path) -> None:
    """What is told, and what a task's URLs name, are addresses that a client takes."""
    generate = [*SEEDANCE, "generate", "gpt-image-2", "A kite", "-o", str(tmp_path)]

    ending = seedance("sandbox", "--host", host, "--speed", "100", "--", *generate)

    assert ExitCode.OK == ending.returncode, ending.stderr
    assert [".png"] == [path.suffix for path in tmp_path.iterdir()]


def test_both_ports_can_be_chosen() -> None:
    """Whoever forwards ports, as from a container, needs to know both."""
    with socket.socket() as one, socket.socket() as other:
        for free in (one, other):
            free.bind(("127.0.0.1", 0))
        ports = [free.getsockname()[1] for free in (one, other)]
    script = f"import os, socket; print(os.environ['SEEDANCE_BASE_URL']); \
socket.create_connection(('127.0.0.1', {ports[1]})).close()"

    chosen = ["--port", str(ports[0]), "--media-port", str(ports[1])]
    ending = seedance("sandbox", *chosen, "--", sys.executable, "-c", script)

    assert ExitCode.OK == ending.returncode, ending.stderr
    assert f"http://127.0.0.1:{ports[0]}/api/v1" == ending.stdout.strip()


def test_a_sandbox_that_is_terminated_takes_its_command_along() -> None:
    """A supervisor's SIGTERM leaves no orphan behind."""
    script = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    with subprocess.Popen(
        [*SEEDANCE, "sandbox", "--", sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        command = int(process.stdout.readline())
        process.terminate()
        ending = process.wait(timeout=20)

    assert 128 + signal.SIGTERM == ending
    with pytest.raises(ProcessLookupError):
        os.kill(command, 0)


def test_a_port_that_is_taken_is_told_in_a_line() -> None:
    """As is a command that does not exist: no traceback."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    inner = [*SEEDANCE, "sandbox", "--port"]
    script = f"import os, subprocess; port = os.environ['SEEDANCE_BASE_URL'].split(':')[2].split('/')[0]; \
raise SystemExit(subprocess.run([*{inner!r}, port, '--', 'true']).returncode)"

    ending = subprocess.run(
        [*SEEDANCE, "sandbox", "--", sys.executable, "-c", script],
        capture_output=True, text=True, timeout=50, check=False, env=environment,
    )  # fmt: skip
    missing = seedance("sandbox", "--", "no-such-command")

    assert (1, 1) == (ending.returncode, missing.returncode)
    assert "address already in use" in ending.stderr.lower()
    assert "no-such-command" in missing.stderr
    assert "Traceback" not in ending.stderr + missing.stderr


def test_its_help_shows_how_a_prompt_asks_for_a_fault() -> None:
    """Brackets are text here, no markup."""
    assert "[[fault:NAME]]" in seedance("sandbox", "--help").stdout


def test_the_faults_that_a_prompt_can_ask_for_are_listed() -> None:
    """Each with its rule, which `--faults` takes."""
    ending = seedance("sandbox", "--list-faults")
    rules = {
        name: json.loads(rule) for name, rule in (line.split(None, 1) for line in ending.stdout.splitlines())
    }

    assert ExitCode.OK == ending.returncode
    assert {"effect": "drop", "moment": "before"} == rules["drop-before"]
    assert {"effect": "drop"} == rules["drop"] == rules["drop-after-charge"]

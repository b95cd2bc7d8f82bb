"""The command as a process: what it loads, how it ends, and who may leave early."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from importlib.metadata import requires
from typing import TYPE_CHECKING

import pytest

from seedance_async import __version__
from seedance_async.cli import NEEDED
from seedance_async.cli.app import build, execute, flowing
from seedance_async.exit_codes import ExitCode
from seedance_async.models import REQUEST_TYPES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Type

SEEDANCE = [sys.executable, "-m", "seedance_async"]
SANDBOX = [*SEEDANCE, "sandbox", "--speed", "60", "--"]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], ExitCode.OK),
        (["--version"], ExitCode.OK),
        ([], ExitCode.OK),
        (["generate", "seedance2", "--help"], ExitCode.OK),
        (["sandbox", "--help"], ExitCode.OK),
        (["bogus"], ExitCode.USAGE),
        (["generate", "seedance2"], ExitCode.USAGE),
        (["generate", "seedance2", "A paper boat", "--duration", "99"], ExitCode.USAGE),
        (["wait"], ExitCode.USAGE),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_needs_no_network_does_not_load_the_http_stack(arguments: list[str], code: int) -> None:
    """Help, version and mistakes are answered without the price of loading aiohttp."""
    ending = run(sys.executable, "-X", "importtime", *SEEDANCE[1:], *arguments)

    loaded = set(re.findall(r"\|\s+(\w+)$", ending.stderr, re.MULTILINE))
    assert code == ending.returncode
    assert {"attrs", "cyclopts"} <= loaded
    assert {"aiohttp", "aiolimiter"}.isdisjoint(loaded)


def test_the_version_is_the_packages() -> None:
    """And it is all that stdout gets."""
    assert f"{__version__}\n" == run(*SEEDANCE, "--version").stdout


@pytest.mark.parametrize(
    ("typed", "reported"),
    [
        (["help"], "seedance --help"),
        (["-v"], "seedance --version"),
        (["--api-key", "k", "generate", "seedance2", "A fox"], "seedance COMMAND … --api-key …"),
        (["--rate-limit=30/60", "batch", "a.jsonl"], "seedance COMMAND … --rate-limit …"),
        (["generate", "seedance2", "--prompt", "A fox"], 'seedance generate MODEL "PROMPT"'),
        (["generate", "seedance2", "A fox", "--generate-audio", "false"], "or --no-generate-audio for off"),
        (["generate", "seedance2", "A fox", "--no-fixed-lens", "True"], "write --fixed-lens, or"),
        (["status", "https://seedance2ai.io/api/v1/tasks/sd2_abc"], "did you mean sd2_abc?"),
        (["wait", "the fox"], "'the fox' is no task id"),
        (["download", "sd2_a", "", "-o", "out"], "'' is no task id"),
        (["generate", "seedance2", "A fox", "-o", "s3://bucket/fox"], "name a directory of this machine"),
        (["demo", "-o", "~/out"], "the shell has left ~/out as it is"),
        (["demo", "-o", "x" * 300], "has more than 255 bytes"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
async def test_a_usual_slip_is_told_with_the_way_out(
    typed: list[str], reported: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, before anything is sent or made."""
    monkeypatch.setenv("SEEDANCE_API_KEY", "sk_live_slip")
    monkeypatch.setenv("SEEDANCE_BASE_URL", "http://127.0.0.1:9/api/v1")

    assert ExitCode.USAGE == await execute(typed)

    (line,) = capsys.readouterr().err.splitlines()
    assert reported in line


@pytest.mark.parametrize("missing", [["cyclopts"], ["rich"], ["cyclopts", "rich"]], ids="+".join)
def test_without_its_extra_the_command_names_it(missing: list[str]) -> None:
    """One line, and the exit code of a usage error; what it tells to install is on every index."""
    without = (
        f"import sys; sys.modules.update(dict.fromkeys({missing})); "
        "from seedance_async.cli import main; sys.exit(main())"
    )

    ending = run(sys.executable, "-c", without)

    command = f"{sys.executable} -m pip install cyclopts rich"
    assert ExitCode.USAGE == ending.returncode
    assert f"the seedance command needs the packages of its extra, cli: {command}\n" == ending.stderr


def test_the_extra_is_what_the_hint_installs() -> None:
    """Else the line would lead to the next one of its kind."""
    needed = [text for text in requires("seedance-async") or () if re.search("extra == .cli", text)]

    assert set(NEEDED) == {re.split(r"\W", text)[0] for text in needed}


@pytest.mark.parametrize(
    ("typed", "reported"),
    [
        (["generate", "seedance2", "A", "red", "fox"], "seedance generate seedance2 'A red fox'"),
        (
            ["generate", "seedance2", "--duration", "4", "A", "red", "fox"],
            "seedance generate seedance2 --duration 4 'A red fox'",
        ),
        (
            ["generate", "gpt-image-2", "A", "red", "red", "fox", "-o", "out"],
            "seedance generate gpt-image-2 'A red red fox' -o out",
        ),
        (
            ["generate", "nano-banana-pro", "Her", "$5", "hat"],
            "seedance generate nano-banana-pro 'Her $5 hat'",
        ),
        (["generate", "seedance2", "A red", "--resolution", "720p", "fox"], "'A red fox' --resolution 720p"),
        (["batch", "my", "jobs.jsonl", "-o", "out"], "seedance batch 'my jobs.jsonl' -o out"),
        (["estimate", "my", "jobs.jsonl"], "seedance estimate 'my jobs.jsonl'"),
        (["demo", "foo"], "unused words: foo; see --help"),
        (
            ["batch", "a.jsonl", "b.jsonl", "-o", "out"],
            "this command reads one manifest, and 2 were given: a.jsonl b.jsonl; join them, cat a.jsonl b.",
        ),
        (
            ["estimate", "a.csv", "b.CSV", "c.toml"],
            "and 3 were given: a.csv b.CSV c.toml; give each a directory",
        ),
        (["expand", "my", "film.toml"], "quote the manifest's name: seedance expand 'my film.toml'"),
    ],
)
async def test_unused_words_ask_for_quotes(
    typed: list[str], reported: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the whole command as it was probably meant; nothing is sent."""
    monkeypatch.delenv("SEEDANCE_API_KEY", raising=False)

    assert ExitCode.USAGE == await execute(typed)

    (line,) = capsys.readouterr().err.splitlines()
    assert reported in line
    assert ("quote the prompt" in line) == (typed[0] == "generate")


def test_without_a_key_the_command_says_where_to_get_one() -> None:
    """Nothing is sent, and the sandbox is named as a way without one."""
    ending = run("env", "-u", "SEEDANCE_API_KEY", *SEEDANCE, "status", "sd2_x")

    assert ExitCode.USAGE == ending.returncode
    assert "SEEDANCE_API_KEY" in ending.stderr
    assert "seedance sandbox" in ending.stderr


@pytest.mark.case(124)
def test_a_reader_that_leaves_early_stops_nothing(tmp_path: Path) -> None:
    """`| head -1` closes the pipe: every picture is saved all the same, and nobody complains."""
    with subprocess.Popen(
        [*SANDBOX, *SEEDANCE, "generate", "gpt-image-2", "A boat", "--batch-count", "4", "-o", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": ""},  # a buffer is what the interpreter flushes at its end
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()

    assert ExitCode.OK == process.wait()
    assert 4 == len(list(tmp_path.iterdir()))
    assert "Error" not in said
    assert "Traceback" not in said


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")  # noqa: PTH110
@pytest.mark.parametrize(
    "words",
    [("generate", "gpt-image-2", "A boat", "-o", "out"), ("batch", "jobs.jsonl", "-o", "out", "--json")],
)
def test_a_full_disk_behind_stdout_is_told_and_loses_nothing_that_was_paid(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    """The paths are lost, the picture is not; one line says so, and the exit code."""
    (tmp_path / "jobs.jsonl").write_text('{"model": "gpt-image-2", "prompt": "A boat"}\n')
    with open("/dev/full", "w") as full:  # noqa: PTH123
        ending = subprocess.run(
            [*SANDBOX, *SEEDANCE, *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=50,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.getcwd()},  # noqa: PTH109
        )

    assert ExitCode.FAILED == ending.returncode
    assert 1 == ending.stderr.count("No space left on device")
    assert 1 == len(list((tmp_path / "out").glob("*.png")))
    assert "Traceback" not in ending.stderr
    assert "--json" in words or "gpt2_" in ending.stderr


def test_ctrl_c_ends_with_130_and_the_line_to_collect_by() -> None:
    """The task is paid and goes on; its id is on the screen, and no traceback."""
    with subprocess.Popen(
        [*SANDBOX, *SEEDANCE, "generate", "seedance2", "A paper boat"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        said = ""
        while "accepted" not in said:
            said += process.stderr.readline()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole foreground group
        _, rest = process.communicate(timeout=20)

    assert ExitCode.INTERRUPTED == process.returncode
    assert re.search(r"seedance wait (sd2_\w+) && seedance download \1 -o \.", rest)
    assert "Traceback" not in rest


def test_the_shell_completes_what_is_typed(tmp_path: Path) -> None:
    """Commands, flags, and the words that a flag takes."""
    environment = {**os.environ, "HOME": str(tmp_path), "SHELL": "/bin/bash"}

    def output_of(*command: str) -> str:
        finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return finished.stdout.strip()

    told = output_of(sys.executable, "-m", "seedance_async", "--install-completion", "--shell", "bash")
    (script,) = map(str, (tmp_path / ".local").rglob("seedance"))
    ask = 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _seedance; echo "${COMPREPLY[@]}"'

    def completed(*words: str) -> str:
        return output_of("bash", "-c", ask, script, *words)

    assert script in told
    assert "batch" == completed("seedance", "bat")
    assert "--max-credits" == completed("seedance", "batch", "--max-c")
    assert "1080p 1080p-plus" == completed("seedance", "generate", "seedance2", "--resolution", "10")


VERBS = [[name] for name in build() if not name.startswith("-") and name not in {"generate", "prompt"}]
VERBS += [["generate", model] for model in REQUEST_TYPES] + [["prompt", "lint"], ["prompt", "build"]]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
async def test_every_help_has_an_example_that_can_be_typed(
    verb: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, which the command understands."""
    assert ExitCode.OK == await execute([*verb, "--help"])

    found = re.search(r"^Example: seedance (.+)$", capsys.readouterr().out, re.MULTILINE)
    assert found
    words = shlex.split(found[1].partition(" | ")[0])
    assert verb == words[: len(verb)]
    build().parse_args(words)


def test_the_paragraphs_of_a_help_fill_any_width() -> None:
    """The lines of the source would each leave a rest in a narrow one; commands to copy stay as they are."""
    text = flowing("""Make it,
    and save it.

      seedance batch MANIFEST -o DIR
      seedance review DIR

    Example: seedance demo
    """)

    commands = "  seedance batch MANIFEST -o DIR\n  seedance review DIR"
    assert f"Make it, and save it.\n\n{commands}\n\nExample: seedance demo" == text.strip()


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (
            ["generate", "A boat"],
            "the model is missing before the prompt: seedance generate seedance2 'A boat'",
        ),
        (["generate", "sedance2", "A boat"], 'Did you mean "seedance2"?'),
        (["demo", "--jobs", "many"], 'Invalid value for --jobs: unable to convert "many" to a whole number.'),
    ],
)
async def test_a_mistake_is_told_in_the_words_of_the_one_who_made_it(
    typed: list[str], message: str, seedance: Type
) -> None:
    """Not in those of the library that has read the line, nor in Python's."""
    ending = await seedance(*typed)

    assert ExitCode.USAGE == ending.code
    assert message in ending.err

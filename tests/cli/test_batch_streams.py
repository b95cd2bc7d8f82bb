"""`seedance batch` and its streams: logs, pipes, terminals that go, input that never ends.

Output that cannot be written ends no paid work, and the exit code stays true.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import termios
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from seedance_async.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SEEDANCE = [sys.executable, "-m", "seedance_async"]
CURSOR = re.compile(rb"\x1b\[(\?25[lh]|[0-9]*A|2K)")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
JOB = {"model": "nano-banana-pro", "prompt": "A boat", "output_format": "jpeg"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A directory to work in; the package is found from there as well, and no key is."""
    monkeypatch.setenv("PYTHONPATH", os.getcwd())  # noqa: PTH109
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("SEEDANCE_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def batch(tmp_path: Path) -> list[str]:
    """The command for a batch of four pictures in a sandbox of its own."""
    lines = (json.dumps({**JOB, "name": f"boat-{number}"}) + "\n" for number in range(4))
    (tmp_path / "jobs.jsonl").write_text("".join(lines))
    return [*SEEDANCE, "batch", "jobs.jsonl", "-o", "out", "--sandbox"]


def saved(directory: Path) -> int:
    """How many pictures are there."""
    return len(list((directory / "out").glob("*.jpg")))


def posts(directory: Path) -> int:
    """How many POSTs its sandbox has accepted."""
    return (directory / "out" / "sandbox.jsonl").read_text().count('"body"')


def until(condition: Callable[[], bool]) -> None:
    """Wait for another process."""
    while not condition():
        time.sleep(0.02)


@pytest.fixture
def running() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that end with the test."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


@pytest.mark.parametrize("wish", ["FORCE_COLOR", "TTY_COMPATIBLE", "CLICOLOR_FORCE"])
def test_a_log_has_no_display_in_it_whatever_colours_are_asked_for(
    wish: str, batch: list[str], tmp_path: Path
) -> None:
    """A build server sets it for colours; a cursor that moves ten times a second is none."""
    ending = subprocess.run(batch, capture_output=True, env={**os.environ, wish: "1"}, check=False)

    assert ExitCode.OK == ending.returncode
    assert not CURSOR.search(ending.stdout + ending.stderr)
    assert len(ending.stderr) < 2_000
    assert 4 == saved(tmp_path)


@pytest.mark.parametrize("forced", [False, True], ids=["plain", "FORCE_COLOR"])
@pytest.mark.parametrize("events", [[], ["--json"]], ids=["totals", "events"])
def test_a_reader_of_everything_that_leaves_ends_nothing(
    forced: bool, events: list[str], batch: list[str], tmp_path: Path
) -> None:
    """`2>&1 | head -1`: what comes later has nowhere to go, and nobody needs to know."""
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "FORCE_COLOR": "1"} if forced else None
    try:
        ending = subprocess.run([*batch, *events], stdout=writer, stderr=writer, env=environment, check=False)
    finally:
        os.close(writer)

    assert ExitCode.OK == ending.returncode
    assert 4 == saved(tmp_path)


def test_a_full_disk_behind_stderr_changes_no_exit_code(batch: list[str], tmp_path: Path) -> None:
    """Messages are lost; data is not, and neither is what was paid."""
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        ending = subprocess.run(batch, stdout=subprocess.PIPE, stderr=full, check=False)

    assert ExitCode.OK == ending.returncode
    assert b"4 saved" in ending.stdout
    assert 4 == saved(tmp_path)


def test_a_terminal_that_goes_ends_nothing_that_it_does_not_control(
    batch: list[str], tmp_path: Path, running: list[subprocess.Popen[bytes]]
) -> None:
    """A job of another session draws on it; then every write is an input/output error."""
    screen, keyboard = pty.openpty()
    process = subprocess.Popen(batch, stdout=keyboard, stderr=keyboard, start_new_session=True)
    running.append(process)
    os.close(keyboard)
    os.read(screen, 10)
    os.close(screen)

    assert ExitCode.OK == process.wait(50)
    assert 4 == saved(tmp_path)


def heed_signals() -> None:
    """In a child: ignore none of them, whatever the tests were started by (``nohup``, ``&``) has ignored."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def on_terminal(command: list[str], *, ignored: bool = False) -> tuple[subprocess.Popen[bytes], int]:
    """A command as the leader of a session on a terminal, and the terminal's other side."""
    screen, keyboard = pty.openpty()

    def lead() -> None:
        fcntl.ioctl(keyboard, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)

    process = subprocess.Popen(
        command,
        stdin=keyboard,
        stdout=keyboard,
        stderr=keyboard,
        start_new_session=True,
        preexec_fn=lead,  # noqa: PLW1509 - no thread of ours runs
    )
    os.close(keyboard)
    return process, screen


def test_a_terminal_that_is_closed_stops_it_in_good_order(
    batch: list[str], tmp_path: Path, running: list[subprocess.Popen[bytes]]
) -> None:
    """As Ctrl-C does: what is on the wire is written down, and the next run pays for nothing twice."""
    process, screen = on_terminal(batch)
    running.append(process)
    until((tmp_path / "out" / "journal.pid").exists)
    os.close(screen)

    assert process.wait(50) in {ExitCode.INTERRUPTED, ExitCode.OK}  # the work may be done already
    assert not (tmp_path / "out" / "journal.pid").exists()
    assert ExitCode.OK == subprocess.run(batch, capture_output=True, check=False).returncode
    assert (4, 4) == (saved(tmp_path), posts(tmp_path))


def test_nohup_goes_on_when_the_terminal_is_closed(
    batch: list[str], tmp_path: Path, running: list[subprocess.Popen[bytes]]
) -> None:
    """Whoever has the signal ignored means that."""
    process, screen = on_terminal(batch, ignored=True)
    running.append(process)
    until((tmp_path / "out" / "journal.pid").exists)
    os.close(screen)

    assert ExitCode.OK == process.wait(50)
    assert (4, 4) == (saved(tmp_path), posts(tmp_path))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="looks at the descriptors")  # noqa: PTH112
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_streams_that_were_closed_at_the_start_are_not_missed(
    closed: tuple[int, ...], batch: list[str], tmp_path: Path, running: list[subprocess.Popen[bytes]]
) -> None:
    """And none of their numbers goes to a file, where a library's complaint would be written into it."""
    words = " ".join(f"{number}>&-" for number in closed)
    process = subprocess.Popen(
        ["sh", "-c", f'exec "$@" {words}', "sh", *batch], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    running.append(process)
    until((tmp_path / "out" / "journal.pid").exists)
    taken = [os.readlink(f"/proc/{process.pid}/fd/{number}") for number in closed]  # noqa: PTH115

    assert ["/dev/null"] * len(closed) == taken
    assert ExitCode.OK == process.wait(50)
    assert 4 == saved(tmp_path)


def test_jobs_from_a_stream_that_is_closed_are_refused(tmp_path: Path) -> None:
    """In one line, and nothing is left behind."""
    words = [*SEEDANCE, "batch", "-", "-o", "out", "--sandbox"]
    ending = subprocess.run(["sh", "-c", 'exec "$@" <&-', "sh", *words], check=False, capture_output=True)

    assert ExitCode.USAGE == ending.returncode
    assert b"standard input is closed" in ending.stderr
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
@pytest.mark.parametrize("number", SIGNALS)
def test_input_that_never_ends_does_not_hold_a_signal_up(
    name: str, number: int, tmp_path: Path, running: list[subprocess.Popen[bytes]]
) -> None:
    """A thread waits for the next line; neither it nor the interpreter's end may keep the process."""
    words = [*SEEDANCE, "batch", name, "-o", "out", "--sandbox"]
    process = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=heed_signals,  # noqa: PLW1509 - no thread of ours runs
    )
    running.append(process)
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(json.dumps(JOB).encode() + b"\n")
    process.stdin.flush()
    until((tmp_path / "out" / "journal.pid").exists)
    time.sleep(1)  # it waits for the second line by now
    process.send_signal(number)

    assert ExitCode.INTERRUPTED == process.wait(30)
    said = process.stderr.read()
    assert b"Fatal" not in said
    assert b"interrupted before anything was sent" in said
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("way", ["dash", "stdin", "substitution", "fifo", "socket"])
def test_a_manifest_that_can_be_read_once_is_read_once(way: str, tmp_path: Path) -> None:
    """Whatever a shell makes of `<(…)`, a pipe, or a service manager of standard input."""
    text = (json.dumps({**JOB, "name": "boat"}) + "\n").encode()
    source = {"dash": "-", "fifo": "pipe", "substitution": "<(cat)"}.get(way, "/dev/stdin")
    line = f'exec "$@" {source} -o out --sandbox'
    if way == "fifo":
        os.mkfifo(tmp_path / "pipe")
        line = f'exec 3<&0; (cat <&3 > pipe) & exec "$@" {source} -o out --sandbox'
    command = ["bash", "-c", line, "bash", *SEEDANCE, "batch"]
    if way == "socket":
        ending = _with_socket(command, text)
    else:
        ending = subprocess.run(command, input=text, capture_output=True, check=False)

    assert ExitCode.OK == ending.returncode, ending.stderr
    assert 1 == saved(tmp_path) == posts(tmp_path)


def _with_socket(command: list[str], text: bytes) -> subprocess.CompletedProcess[bytes]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(text)
        ours.shutdown(socket.SHUT_WR)
        return subprocess.run(command, stdin=theirs.fileno(), capture_output=True, check=False)


def waiting_in(pipe: int) -> int:
    """Bytes that nobody has read yet."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_a_pipe_that_does_not_block_loses_nothing(
    tmp_path: Path, running: list[subprocess.Popen[bytes]]
) -> None:
    """Some parents set theirs so; what did not fit into it at once would be an error, and lost."""
    jobs = (json.dumps({**JOB, "name": f"boat-{n}", "prompt": "A boat " + "x" * 300}) for n in range(40))
    (tmp_path / "jobs.jsonl").write_text("\n".join(jobs))
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    process = subprocess.Popen(
        [*SEEDANCE, "batch", "jobs.jsonl", "-o", "out", "--sandbox", "--json"],
        stdout=writer,
        stderr=subprocess.DEVNULL,
    )
    running.append(process)
    os.close(writer)
    until(lambda: waiting_in(reader) > 3_000)
    with suppress(subprocess.TimeoutExpired):  # it waits for a reader; else it would go on, and end
        process.wait(5)
    with os.fdopen(reader, "rb") as stream:
        events = [json.loads(line)["event"] for line in stream]

    assert ExitCode.OK == process.wait(30)
    assert 40 == events.count("job")
    assert "ended" == events[-1]

"""PostgreSQL and Redis for tests: real servers in a temporary directory, from the programs of this machine.

Where a program is missing, its tests are skipped with the command that installs it; with
``TESTS_NEED_SERVERS`` in the environment, as in ``.ci/run``, they fail instead.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

STARTING: Final = 30.0
"""Seconds until a server must answer."""

_DATABASES = count(1)


class Server(ABC):
    """A server at a port of loopback, in a process of its own, that can be stopped and started again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = _free_port()
        self._user: str | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        log = self.directory / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, user=self._user
            )
        until = time.monotonic() + STARTING
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"the server did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Send its main process a signal and wait for its end; every connection breaks."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(STARTING)
            self._process = None

    def restart(self, how: signal.Signals) -> None:
        """Stop it by a signal, and start it again on what it left."""
        self.stop(how)
        self.start()

    @abstractmethod
    def command(self) -> list[str]:
        """What starts it in the foreground."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it is ready."""


class Postgres(Server):
    """A PostgreSQL server with an empty cluster.

    ``stop(SIGQUIT)`` ends it as a crash does (``pg_ctl -m immediate``), SIGINT in order.
    """

    def __init__(self, directory: Path, programs: Path) -> None:
        super().__init__(directory)
        self._programs = programs
        self._data = directory / "data"
        if os.geteuid() == 0:  # it refuses to run as root
            self._user = "postgres"
            shutil.chown(directory, self._user)
        options = ["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"]
        command = [str(programs / "initdb"), *options, "-D", str(self._data)]
        subprocess.run(command, check=True, capture_output=True, user=self._user, cwd=directory)

    def command(self) -> list[str]:
        """No syncs: the machine under a test does not lose power."""
        options = ["listen_addresses=127.0.0.1", f"unix_socket_directories={self.directory}", "fsync=off"]
        settings = [word for option in options for word in ("-c", option)]
        return [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self.port), *settings]

    def answers(self) -> bool:
        """Whether it takes connections."""
        asked = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(asked, check=False).returncode == 0

    def url(self, database: str = "postgres") -> str:
        """Where a database of it is."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def create_database(self) -> str:
        """Make an empty database; returns its URL."""
        name = f"test_{os.getpid()}_{next(_DATABASES)}"
        place = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        subprocess.run([str(self._programs / "createdb"), *place, name], check=True)
        return self.url(name)


class Redis(Server):
    """A Redis or Valkey server that keeps everything in memory: a restart loses it."""

    def __init__(self, directory: Path, program: str) -> None:
        super().__init__(directory)
        self._program = program

    def command(self) -> list[str]:
        """Without files."""
        quiet = ["--save", "", "--appendonly", "no", "--dir", str(self.directory)]
        return [self._program, "--bind", "127.0.0.1", "--port", str(self.port), *quiet]

    def answers(self) -> bool:
        """Whether it says PONG."""
        return self._says("PING") == b"+PONG\r\n"

    def url(self) -> str:
        """Where its only database is."""
        return f"redis://127.0.0.1:{self.port}/0"

    def clear(self) -> None:
        """Delete everything."""
        assert self._says("FLUSHALL") == b"+OK\r\n"

    def _says(self, command: str) -> bytes:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5.0) as connection:
                connection.sendall(f"{command}\r\n".encode())
                return connection.recv(64)
        except OSError:
            return b""


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL server; a test that stops it starts it again."""
    path = os.pathsep.join(["/usr/local/bin", *_newest("/usr/lib/postgresql"), os.environ.get("PATH", "")])
    program = shutil.which("postgres", path=path)
    if program is None:
        _do_without("postgresql")
    directory = Path(tempfile.mkdtemp(prefix="seedance-postgres-"))
    server = Postgres(directory, Path(program).resolve().parent)
    try:
        server.start()
        yield server
    finally:
        server.stop(signal.SIGINT)
        shutil.rmtree(directory)


@pytest.fixture
def postgres_url(postgres_server: Postgres) -> str:
    """The URL of an empty PostgreSQL database."""
    return postgres_server.create_database()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """A Redis server; a test that stops it starts it again."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        _do_without("redis-server")
    directory = Path(tempfile.mkdtemp(prefix="seedance-redis-"))
    server = Redis(directory, program)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory)


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """The URL of an empty Redis database."""
    redis_server.clear()
    return redis_server.url()


def _do_without(package: str) -> NoReturn:
    message = f"there is no {package} on this machine: apt-get install {package}"
    if os.environ.get("TESTS_NEED_SERVERS"):
        pytest.fail(message)
    pytest.skip(message)


def _newest(directory: str) -> list[str]:
    """The directories of programs below one with a directory a version, the newest version first."""
    versions = sorted(Path(directory).glob("*/bin"), key=lambda found: int(found.parent.name), reverse=True)
    return [str(version) for version in versions]


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])

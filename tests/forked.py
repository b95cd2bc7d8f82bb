"""Child processes that run Python programs, forked from a server that has already imported the package.

A new interpreter spends more time on importing the package than most tests need their process for. A forked
process has its own memory and descriptors, and ``os._exit`` and signals end it like any other.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING

from anyio import to_thread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[1]
IMPORTED = ("anyio._backends._asyncio", "seedance_async.batch.runner", "seedance_async.cli.batch_run")


async def run_python(
    arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None
) -> CompletedProcess[bytes]:
    """Run ``python ARGUMENTS`` until it ends; standard input is empty.

    Args:
        arguments: the path of a program, or ``-m`` and a module, and what it gets.
        env: the whole environment.
        cwd: the directory to run it in; None for this process's.
    """
    return await to_thread.run_sync(_run, list(arguments), dict(env), str(cwd or Path.cwd()))


def _run(arguments: list[str], env: dict[str, str], cwd: str) -> CompletedProcess[bytes]:
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as connection:
        out, err = Path(directory, "out"), Path(directory, "err")
        connection.connect(_server())
        connection.sendall(json.dumps([arguments, env, cwd, str(out), str(err)]).encode())
        connection.shutdown(socket.SHUT_WR)
        code = int(_all_of(connection))
        return CompletedProcess(arguments, code, out.read_bytes(), err.read_bytes())


@cache
def _server() -> str:
    """Start a server that ends with this process; returns its address."""
    address = str(Path(tempfile.mkdtemp(prefix="forked-"), "socket"))
    command = [sys.executable, "-m", "tests.forked", address]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    atexit.register(shutil.rmtree, Path(address).parent)
    atexit.register(process.communicate)  # runs first, and ends it by closing its standard input
    return address


def _all_of(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def serve(address: str) -> None:
    """Fork a process for every connection, until standard input is closed."""
    for name in IMPORTED:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait for the programs
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _answer(connection)
            connection.close()


def _answer(connection: socket.socket) -> None:
    """Run a program in a process of its own, and tell how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    arguments, env, cwd, out, err = json.loads(_all_of(connection))
    program = os.fork()
    if program == 0:
        connection.close()
        _become(arguments, env, cwd, out, err)
        return
    _, status = os.waitpid(program, 0)
    connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(arguments: list[str], env: dict[str, str], cwd: str, out: str, err: str) -> None:
    """Be the program. Whatever it raises ends this process as it would end an interpreter."""
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    for descriptor, path, flags in (
        (0, os.devnull, os.O_RDONLY), (1, out, os.O_WRONLY | os.O_CREAT), (2, err, os.O_WRONLY | os.O_CREAT)
    ):  # fmt: skip
        opened = os.open(path, flags)
        os.dup2(opened, descriptor)
        os.close(opened)
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
    sys.exit()


if __name__ == "__main__":
    serve(sys.argv[1])

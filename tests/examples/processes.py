"""Helpers that run programs as processes of their own, against a fast sandbox."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.canary import clean

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SANDBOX = [sys.executable, "-m", "seedance_async", "sandbox", "--speed", "200", "--", sys.executable]


def run(*command: str | Path, directory: Path) -> list[str]:
    """Run a Python program to its end in a directory, and return the lines it wrote."""
    ending = subprocess.run(
        [*SANDBOX, *map(str, command)], capture_output=True, text=True, timeout=50, check=False, cwd=directory
    )
    clean(ending.stdout + ending.stderr)
    assert (0, "") == (ending.returncode, re.sub(r"(?m)^sandbox: .*\n", "", ending.stderr))
    return ending.stdout.splitlines()


@contextmanager
def serving(program: Path, **variables: str) -> Iterator[str]:
    """Run a Python program that serves, as long as it is needed; yields where it is."""
    with subprocess.Popen(
        [*SANDBOX, str(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **variables, "PORT": "0", "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            said = iter(process.stdout.readline, "")
            yield next(found[1] for line in said if (found := re.search(r"unning on (http://\S+?)/? ", line)))
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.communicate(timeout=20)


def ask(method: str, url: str, body: object = None) -> tuple[int, dict[str, Any]]:
    """One HTTP exchange: its status and its JSON, or no JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, {}

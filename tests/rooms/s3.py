"""A bucket of a real S3 server for a test, and the fixtures that serve it."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import count
from typing import TYPE_CHECKING
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

OPENER = build_opener(ProxyHandler({}))
NUMBERS = count(1)


def fetch(url: str, *, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    """What a URL gives: the status and the body."""
    with OPENER.open(Request(url, method=method, headers=headers), timeout=30) as answer:
        return answer.status, answer.read()


@frozen
class Bucket:
    """A bucket of its own, made for one test."""

    endpoint: str
    name: str

    @property
    def url(self) -> str:
        """What a client takes as ``media_store``."""
        return f"s3://{self.name}/a prefix"

    def seen(self, method: str) -> list[str]:
        """The objects that were asked for by a method, in order."""
        _, body = fetch(f"{self.endpoint}/_seen")
        begin = f"{method} /{self.name}/"
        return [line.removeprefix(begin) for line in json.loads(body) if line.startswith(begin)]


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """An S3 server in a process of its own."""
    command = [sys.executable, "-m", "tests.rooms.s3_server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        server.communicate()


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket, with the environment set to reach it."""
    made = Bucket(s3_endpoint, f"bucket-{next(NUMBERS)}")
    fetch(f"{s3_endpoint}/{made.name}", method="PUT")
    for name, value in {
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    return made

"""The application, served by uvicorn in a process of its own, against ``seedance sandbox`` in another."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FOX = {"prompt": "a fox asleep on a roof"}


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running(*command: str, port: int, **environment: str) -> Iterator[None]:
    """Run a server until it is not needed any more."""
    with subprocess.Popen(command, env={**os.environ, **environment}, cwd=Path(__file__).parent) as process:
        try:
            while True:
                with socket.socket() as visitor:
                    if visitor.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert process.poll() is None
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the application is served."""
    api, web = free_port(), free_port()
    bin_ = Path(sys.executable).parent
    sandbox = (str(bin_ / "seedance"), "sandbox", "--port", str(api), "--speed", "200")
    server = (sys.executable, "-m", "uvicorn", "app:app", "--port", str(web), "--log-level", "warning")
    environment = {
        "SEEDANCE_API_KEY": "sk_test_sandbox",
        "SEEDANCE_BASE_URL": f"http://127.0.0.1:{api}/api/v1",
        "SEEDANCE_RATE_LIMIT": "30/0.5",
        "SEEDANCE_TIME_SCALE": "0.005",
        "XDG_STATE_HOME": str(tmp_path_factory.mktemp("state")),
    }
    with (
        running(*sandbox, "--api-key", "sk_test_sandbox", "--rate-limit", "30/0.5", port=api),
        running(*server, port=web, **environment),
    ):
        yield f"http://127.0.0.1:{web}"


def asked(url: str, body: object = None) -> tuple[int, Any]:
    """Status and answer of a request."""
    data = None if body is None else json.dumps(body).encode()
    call = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(call, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def test_a_picture_is_made(url: str) -> None:
    """A body of the package's, an answer of the package's."""
    status, task = asked(f"{url}/pictures", FOX)

    assert (200, "completed") == (status, task["status"])
    assert asked(f"{url}/tasks/{task['id']}")[1]["output"] == task["output"]


def test_a_clip_is_accepted(url: str) -> None:
    """With its key, by which it is collected."""
    status, submission = asked(f"{url}/clips", {**FOX, "duration": 8})

    assert 202 == status
    assert submission["idempotency_key"]


def test_a_wrong_body_is_refused(url: str) -> None:
    """With what is wrong about it, before a request is spent."""
    status, refusal = asked(f"{url}/clips", {"prompt": "no", "duration": 99})

    assert 422 == status
    assert "duration" in json.dumps(refusal)


def test_the_application_is_documented(url: str) -> None:
    """Field by field."""
    status, document = asked(f"{url}/openapi.json")

    assert 200 == status
    assert "quality_tier" in json.dumps(document)


def test_a_handler_that_fails_leaves_the_client_to_the_others(url: str) -> None:
    """Every later request is answered."""
    assert (200, "no more rows") == asked(f"{url}/walk-outs", FOX)
    assert 200 == asked(f"{url}/pictures", FOX)[0]

"""The application, served by uvicorn in a process of its own, against ``seedance sandbox``."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
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


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the application is served: by ``seedance sandbox``, with the variables that lead to it."""
    port = free_port()
    server = (sys.executable, "-m", "uvicorn", "app:app", "--port", str(port), "--log-level", "warning")
    command = (str(Path(sys.executable).with_name("seedance")), "sandbox", "--speed", "200", "--", *server)
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path_factory.mktemp("state"))}
    here = Path(__file__).parent
    with subprocess.Popen(command, env=environment, cwd=here, start_new_session=True) as process:
        try:
            wait_until_served(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal
            process.wait(30)


def wait_until_served(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return once somebody listens there."""
    while True:
        with socket.socket() as visitor:
            if visitor.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None
        time.sleep(0.05)


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
    assert "completed" == asked(f"{url}/tasks/{task['id']}")[1]["status"]


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


def test_an_error_is_a_problem_document(url: str) -> None:
    """With the status that says whose turn it is."""
    status, problem = asked(f"{url}/tasks/sd2_nobody")

    assert (404, "NotFoundError") == (status, problem["title"])


def test_events_tell_when_a_task_is_final(url: str) -> None:
    """Then the stream ends."""
    _, submission = asked(f"{url}/clips", FOX)
    with urllib.request.urlopen(f"{url}/tasks/{submission['id']}/events", timeout=60) as stream:
        told = [line for line in stream.read().decode().splitlines() if line.startswith("event")]

    assert ["event: task", "event: end"] == told

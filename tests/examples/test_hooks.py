"""Tests of the example hooks: each is given events as a batch gives them, and passes them on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

HOOKS = Path(__file__).parents[2] / "examples" / "hooks"
SECRET_TEXT = "a message of the API"
ENDED: dict[str, Any] = {
    "event": "ended",
    "exit_code": 1,
    "reason": SECRET_TEXT,
    "counts": {"saved": 4, "failed": 1},
    "credits_used": 68,
    "credits_refunded": 12,
}
EVENTS = [
    ENDED,
    {"event": "ended", "exit_code": 3, "reason": SECRET_TEXT},
    {"event": "stopping", "reason": SECRET_TEXT},
]


def tell(name: str, event: dict[str, Any], **variables: str) -> None:
    """Run a hook with an event on its standard input."""
    ending = subprocess.run(
        [sys.executable, str(HOOKS / name)],
        input=json.dumps(event) + "\n",
        env={**os.environ, **variables},
        text=True,
        timeout=50,
        check=False,
    )
    assert 0 == ending.returncode


def test_every_hook_is_tested_here_and_may_be_run() -> None:
    """A new one cannot be forgotten."""
    assert {"desktop.py", "webhook.py"} == {path.name for path in HOOKS.glob("*.py")}
    assert all(os.access(path, os.X_OK) for path in HOOKS.glob("*.py"))


@pytest.mark.skipif(sys.platform == "darwin", reason="there it is another program")
@pytest.mark.parametrize("event", EVENTS)
def test_the_note_on_the_desktop_has_no_text_of_the_api(event: dict[str, Any], tmp_path: Path) -> None:
    """Every user of a machine sees the arguments of its programs."""
    program = tmp_path / "notify-send"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/shown\n')
    program.chmod(0o755)
    tell("desktop.py", event, PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    shown = (tmp_path / "shown").read_text()
    assert SECRET_TEXT not in shown
    assert ("exit code" in shown) == (event["event"] == "ended")
    assert ("4 saved, 1 failed" in shown) == (event is ENDED)


@pytest.mark.parametrize("event", EVENTS)
def test_the_chat_gets_one_message(event: dict[str, Any]) -> None:
    """As JSON with a text, which is what incoming webhooks take."""
    received: list[dict[str, Any]] = []

    class Chat(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's own name
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Chat) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        tell(
            "webhook.py",
            event,
            CHAT_WEBHOOK_URL=f"http://127.0.0.1:{server.server_port}/secret",
            NO_PROXY="*",
        )

    (message,) = received
    assert ["text"] == list(message)
    assert ("4 saved, 1 failed" in message["text"]) == (event is ENDED)
    assert ("68 credits used, 12 refunded" in message["text"]) == (event is ENDED)

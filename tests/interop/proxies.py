"""nginx and HAProxy between a client and the sandbox, as child processes of a test."""

from __future__ import annotations

import shutil
import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STARTING = 10.0
"""Seconds until a proxy must listen."""

NGINX = """
daemon off;
worker_processes 1;
pid nginx.pid;
error_log nginx.log;
events {{ worker_connections 128; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    limit_req_zone $http_authorization zone=account:1m rate={rate}r/s;
    upstream api {{ server {to} max_fails=0; server {to} max_fails=0; }}
    server {{
        listen {at};
        location / {{
            limit_req zone=account burst=4 nodelay;
            limit_req_status {refused};
            proxy_next_upstream error timeout non_idempotent;
            proxy_pass http://api;
        }}
    }}
}}
"""
"""Refuses with pages of its own, and sends what got no answer to the second server: a POST twice, unasked."""

HAPROXY = """
global
    maxconn 256
defaults
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    timeout tarpit 200ms
frontend connections
    mode tcp
    bind {at}
    default_backend exchanges
backend exchanges
    mode tcp
    tcp-response inspect-delay 50ms
    tcp-response content reject if {{ rand(100) lt 6 }}
    tcp-response content accept if WAIT_END
    server exchanges {between}
frontend exchanges
    mode http
    bind {between}
    http-request reject if {{ rand(100) lt 6 }}
    http-request tarpit deny_status 503 if {{ rand(100) lt 3 }}
    http-response silent-drop if {{ rand(100) lt 3 }}
    http-response deny deny_status 502 if {{ rand(100) lt 6 }}
    default_backend api
backend api
    mode http
    server sandbox {to}
"""
"""Closes before a request is read and after it was answered, answers with pages of its own, now and late,
delays what it passes, and at times says nothing at all: one exchange in five goes wrong."""


@contextmanager
def nginx(directory: Path, base_url: str, *, rate: int = 1000, refused: int = 429) -> Iterator[str]:
    """The base URL at which nginx stands before another one, letting ``rate`` requests a second pass."""
    at = _free_address()
    config = NGINX.format(at=at, to=urlsplit(base_url).netloc, rate=rate, refused=refused)
    directory.mkdir()
    (directory / "nginx.conf").write_text(config)
    with _child(_program("nginx"), "-p", f"{directory}/", "-e", "nginx.log", "-c", "nginx.conf", at=at):
        yield urlsplit(base_url)._replace(netloc=at).geturl()


@contextmanager
def haproxy(directory: Path, base_url: str) -> Iterator[str]:
    """The base URL at which HAProxy stands before another one and loses one exchange in five."""
    at = _free_address()
    directory.mkdir()
    file = directory / "haproxy.cfg"
    file.write_text(HAPROXY.format(at=at, between=_free_address(), to=urlsplit(base_url).netloc))
    with _child(_program("haproxy"), "-db", "-f", str(file), at=at):
        yield urlsplit(base_url)._replace(netloc=at).geturl()


def _program(name: str) -> str:
    path = shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")
    if path is None:
        pytest.skip(f"{name} is not installed (Debian: nginx-light, haproxy)")
    return path


@contextmanager
def _child(*command: str, at: str) -> Iterator[None]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            _wait_for(at, process)
            yield
        finally:
            process.terminate()
            process.communicate(timeout=STARTING)


def _wait_for(at: str, process: subprocess.Popen[str]) -> None:
    host, _, port = at.partition(":")
    for _ in range(int(STARTING / 0.05)):
        try:
            socket.create_connection((host, int(port)), timeout=1.0).close()
        except OSError:
            try:
                process.wait(timeout=0.05)
            except subprocess.TimeoutExpired:
                continue
        else:
            return
    process.kill()
    pytest.fail(f"nothing listens at {at}: {process.communicate()[0]}")


def _free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"

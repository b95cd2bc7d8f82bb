"""Two hosts, played by two processes, make one batch; the first is killed, and the second goes on.

    seedance sandbox --speed 60 -- python examples/workers/two_hosts.py

With the URL of a database as its argument, it uses that one; else it starts a PostgreSQL for itself.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SEEDANCE = [sys.executable, "-m", "seedance_async"]
MANIFEST = Path(__file__).with_name("jobs.jsonl")
OUT = Path("workers-out")  # on real hosts a directory that all of them mount, or s3://bucket/prefix


@contextmanager
def host(name: str, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """A host that takes jobs, until Ctrl-C."""
    OUT.mkdir(exist_ok=True)
    with (OUT / f"{name}.log").open("wb") as log:
        worker = subprocess.Popen([*SEEDANCE, "worker", "--engine", url, "-o", OUT], stderr=log)
    try:
        yield worker
    finally:
        worker.terminate()
        worker.wait()


@contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL server as long as it is needed, at a free port of loopback; yields its database's URL."""
    programs, port = _programs(), _free_port()
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    with tempfile.TemporaryDirectory(prefix="seedance-postgres-", ignore_cleanup_errors=True) as directory:
        if user:
            shutil.chown(directory, user)
        prepare = [f"{programs}/initdb", "--auth=trust", "--username=postgres", "-D", f"{directory}/data"]
        subprocess.run(prepare, check=True, stdout=subprocess.DEVNULL, user=user, cwd=directory)
        settings = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={directory}"]
        serve = [f"{programs}/postgres", "-D", f"{directory}/data", "-p", str(port), *settings]
        with subprocess.Popen(serve, stderr=subprocess.DEVNULL, user=user, cwd=directory) as server:
            try:
                asked = [f"{programs}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
                while subprocess.run(asked, check=False).returncode:
                    time.sleep(0.1)
                yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
            finally:
                server.terminate()


def _programs() -> Path:
    """The directory of PostgreSQL's programs."""
    if found := shutil.which("postgres"):
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not versions:
        sys.exit("there is no PostgreSQL here: apt-get install postgresql, or name a database")
    return versions[-1].parent


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def main() -> int:
    """Make the batch, and tell what became of it."""
    with ExitStack() as running:
        url = sys.argv[1] if len(sys.argv) > 1 else running.enter_context(postgres())
        first = running.enter_context(host("host-a", url))
        follow = [*SEEDANCE, "batch", str(MANIFEST), "--engine", url, "-o", str(OUT), "--json"]
        batch = running.enter_context(subprocess.Popen(follow, stdout=subprocess.PIPE, text=True))
        is_alone = True
        for line in batch.stdout or ():
            event = json.loads(line)
            if event["event"] == "job":
                print(event["state"], event["name"], *event["files"])
                if is_alone:
                    running.enter_context(host("host-b", url))
                    first.kill()
                    is_alone = False
                    print("host-b was started and host-a killed: what it had in hand goes on")
            elif event["event"] == "ended":
                print(f"{event['counts']}, {event['credits_used']:g} credits")
        return batch.wait()


if __name__ == "__main__":
    sys.exit(main())

"""A child process that serves S3 by moto, and at ``/_seen`` tells what it was asked, without the queries."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class Seen:
    """An application, and the method and path of each request to it."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application
        self._seen: list[str] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        if environ["PATH_INFO"] == "/_seen":
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(self._seen).encode()]
        self._seen.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        return self._application(environ, start_response)


def main() -> None:
    """Serve at a free port, which is printed, until standard input ends."""
    import logging
    from threading import Thread

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, Seen(DomainDispatcherApplication(create_backend_app)), threaded=True)
    Thread(target=server.serve_forever, daemon=True).start()
    print(server.port, flush=True)  # noqa: T201 - what the parent waits for
    sys.stdin.read()


if __name__ == "__main__":
    main()

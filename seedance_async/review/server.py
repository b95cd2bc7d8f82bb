"""The server of the review page: an aiohttp application on the loopback address, for one batch directory.

Every path begins with the token; see ``guard``. The page is one document with inline script and style, which
its policy allows by a nonce; it fetches all data as JSON. Only files that the results list are served, and
none through a link.
"""

from __future__ import annotations

import functools
import json
import secrets
from contextlib import asynccontextmanager
from importlib import resources
from typing import TYPE_CHECKING, Final, NoReturn

from aiohttp import web
from anyio import to_thread

from seedance_async.batch import picks, results_reading
from seedance_async.review import guard, takes
from seedance_async.wire import loads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from aiohttp.typedefs import Handler

MOST_BODY_BYTES: Final = 256 * 1024
SHUTDOWN: Final = 1.0  # s; then the transfer of a clip is cut off

_HEADERS: Final = {
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_ICON: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="4" '
    'fill="#17704a"/><path d="M4 8l3 3 5-6" fill="none" stroke="#fff" stroke-width="2"/></svg>'
)
_CHANGES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Review:
    """A batch under review.

    Args:
        directory: of the batch.
        shown_as: the directory as named on the command line.

    Attributes:
        token: the beginning of every path.
    """

    def __init__(self, directory: Path, shown_as: str) -> None:
        self.token: str = secrets.token_urlsafe(32)
        self._directory = directory.resolve()
        self._shown_as = shown_as
        self._results = results_reading.Cached(self._directory)

    def document(self) -> dict[str, object]:
        """Return what the page shows. Blocking.

        Raises:
            OSError: results or picks cannot be read.
        """
        return takes.document(self._results.results(), picks.load(self._directory), directory=self._shown_as)

    def file(self, listed: str) -> Path | None:
        """Return the path of a file that the results list; None for anything else. Blocking.

        Raises:
            OSError: the results cannot be read.
        """
        if listed not in takes.listed_files(self._results.results().values()):
            return None
        return results_reading.plain_path(self._directory, listed)

    def write(self, change: takes.Change) -> picks.Pick | None:
        """Save a pick and return it; None if the job has another take now. Blocking.

        Raises:
            OSError: it cannot be written.
        """
        result = self._results.results().get(change.name)
        if result is None or result.task_ids != change.task_ids:
            return None
        pick = change.pick if change.sets_pick else "as it is"
        return picks.write(self._directory, change.name, change.task_ids, pick=pick, note=change.note)


REVIEW: Final = web.AppKey("review", Review)
PORT: Final = web.AppKey("port", list[int])


@asynccontextmanager
async def serving(review: Review, *, port: int = 0) -> AsyncIterator[str]:
    """Serve the page while the context is open, and yield its URL, with the token in it.

    Args:
        review: the batch to serve.
        port: to listen on; 0 for a free one.

    Raises:
        OSError: the port is taken.
    """
    app = application(review)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN)
    await runner.setup()
    try:
        await web.TCPSite(runner, guard.HOST, port).start()
        app[PORT].append(runner.addresses[0][1])
        yield f"http://{guard.HOST}:{app[PORT][0]}/{review.token}/"
    finally:
        await runner.cleanup()


def application(review: Review) -> web.Application:
    """Return the application; ``PORT`` must be filled in once it listens."""
    app = web.Application(middlewares=[_guarded], client_max_size=MOST_BODY_BYTES)
    app[REVIEW] = review
    app[PORT] = []
    app.on_response_prepare.append(_add_headers)
    app.router.add_get("/{token}/", _page)
    app.router.add_get("/{token}/icon", _icon)
    app.router.add_get("/{token}/takes", _takes)
    app.router.add_post("/{token}/picks", _pick)
    app.router.add_get("/{token}/files/{path:.+}", _file)
    return app


@web.middleware
async def _guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    app = request.app
    incoming = guard.IncomingRequest(
        changes=request.method in _CHANGES,
        token=request.path.split("/")[1],
        host=request.headers.get("Host"),
        token_header=request.headers.get(guard.TOKEN_HEADER),
        origin=request.headers.get("Origin"),
        site=request.headers.get("Sec-Fetch-Site"),
        content_type=request.content_type,
    )
    refused = guard.refusal(incoming, token=app[REVIEW].token, port=app[PORT][0])
    if refused is not None:
        status, reason = refused
        return web.Response(status=status, text=f"{reason}\n")
    return await handler(request)


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")


async def _page(_: web.Request) -> web.Response:
    nonce = secrets.token_urlsafe(16)
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        f"img-src 'self'; media-src 'self'; connect-src 'self'; script-src 'nonce-{nonce}'; "
        f"style-src 'nonce-{nonce}'"
    )
    return web.Response(
        text=_source().replace("NONCE", nonce),
        content_type="text/html",
        headers={"Content-Security-Policy": policy},
    )


async def _icon(_: web.Request) -> web.Response:
    return web.Response(text=_ICON, content_type="image/svg+xml")


@functools.cache
def _source() -> str:
    """Return the page with its style and script; it contains no text of a batch."""
    here = resources.files("seedance_async.review")
    page, style, script = (
        here.joinpath(f"page.{suffix}").read_text(encoding="utf-8") for suffix in ("html", "css", "js")
    )
    clipboard = resources.files("seedance_async.batch").joinpath("clipboard.js").read_text(encoding="utf-8")
    return page.replace("/* STYLE */", style).replace("/* SCRIPT */", clipboard + script)


async def _takes(request: web.Request) -> web.Response:
    try:
        return web.json_response(await to_thread.run_sync(request.app[REVIEW].document))
    except OSError as problem:
        _fail(500, f"the batch cannot be read: {problem.strerror or problem}")


async def _pick(request: web.Request) -> web.Response:
    review = request.app[REVIEW]
    try:
        change = takes.change(loads(await request.read()))
    except ValueError as problem:
        _fail(422, str(problem))
    try:
        pick = await to_thread.run_sync(review.write, change)
    except OSError as problem:
        _fail(500, f"{picks.PICKS} cannot be written: {problem.strerror or problem}")
    if pick is None:
        _fail(409, f"{change.name!r:.80} has a newer take now, or no longer exists: reload the page")
    return web.json_response({"pick": pick.pick, "note": pick.note, "at": pick.at})


async def _file(request: web.Request) -> web.StreamResponse:
    try:
        path = await to_thread.run_sync(request.app[REVIEW].file, request.match_info["path"])
    except OSError:
        path = None
    if path is None:
        raise web.HTTPNotFound(text="no file of this batch\n")
    # The browser has to revalidate the file, because a new take has the same name.
    return web.FileResponse(path, headers={"Cache-Control": "private, no-cache"})


_FAILURES: Final[Mapping[int, type[web.HTTPException]]] = {
    409: web.HTTPConflict,
    422: web.HTTPUnprocessableEntity,
    500: web.HTTPInternalServerError,
}


def _fail(status: int, reason: str) -> NoReturn:
    """End a request with a reason for the page to show."""
    raise _FAILURES[status](text=json.dumps({"error": reason}), content_type="application/json")

"""``seedance review``: a local page on which a person keeps, rejects and annotates the takes of a batch."""

from __future__ import annotations

import webbrowser
from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated, Final

import anyio
from anyio import to_thread
from cyclopts import Parameter

from seedance_async.batch.journal.remains import JOURNAL, RESULTS
from seedance_async.batch.picks import PICKS
from seedance_async.cli.output import write_data, write_message
from seedance_async.errors import ConfigurationError
from seedance_async.exit_codes import ExitCode

if TYPE_CHECKING:
    from seedance_async.review.server import Review

LAST_PORT: Final = 65535


async def review(
    directory: Annotated[Path, Parameter(name="DIR", help="The batch's directory.")],
    /,
    *,
    port: Annotated[int, Parameter(show_default=False, help="Port at 127.0.0.1; by default a free one.")] = 0,
    open_: Annotated[
        bool, Parameter(name="--open", negative=(), show_default=False, help="Open the page in the browser.")
    ] = False,
) -> int:
    """Keep, reject and annotate the takes of a batch, on a page of this machine.

    Prints the page's URL and serves the page until Ctrl-C. Picks go to
    DIR/picks.jsonl, one line each. Nothing is renamed, sent or paid, and a batch
    may run in DIR at the same time. Afterwards, to act on the picks:

      seedance batch MANIFEST -o DIR --reroll rejected
      seedance batch MANIFEST -o DIR --finish kept --set resolution=1080p

    Example: seedance review boats
    """
    _check(directory, port)
    # Imported late: the HTTP stack takes long to load, and a help page does not need it.
    from seedance_async.review.server import Review  # noqa: PLC0415

    try:
        await _serve(Review(directory, str(directory)), directory, port, opens=open_)
    except anyio.get_cancelled_exc_class():
        write_message("review: ended")
    return ExitCode.OK  # Ctrl-C is the normal end


def _check(directory: Path, port: int) -> None:
    """Check that there is a batch to review, and that the port is valid.

    Raises:
        ConfigurationError: one of these is not so.
    """
    if not 0 <= port <= LAST_PORT:
        raise ConfigurationError(f"--port must be 0 to {LAST_PORT}; got {port}")
    if not directory.is_dir():
        raise ConfigurationError(f"{directory} is not a directory; name the directory of a batch")
    if not any((directory / name).exists() for name in (RESULTS, JOURNAL)):
        raise ConfigurationError(
            f"{directory} has no batch in it, neither {RESULTS} nor {JOURNAL}: name the DIR that "
            "`seedance batch MANIFEST -o DIR` was given"
        )


async def _serve(review: Review, directory: Path, port: int, *, opens: bool) -> None:
    """Serve the page until cancelled."""
    from seedance_async.review.server import serving  # noqa: PLC0415

    try:
        async with serving(review, port=port) as url:
            write_data(url)
            write_message(
                f"review: open this URL in a browser; picks go to {directory / PICKS}; Ctrl-C ends it"
            )
            if opens and not await to_thread.run_sync(webbrowser.open, url):
                write_message("review: no browser could be opened")
            await anyio.sleep_forever()
    except OSError as problem:
        raise ConfigurationError(
            f"--port {port}: cannot listen on it: {problem.strerror or problem}"
        ) from None

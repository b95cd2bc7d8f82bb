"""The catalogue of all that can go wrong between a job and its file, and the tests of each number.

A test says which numbers it proves with ``@pytest.mark.case(11, 12)``; this module reads the marks without
importing a test. ``python -m tests.faults.catalogue`` prints the table.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

TESTS: Final = Path(__file__).parents[1]

SECTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "Before a byte is sent": (
        "connection refused",
        "the name does not resolve",
        "connecting takes too long",
        "certificate not trusted, or of another host",
        "TLS handshake hangs, or meets plain HTTP",
        "a proxy in the environment refuses",
        "IPv6 leads nowhere, IPv4 works",
        "no file descriptor left to connect with",
        "every pooled connection is busy",
        "cancelled while still waiting its turn",
    ),
    "Sent, and no usable answer": (
        "closed before any header",
        "reset before any header",
        "cut or reset within the headers",
        "cut or reset within the body",
        "chunked body without its end",
        "no answer at all",
        "headers byte by byte",
        "body byte by byte",
        "kept-alive connection dies as it is used",
        "kept-alive connection died long ago",
        "caller cancelled in the middle of a POST",
        "a neighbour's failure cancels a POST",
        "a second signal while leaving",
        "killed between send and answer",
        "killed between answer and record",
        "loop ends with requests on the wire",
        "a proxy delivers the POST twice",
        "answered before the body was read",
        "POST redirected with 301, 302 or 303",
        "POST redirected with 307 or 308",
        "bytes that are not HTTP",
        "oversized header; two framings at once",
    ),
    "Error answers": (
        "500 internal_error",
        "503 service_busy",
        "a proxy's 502 or 504 page",
        "429 with seconds",
        "Retry-After as a date",
        "Retry-After zero, negative or past",
        "Retry-After absurd or not a number",
        "Retry-After missing, empty or double",
        "a storm of 429 caused by somebody else",
        "400 invalid_request",
        "404 for the endpoint itself",
        "a status nobody documented",
        "error envelope under a 200",
        "error body of another shape",
        "error status without a body",
    ),
    "Malformed and hostile answers": (
        "JSON cut short, length right",
        "a page of HTML with 200",
        "an empty 200",
        "204, or 202 without an id",
        "JSON that is no object",
        "the same key twice",
        "NaN and Infinity",
        "a number of 5,000 digits",
        "100,000 nested arrays",
        "byte order mark, UTF-16, Latin-1",
        "gzip bomb",
        "gzip cut short",
        "gzip claimed and not true",
        "a body without end",
        "two answers to one request",
        "fields nobody documented",
        "a status nobody documented in a task",
        "a status in another case or of another type",
        "id missing, odd, or a path",
        "accounting fields of the wrong type",
        "completed without output",
        "output in another model's shape",
        "an answer about another task",
        "timestamps that make no sense",
    ),
    "Idempotency": (
        "409 while the first request still runs",
        "409 because the body differs",
        "409 at the very first attempt",
        "409 for ever",
        "422 in the place of 409",
        "a replayed answer with an older status",
        "the key has expired",
        "the server forgot its keys",
        "the server ignores that bodies differ",
        "the same job twice in one batch",
        "a prompt edited after a crash",
        "two runners on one journal",
        "one manifest in two directories",
        "two batches with the same randomness",
        "4xx to a retry whose first attempt is in doubt",
    ),
    "Polls and tasks": (
        "404 just after the submit",
        "404 for good",
        "a status that goes backwards",
        "a task that never ends",
        "a poll that fails",
        "all tasks polled in step",
        "refunds that do not add up",
        "a batch of which some failed",
        "the machine was suspended",
        "the wall clock jumps",
    ),
    "Credits, keys, account": (
        "402 in the middle of a batch",
        "credits bought while stopped",
        "402 to a retry in doubt",
        "the balance is spent elsewhere",
        "the key is revoked",
        "another account's key",
        "a live key at the sandbox, a test key elsewhere",
        "another price than expected",
    ),
    "Downloads": (
        "output URL expired",
        "cut in the middle",
        "Range ignored",
        "416",
        "Content-Length missing or wrong",
        "a page or an error in the place of media",
        "the file changed between two ranges",
        "redirect to another host",
        "URL that is no business of a download",
        "a file without end",
        "disk full",
        "killed between rename and record",
        "a foreign file at the target",
        "directory read-only, vanished or unusable",
    ),
    "The process": (
        "used in another event loop",
        "used after a fork",
        "pickled, or sent to another process",
        "interpreter exits with everything open",
        "the caller's callback raises",
        "standard output closed, odd terminals",
        "a million jobs",
        "the loop is blocked for a minute",
        "another event loop implementation",
    ),
    "Journal and resume": (
        "killed at any instruction",
        "power cut",
        "disk full before the intent",
        "disk full before the task id is recorded",
        "another process holds the journal",
        "damaged or foreign journal",
        "the journal's log was lost",
        "journal of a newer version",
        "cancelled in the middle of a write",
        "the disk fails to sync",
        "journal on a network file system",
        "manifest changed, reordered, shortened",
        "a job that ends the process every time",
    ),
    "Names, paths, reports": (
        "a name that leaves the directory",
        "control and bidi characters in names",
        "names over 255 bytes",
        "names some system reserves; equal but for case",
        "composed and decomposed letters",
        "an extension the server chose",
        "a link planted at the target",
        "markup and escapes in reports and terminals",
    ),
    "Secrets and transport": (
        "the key in an exception",
        "the key in frame locals",
        "the key in debug logs",
        "the server echoes the key",
        "the key sent to another origin",
        "a base URL over plain http",
        "a base URL slipped in by the environment",
        "credentials picked up from netrc",
        "a key with spaces or line ends",
    ),
    "Echoes and ends that hide": (
        "the key is echoed escaped or encoded",
        "the key is echoed in the name of a member or in a header",
        "a file is cut and its transfer states no length",
        "a file is cut and its transfer states the length of the cut",
        "a cut file of an earlier run has the final name",
    ),
    "The shared limit": (
        "a value in the shared limit file that cannot be",
        "a call given up whose request arrives later",
        "the limit file kept locked",
        "no limit file can be written, or its disk is full",
        "the limit file or its directory deleted under way",
        "two spellings of one account's origin",
        "stopped between taking a slot and sending",
    ),
    "Identity and place of a batch": (
        "the journal copied, restored or left without its log while a run is open",
        "files of a batch, and no journal",
        "the directory moved, replaced or removed under way",
        "the working directory changed under way",
        "what is paid edited, fed back and edited back",
        "an intent from the future",
    ),
    "Answers that cannot be": (
        "counts and ids that contradict each other",
        "an answer that belongs to another POST",
        "fewer tasks than asked for, and the answer says so",
        "an id that cannot be stored or asked for",
        "an amount, or a sum of amounts, out of range",
    ),
    "The cap": (
        "a price that rises during a run",
        "a cap lowered while POSTs are in doubt",
        "a refund above its charge",
        "a first job that costs nothing",
        "an answer that states less than its task",
        "jobs that are dearer in one POST than singly",
        "a backup put back after takes were made",
        "a clip that ends where its index would begin",
    ),
}

FAULTS: Final[Mapping[int, str]] = dict(enumerate(chain.from_iterable(SECTIONS.values()), 1))


def proofs() -> dict[int, list[str]]:
    """The tests that prove each number, as pytest names them."""
    found: defaultdict[int, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for number in _marked(function):
                    found[number].append(f"{path.relative_to(TESTS.parent).as_posix()}::{function.name}")
    return dict(found)


def _marked(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[int]:
    marks = (call for call in function.decorator_list if isinstance(call, ast.Call))
    for mark in marks:
        if ast.unparse(mark.func) == "pytest.mark.case":
            for argument in mark.args:
                yield from _numbers(argument)


def _numbers(argument: ast.expr) -> Iterable[int]:
    """Of ``11`` or of ``*range(11, 19)``."""
    if isinstance(argument, ast.Starred) and isinstance(argument.value, ast.Call):
        return range(*map(ast.literal_eval, argument.value.args))
    return [ast.literal_eval(argument)]


def table() -> str:
    """The catalogue as a Markdown table."""
    proven = proofs()
    lines = ["| # | what goes wrong | proven by |", "|---|---|---|"]
    for number, fault in FAULTS.items():
        tests = "<br>".join(f"`{test}`" for test in proven.get(number, []))
        lines.append(f"| {number} | {fault} | {tests or '**nothing**'} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())  # noqa: T201
    missing = sorted(FAULTS.keys() - proofs().keys())
    sys.exit(f"nothing proves {missing}" if missing else 0)

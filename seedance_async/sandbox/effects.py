"""What each fault makes of an answer, as two tables: what it says instead, and how its bytes then go.

An answer passes first through :data:`ANSWERS`, which change what is said, and then through at most one of
:data:`WIRES`, which change how the bytes of it reach the caller. Both are functions from values to values, so
a new misbehaviour is a row here and nothing anywhere else.

Pure.
"""

from __future__ import annotations

import gzip
import itertools
import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from attrs import evolve, frozen

from seedance_async.sandbox.exchange import STATUS, Answer, json_bytes

if TYPE_CHECKING:
    from seedance_async.sandbox.faults import Fault

Change: TypeAlias = "Callable[[Answer, Fault, Mapping[str, str]], Answer]"
"""From an answer, a fault and the headers of the request to the answer that is given."""


@frozen(kw_only=True)
class Script:
    """What is written to a socket, and what becomes of it afterwards.

    Attributes:
        parts: bytes in the order in which they are written; may be endless.
        pause: seconds to wait after each part.
        end: ``close`` and ``reset`` hang up, ``hold`` says nothing more for ever, ``keep`` awaits the next
            request as if all were well.
    """

    parts: Iterable[bytes] = ()
    pause: float = 0.0
    end: Literal["close", "reset", "hold", "keep"] = "close"


# --- what is said


def stand_in(fault: Fault, asked: Mapping[str, str]) -> Answer:
    """The answer of a ``status`` fault; ``{authorization}`` in its body becomes what the caller sent."""
    code = fault.code or _CODE.get(fault.status, "")
    content_type = "application/json" if code or fault.body[:1] in {"{", "["} else "text/html"
    if fault.body:
        body = fault.body.replace("{authorization}", asked.get("Authorization", "")).encode()
    elif code:
        body = json_bytes({"error": {"code": code, "message": _phrase(fault.status)}})
    else:
        # What a proxy in front of a service says when the service is away.
        body = f"<html><title>{fault.status} {_phrase(fault.status)}</title></html>".encode()
    return Answer(status=fault.status, body=body, content_type=content_type, headers=fault.headers, code=code)


def _edited(answer: Answer, fault: Fault, _: Mapping[str, str]) -> Answer:
    """The same document with some of its fields set and others left out; anything else is left as it is."""
    document = _document(answer.body) if 200 <= answer.status < 300 else None
    if document is None:
        return answer
    kept = {name: value for name, value in {**document, **fault.fields}.items() if name not in fault.without}
    return evolve(answer, body=json.dumps(kept).encode(), headers={**answer.headers, **fault.headers})


def _document(body: bytes) -> dict[str, object] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None  # a file, or what another fault has left of an answer
    return document if isinstance(document, dict) else None


def _body(make: Callable[[bytes], bytes], /, **headers: str) -> Change:
    """A change of nothing but the bytes of the body, told in ``headers`` where those tell the truth."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda answer, fault, _: evolve(
        answer, body=make(answer.body), headers={**answer.headers, **told, **fault.headers}
    )


def _with(member: bytes) -> Change:
    """One more member, as it stands, at the end of a JSON object."""
    return _body(lambda body: body[:-1] + b"," + member + b"}" if body.endswith(b"}") else body)


@cache
def _bomb() -> bytes:
    """Some 64 kB that unpack to 64 MB."""
    packer = zlib.compressobj(9, wbits=31)
    blank = b" " * 1_000_000
    return b"".join(packer.compress(blank) for _ in range(64)) + packer.flush()


ANSWERS: Final[Mapping[str, Change]] = {
    "status": lambda _answer, fault, asked: stand_in(fault, asked),
    "edit": _edited,
    "empty": _body(lambda _: b""),
    "half-json": _body(lambda body: body[: len(body) // 2]),
    "page": lambda answer, fault, _: evolve(
        answer, body=b"<html><title>Are you human?</title></html>", content_type="text/html",
        headers=fault.headers,
    ),
    "null": _body(lambda _: b"null"),
    "twice-a-key": _with(b'"id":"sd2_another","status":"failed"'),
    "nan": _with(b'"credits_used_too":NaN'),
    "long-number": _with(b'"number":' + b"9" * 5000),
    "deep": _with(b'"deep":' + b"[" * 100_000 + b"]" * 100_000),
    "bom": _body(lambda body: b"\xef\xbb\xbf" + body),
    "utf-16": _body(lambda body: body.decode(errors="replace").encode("utf-16")),
    "latin-1": _with('"note":"é"'.encode("latin-1")),
    "gzip": _body(gzip.compress, Content_Encoding="gzip"),
    "gzip-cut": _body(lambda body: gzip.compress(body)[:-20], Content_Encoding="gzip"),
    "gzip-bomb": _body(lambda _: _bomb(), Content_Encoding="gzip"),
    "gzip-claimed": _body(bytes, Content_Encoding="gzip"),
    "changed": _body(lambda body: body[:-1] + bytes([body[-1] ^ 1]) if body else body, ETag='"another"'),
}  # fmt: skip
"""What is said instead."""


# --- how its bytes go


def _head(answer: Answer, *lengths: str) -> bytes:
    fields = {"Content-Type": answer.content_type, **answer.headers}
    lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}", *(f"{k}: {v}" for k, v in fields.items())]
    return "\r\n".join([*lines, *(lengths or (f"Content-Length: {len(answer.body)}",)), "", ""]).encode()


def _whole(answer: Answer) -> bytes:
    return _head(answer) + answer.body


def _half_a_head(answer: Answer) -> bytes:
    head = _head(answer)
    return head[: len(head) // 2]


def _half(answer: Answer) -> bytes:
    return _head(answer) + answer.body[: len(answer.body) // 2]


def _chunked(answer: Answer, size: int) -> bytes:
    chunk = answer.body[:size]
    return _head(answer, "Transfer-Encoding: chunked") + b"%x\r\n%b\r\n" % (len(chunk), chunk)


def _bytewise(data: bytes) -> Iterable[bytes]:
    return (data[place : place + 1] for place in range(len(data)))


def _endless(answer: Answer) -> Iterable[bytes]:
    chunk = b"%x\r\n%b\r\n" % (65536, b" " * 65536)
    return itertools.chain([_chunked(answer, len(answer.body))], itertools.repeat(chunk))


WIRES: Final[Mapping[str, Callable[[Answer, Fault], Script]]] = {
    "drop": lambda _answer, _fault: Script(),
    "reset": lambda _answer, _fault: Script(end="reset"),
    "hang": lambda _answer, _fault: Script(end="hold"),
    "garbage": lambda _, fault: Script(parts=[fault.body.encode() or b"SSH-2.0-OpenSSH_9.6\r\n"]),
    "cut-head": lambda answer, _: Script(parts=[_half_a_head(answer)]),
    "cut-head-reset": lambda answer, _: Script(parts=[_half_a_head(answer)], end="reset"),
    "truncate": lambda answer, _: Script(parts=[_half(answer)]),
    "truncate-reset": lambda answer, _: Script(parts=[_half(answer)], end="reset"),
    "truncate-hang": lambda answer, _: Script(parts=[_half(answer)], end="hold"),
    "cut-chunks": lambda answer, _: Script(parts=[_chunked(answer, len(answer.body) // 2)]),
    "dribble": lambda answer, fault: Script(parts=_bytewise(_whole(answer)), pause=fault.seconds, end="keep"),
    "dribble-body": lambda answer, fault: Script(
        parts=itertools.chain([_head(answer)], _bytewise(answer.body)), pause=fault.seconds, end="keep"
    ),
    "endless": lambda answer, _: Script(parts=_endless(answer)),
    "long-header": lambda answer, _: Script(
        parts=[_head(answer, f"X-Long: {'x' * 100_000}", f"Content-Length: {len(answer.body)}"), answer.body]
    ),
    "two-framings": lambda answer, _: Script(
        parts=[
            _head(answer, "Transfer-Encoding: chunked", f"Content-Length: {len(answer.body)}"),
            answer.body,
        ]
    ),
    "short-length": lambda answer, _: Script(
        parts=[_head(answer, f"Content-Length: {len(answer.body) // 2}"), answer.body]
    ),
    "no-length": lambda answer, _: Script(parts=[_head(answer, "Connection: close"), answer.body]),
    "two-answers": lambda answer, _: Script(parts=[_whole(answer) * 2], end="keep"),
    "close-after": lambda answer, _: Script(parts=[_whole(answer)]),
}
"""How its bytes go."""


def _phrase(status: int) -> str:
    return _PHRASES.get(status, "Unknown")


_PHRASES: Final = {each.value: each.phrase for each in HTTPStatus}
_CODE: Final = {status: code for code, status in STATUS.items()}

"""Two tables of fault effects: how the content of a reply is changed, and how its bytes are sent.

A reply passes first through :data:`REPLY_EFFECTS`, which change its content, and then through at most one of
:data:`WIRE_EFFECTS`, which change how its bytes reach the caller. Both are functions from values to values,
so a new effect is one more row here.

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
from typing import Final, Literal, TypeAlias

from attrs import evolve, field, frozen

from seedance_async.sandbox.calls import STATUS, Reply, json_bytes
from seedance_async.sandbox.field_checks import number, short_repr, text, whole


def _validate_fields(_instance: object, _attribute: object, value: object) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"fields must be an object; got {short_repr(value)}")  # noqa: TRY004 - wrong input


def _to_names(given: Iterable[str]) -> tuple[str, ...]:
    # A single string would be split into its letters, and nothing would be left out.
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list | tuple | set | frozenset) or not all(
        isinstance(name, str) for name in names
    ):
        raise ValueError(f"without must be a list of texts; got {short_repr(given)}")
    return tuple(names)


def _to_header_texts(given: Mapping[str, str]) -> Mapping[str, str]:
    # Numbers such as {"Retry-After": 1} are accepted; anything else is left to the validator.
    if not isinstance(given, dict):
        return given
    return {name: str(value) if type(value) in {int, float} else value for name, value in given.items()}


def _validate_headers(_instance: object, _attribute: object, value: object) -> None:
    texts = [*value, *value.values()] if isinstance(value, dict) else [None]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"headers must be an object of texts and numbers; got {short_repr(value)}")


@frozen(kw_only=True)
class EffectSettings:
    """The parameters of an effect, which :class:`~seedance_async.sandbox.faults.Fault` describes."""

    status: int = field(default=503, validator=whole(200, 599))
    code: str = field(default="", validator=text)
    headers: Mapping[str, str] = field(
        factory=dict[str, str], converter=_to_header_texts, validator=_validate_headers
    )
    body: str = field(default="", validator=text)
    fields: Mapping[str, object] = field(factory=dict[str, object], validator=_validate_fields)
    without: tuple[str, ...] = field(default=(), converter=_to_names)
    seconds: float = field(default=1.0, validator=number(0))


ReplyEffect: TypeAlias = "Callable[[Reply, EffectSettings, Mapping[str, str]], Reply]"
"""From a reply, the settings and the headers of the request to the changed reply."""


@frozen(kw_only=True)
class Script:
    """What is written to a socket, and what happens to the connection afterwards.

    Attributes:
        parts: the bytes, in the order in which they are written; may be endless.
        pause: seconds to wait after each part.
        end: ``close`` and ``reset`` end the connection, ``hold`` keeps it open without sending anything,
            ``keep`` waits for the next request as after any reply.
    """

    parts: Iterable[bytes] = ()
    pause: float = 0.0
    end: Literal["close", "reset", "hold", "keep"] = "close"


# --- the content of a reply


def status_reply(settings: EffectSettings, request_headers: Mapping[str, str]) -> Reply:
    """The reply of a ``status`` fault; ``{authorization}`` in its body becomes what the caller sent."""
    status, body = settings.status, settings.body
    code = settings.code or _CODE.get(status, "")
    content_type = "application/json" if code or body[:1] in {"{", "["} else "text/html"
    if body:
        content = body.replace("{authorization}", request_headers.get("Authorization", "")).encode()
    elif code:
        content = json_bytes({"error": {"code": code, "message": _phrase(status)}})
    else:
        # The page of a proxy in front of a service that is not available.
        content = f"<html><title>{status} {_phrase(status)}</title></html>".encode()
    return Reply(status=status, body=content, content_type=content_type, headers=settings.headers, code=code)


def _edit(reply: Reply, settings: EffectSettings, _: Mapping[str, str]) -> Reply:
    """The reply with some fields of its JSON object set and others removed; any other reply is unchanged."""
    document = _document(reply.body) if 200 <= reply.status < 300 else None
    if document is None:
        return reply
    merged = {**document, **settings.fields}
    kept = {name: value for name, value in merged.items() if name not in settings.without}
    return evolve(reply, body=json.dumps(kept).encode(), headers={**reply.headers, **settings.headers})


def _document(body: bytes) -> dict[str, object] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None  # a media file, or a body damaged by another fault
    return document if isinstance(document, dict) else None


def _change_body(make: Callable[[bytes], bytes], /, **headers: str) -> ReplyEffect:
    """An effect that changes the body, and sets the ``headers`` that describe it."""
    described = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda reply, settings, _: evolve(
        reply, body=make(reply.body), headers={**reply.headers, **described, **settings.headers}
    )


def _append_member(member: bytes) -> ReplyEffect:
    """An effect that appends raw bytes as a member at the end of a JSON object."""
    return _change_body(lambda body: body[:-1] + b"," + member + b"}" if body.endswith(b"}") else body)


@cache
def _gzip_bomb() -> bytes:
    """About 64 kB that are decompressed to 64 MB."""
    packer = zlib.compressobj(9, wbits=31)
    blank = b" " * 1_000_000
    return b"".join(packer.compress(blank) for _ in range(64)) + packer.flush()


REPLY_EFFECTS: Final[Mapping[str, ReplyEffect]] = {
    "status": lambda _reply, settings, request_headers: status_reply(settings, request_headers),
    "edit": _edit,
    "empty": _change_body(lambda _: b""),
    "half-json": _change_body(lambda body: body[: len(body) // 2]),
    "page": lambda reply, settings, _: evolve(
        reply, body=b"<html><title>Are you human?</title></html>", content_type="text/html",
        headers=settings.headers,
    ),
    "null": _change_body(lambda _: b"null"),
    "twice-a-key": _append_member(b'"id":"sd2_another","status":"failed"'),
    "nan": _append_member(b'"credits_used_too":NaN'),
    "long-number": _append_member(b'"number":' + b"9" * 5000),
    "deep": _append_member(b'"deep":' + b"[" * 100_000 + b"]" * 100_000),
    "bom": _change_body(lambda body: b"\xef\xbb\xbf" + body),
    "utf-16": _change_body(lambda body: body.decode(errors="replace").encode("utf-16")),
    "latin-1": _append_member('"note":"é"'.encode("latin-1")),
    "gzip": _change_body(gzip.compress, Content_Encoding="gzip"),
    "gzip-cut": _change_body(lambda body: gzip.compress(body)[:-20], Content_Encoding="gzip"),
    "gzip-bomb": _change_body(lambda _: _gzip_bomb(), Content_Encoding="gzip"),
    "gzip-claimed": _change_body(bytes, Content_Encoding="gzip"),
    "changed": _change_body(
        lambda body: body[:-1] + bytes([body[-1] ^ 1]) if body else body, ETag='"another"'
    ),
}  # fmt: skip
"""Effects on the content of a reply."""


# --- how its bytes are sent


def _head(reply: Reply, *lengths: str) -> bytes:
    fields = {"Content-Type": reply.content_type, **reply.headers}
    lines = [f"HTTP/1.1 {reply.status} {_phrase(reply.status)}", *(f"{k}: {v}" for k, v in fields.items())]
    return "\r\n".join([*lines, *(lengths or (f"Content-Length: {len(reply.body)}",)), "", ""]).encode()


def _full(reply: Reply) -> bytes:
    return _head(reply) + reply.body


def _half_a_head(reply: Reply) -> bytes:
    head = _head(reply)
    return head[: len(head) // 2]


def _half(reply: Reply) -> bytes:
    return _head(reply) + reply.body[: len(reply.body) // 2]


def _chunked(reply: Reply, size: int) -> bytes:
    chunk = reply.body[:size]
    return _head(reply, "Transfer-Encoding: chunked") + b"%x\r\n%b\r\n" % (len(chunk), chunk)


def _bytewise(data: bytes) -> Iterable[bytes]:
    return (data[index : index + 1] for index in range(len(data)))


def _endless(reply: Reply) -> Iterable[bytes]:
    chunk = b"%x\r\n%b\r\n" % (65536, b" " * 65536)
    return itertools.chain([_chunked(reply, len(reply.body))], itertools.repeat(chunk))


WIRE_EFFECTS: Final[Mapping[str, Callable[[Reply, EffectSettings], Script]]] = {
    "drop": lambda _reply, _settings: Script(),
    "reset": lambda _reply, _settings: Script(end="reset"),
    "hang": lambda _reply, _settings: Script(end="hold"),
    "garbage": lambda _, settings: Script(parts=[settings.body.encode() or b"SSH-2.0-OpenSSH_9.6\r\n"]),
    "cut-head": lambda reply, _: Script(parts=[_half_a_head(reply)]),
    "cut-head-reset": lambda reply, _: Script(parts=[_half_a_head(reply)], end="reset"),
    "truncate": lambda reply, _: Script(parts=[_half(reply)]),
    "truncate-reset": lambda reply, _: Script(parts=[_half(reply)], end="reset"),
    "truncate-hang": lambda reply, _: Script(parts=[_half(reply)], end="hold"),
    "cut-chunks": lambda reply, _: Script(parts=[_chunked(reply, len(reply.body) // 2)]),
    "dribble": lambda reply, settings: Script(
        parts=_bytewise(_full(reply)), pause=settings.seconds, end="keep"
    ),
    "dribble-body": lambda reply, settings: Script(
        parts=itertools.chain([_head(reply)], _bytewise(reply.body)), pause=settings.seconds, end="keep"
    ),
    "endless": lambda reply, _: Script(parts=_endless(reply)),
    "long-header": lambda reply, _: Script(
        parts=[_head(reply, f"X-Long: {'x' * 100_000}", f"Content-Length: {len(reply.body)}"), reply.body]
    ),
    "two-framings": lambda reply, _: Script(
        parts=[
            _head(reply, "Transfer-Encoding: chunked", f"Content-Length: {len(reply.body)}"),
            reply.body,
        ]
    ),
    "short-length": lambda reply, _: Script(
        parts=[_head(reply, f"Content-Length: {len(reply.body) // 2}"), reply.body]
    ),
    "no-length": lambda reply, _: Script(parts=[_head(reply, "Connection: close"), reply.body]),
    "two-answers": lambda reply, _: Script(parts=[_full(reply) * 2], end="keep"),
    "close-after": lambda reply, _: Script(parts=[_full(reply)]),
}
"""Effects on how the bytes of a reply are sent."""


def _phrase(status: int) -> str:
    return _PHRASES.get(status, "Unknown")


_PHRASES: Final = {each.value: each.phrase for each in HTTPStatus}
_CODE: Final = {status: code for code, status in STATUS.items()}

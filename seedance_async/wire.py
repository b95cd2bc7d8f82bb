"""The JSON encoding of requests and decoding of answers: strict for requests, tolerant for answers.

*Encoding.* ``encode`` is the only serialisation. Its bytes are stored and sent again on a retry, so they
depend on the request alone: UTF-8, no white space, fields in the order of the class, ``duration`` as the
text that the API requires. Defaults are written, so that the body completely states what is paid for, even if
the vendor changes a default. None and empty values are left out: the vendor's tables have no null.

*Decoding.* ``loads`` decodes untrusted bytes and raises ``ValueError`` only. ``loads_answer`` also replaces
lone surrogates: an answer may be about a paid job, while an input with one is refused. ``submission`` and
``task`` require a usable id and nothing else: unknown fields are kept in ``raw``, and a number of the wrong
type becomes None, because the work is paid by then. cattrs by default converts ``"false"`` to True, 5.9 to
5 and None to ``'None'``; the hooks below are exact instead.
"""

from __future__ import annotations

import json
import math
import re
from datetime import datetime
from typing import TYPE_CHECKING, Final, NoReturn

from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from seedance_async.errors import ValidationError
from seedance_async.models import (
    REQUEST_TYPES,
    ImageOutput,
    Kind,
    Output,
    OutputImage,
    Request,
    Seedance2Video,
    Submission,
    Task,
    VideoOutput,
)
from seedance_async.models.display import shown, shown_url, without_queries
from seedance_async.models.requests import meant_or_known

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BODY_BYTES: Final = 4 * 2**20
"""The largest JSON body that is decoded; the documented answers have about 400 bytes."""

MAX_DEPTH: Final = 64
MAX_DIGITS: Final = 64
MAX_CREDITS: Final = 10**9  # in one answer; the sum of nine million such amounts is still exact in a float
MAX_ID: Final = 65_536  # characters of a task id
MAX_TASKS: Final = 100  # in one answer; a POST starts at most four

REPLACEMENT: Final = "\ufffd"
"""The character that replaces a lone surrogate."""

_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_MAY_HAVE_SURROGATE: Final = re.compile(rb"\\ud[89a-f]", re.IGNORECASE)


def encode(request: Request) -> bytes:
    """The body of the POST for ``request``; the same bytes at every call."""
    return json.dumps(fields(request), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def fields(request: Request) -> dict[str, object]:
    """The fields of the body for ``request``, including defaults."""
    unstructured = _CONVERTER.unstructure(request)
    return {name: value for name, value in unstructured.items() if value not in (None, [])}


def build(model: str, fields: Mapping[str, object]) -> Request:
    """The request for ``model`` with ``fields`` by the API's names; None counts as left out.

    Raises:
        ValidationError: with every problem, unknown fields included, field by field.
    """
    request_type = REQUEST_TYPES.get(model)
    if request_type is None:
        reason = f"is not a known model{meant_or_known(model, REQUEST_TYPES)}; got {shown_url(model)}"
        raise ValidationError([("model", reason)])
    return request_type.from_dict(fields)


def loads(body: bytes) -> object:
    """Decode an untrusted JSON body.

    Refused: more than 4 MiB, anything but UTF-8 (a byte order mark is fine), a key twice in one object, NaN
    and infinities, numbers of more than 64 digits, more than 64 levels of nesting.

    Raises:
        ValueError: the body cannot be decoded; the message says why.
    """
    if len(body) > MAX_BODY_BYTES:
        raise ValueError(f"body is longer than {MAX_BODY_BYTES} bytes")
    try:
        value = _DECODER.decode(body.decode().removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        raise ValueError(f"body is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"body is not JSON: {error}") from None
    except RecursionError:
        raise ValueError("body is nested too deeply") from None
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:  # else it cannot be deeper
        _refuse_depth(value)
    return value


def loads_answer(body: bytes) -> object:
    r"""Like ``loads``, for answers of the API: every text, including keys, can be stored and printed.

    A server that truncates a text inside an emoji sends a lone ``\ud83d``, which is valid JSON and cannot be
    encoded in UTF-8. The answer may be about a paid job, so it is not refused for that.

    Raises:
        ValueError: see ``loads``.
    """
    value = loads(body)
    return _without_surrogates(value) if _MAY_HAVE_SURROGATE.search(body) else value


def encodable(text: str) -> str:
    """``text`` without lone surrogates, which JSON and headers can contain and UTF-8 cannot."""
    return _SURROGATE.sub(REPLACEMENT, text)


def submission(data: object) -> Submission:
    """The submission in a decoded answer to a POST.

    Raises:
        ValueError: ``data`` holds no usable task id; the message names the path.
    """
    answer = _answer(data)
    own_fields = {
        "task_ids": _task_ids(answer),
        "is_consistent": _is_consistent(answer),
        "idempotency_key": None,
        "raw": data,
    }
    return _CONVERTER.structure({**answer, **own_fields}, Submission)


def task(data: object) -> Task:
    """The task in a decoded answer to a poll.

    Raises:
        ValueError: ``data`` holds no usable task id; the message names the path.
    """
    return _CONVERTER.structure({**_answer(data), "raw": data}, Task)


def _object_without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"body is ambiguous: key {shown(key)} occurs twice in one object")
        found[key] = value
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"body is not JSON: {name} is not a number")


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"body holds a number of {len(digits)} digits")
    return int(digits)


def _finite_float(digits: str) -> float:
    number = float(digits)
    if len(digits) > MAX_DIGITS or math.isinf(number):
        raise ValueError(f"body holds a number out of range: {shown(digits)}")
    return number


def _refuse_depth(value: object) -> None:
    """Refuse nesting deeper than ``MAX_DEPTH``, as encoding such a value again would recurse too deeply."""
    level = [value]
    for _ in range(MAX_DEPTH):
        if not level:
            return
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
    if level:
        raise ValueError("body is nested too deeply")


def _answer(data: object) -> dict[str, object]:
    """``data`` as an answer about a task; a missing model is derived from the id."""
    if not isinstance(data, dict):
        raise ValueError(f"expected a JSON object @ $; got {shown(data)}")  # noqa: TRY004 - foreign data
    task_id = data.get("id")
    if not isinstance(task_id, str) or not _usable_id(task_id):
        raise ValueError(f"expected a task id @ $.id; got {shown(task_id)}")
    return {**data, "model": data.get("model") or Kind.of_task_id(task_id).model}


def _usable_id(value: object) -> bool:
    """Whether ``value`` can be put into a path and stored: printable text of 1 to ``MAX_ID`` characters.

    With a replaced character, or blanks around it, it could be the id of another task.
    """
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID or value != value.strip():
        return False
    return value.isprintable() and REPLACEMENT not in encodable(value)


def _task_ids(answer: Mapping[str, object]) -> tuple[object, ...]:
    """All usable ids of ``batch_task_ids``, else the one id; the documentation only names that field."""
    listed = answer.get("batch_task_ids")
    if isinstance(listed, list) and len(listed) > MAX_TASKS:
        raise ValueError(f"expected at most {MAX_TASKS} task ids @ $.batch_task_ids; got {len(listed)}")
    ids = [entry for entry in listed if _usable_id(entry)] if isinstance(listed, list) else []
    return tuple(dict.fromkeys(ids)) or (answer["id"],)


def _is_consistent(answer: Mapping[str, object]) -> bool:
    """Whether all ids and counts of a batch that are given can be read; see ``Submission``."""
    listed = answer.get("batch_task_ids") or []
    ids = [entry for entry in listed if entry is not None] if isinstance(listed, list) else [None]
    counts = [answer[name] for name in ("batch_success", "batch_failed") if answer.get(name) is not None]
    return (
        all(map(_usable_id, ids))
        and len(set(ids)) == len(ids)
        and (not ids or answer["id"] in ids)
        and None not in [_count(count, int) for count in counts]
    )


def _without_surrogates(value: object) -> object:
    """``value`` with every text encodable; ``loads`` has limited its depth."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, list):
        return [_without_surrogates(entry) for entry in value]
    if isinstance(value, dict):
        return {encodable(key): _without_surrogates(entry) for key, entry in value.items()}
    return value


# Structure hooks for answers. None of them raises: if the id is usable, a paid result must not be lost.


def _text(value: object, _: object) -> str:
    if isinstance(value, str):
        return encodable(value)
    return "" if value is None else shown(value)


def _reason(value: object, _: object) -> str | None:
    """A task's ``error`` as text. The documentation shows only null; an error envelope is accepted too."""
    if isinstance(value, dict) and isinstance(value.get("message"), str):
        code = value.get("code")
        text = f"{code}: {value['message']}" if isinstance(code, str) else value["message"]
        return without_queries(encodable(text))
    return without_queries(_text(value, _)) if value else None


def _amount(value: object, _: object) -> float | None:
    """Credits from 0 to ``MAX_CREDITS``, else None; fractions occur (2.2 per second were observed)."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_CREDITS:
        return value
    return None


def _whole(value: object, _: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _count(value: object, _: object) -> int | None:
    """A count; the documentation does not state the field's type, so the entries of a list are counted."""
    return len(value) if isinstance(value, list) else _whole(value, _)


def _instant(value: object, _: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        return None
    return instant if instant.tzinfo else None


def _output(value: object, _: object) -> Output | None:
    """An output in any of the three documented shapes; None if it has no URL."""
    fields = value if isinstance(value, dict) else {"images": value}
    listed = fields.get("images")
    output: Output
    if isinstance(listed, list):
        output = ImageOutput(images=tuple(image for entry in listed if (image := _image(entry))))
    else:
        video, frame, seed = (fields.get(name) for name in ("video_url", "last_frame_url", "seed"))
        output = VideoOutput(video_url=_url(video), last_frame_url=_url(frame), seed=_whole(seed, _))
    return output if output.urls else None


def _image(value: object) -> OutputImage | None:
    entry = value if isinstance(value, dict) else {"url": value}
    url = _url(entry.get("url"))
    return OutputImage(url=url, provider_url=_url(entry.get("provider_url"))) if url else None


def _url(value: object) -> str | None:
    return value if isinstance(value, str) and value and value == encodable(value) else None


def _make_converter() -> Converter:
    converter = Converter()
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(str | None, _reason)
    converter.register_structure_hook(int | None, _whole)
    converter.register_structure_hook(float | None, _amount)
    converter.register_structure_hook(datetime | None, _instant)
    raw, count = override(struct_hook=lambda value, _: value), override(struct_hook=_count)
    converter.register_structure_hook(Output | None, _output)
    read_task = make_dict_structure_fn(Task[Output], converter, raw=raw)
    read_submission = make_dict_structure_fn(
        Submission, converter, raw=raw, batch_success=count, batch_failed=count
    )
    converter.register_structure_hook(Task, read_task)
    converter.register_structure_hook(Submission, read_submission)
    write_video = make_dict_unstructure_fn(Seedance2Video, converter, duration=override(unstruct_hook=str))
    converter.register_unstructure_hook(Seedance2Video, write_video)
    return converter


_CONVERTER: Final = _make_converter()
_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object_without_duplicates,
    parse_constant=_refuse_constant,
    parse_int=_integer,
    parse_float=_finite_float,
)

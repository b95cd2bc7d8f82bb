"""The readers of foreign bytes, as fuzz targets: each raises where its property does not hold."""

from __future__ import annotations

import io
import json
import sqlite3
import struct
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from seedance_async import filenames, wire
from seedance_async.batch import manifest, names, results
from seedance_async.batch.journal import Store
from seedance_async.batch.journal.disk import Space
from seedance_async.batch.journal.file import File
from seedance_async.batch.journal.opening import check, make_tables
from seedance_async.batch.journal.schema import CHECKS
from seedance_async.downloads import measuring, resume
from seedance_async.downloads.metadata import MetadataError, Origin, apply_splice, plan_insertion, read_origin
from seedance_async.downloads.wholeness import missing
from seedance_async.errors import ConfigurationError, JournalError, ValidationError
from seedance_async.models import REQUEST_TYPES, Delivered
from seedance_async.protocol import Failure, Reply, read_submission, read_task, retry_after, task_call
from seedance_async.scheduling.forecast import Forecast
from tests.batch.stores import ACCEPTED, draft, plan, task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ORIGIN: Final = Origin(task_id="gpt2_a1", output=1, source_bytes=7)
COLUMNS: Final = [f"{table} {column}" for table, checks in CHECKS.items() for column in checks]
"""Of a journal; the length of the first line of an input says which."""


def answers(data: bytes) -> None:
    """A body is read or refused with ``ValueError``; what is read can be asked about and written down."""
    try:
        document = wire.loads_answer(data)
        submission, task = wire.submission(document), wire.task(document)
    except ValueError:
        return
    assert submission.task_ids
    for task_id in (task.id, *submission.task_ids):
        asked = task_call(task_id).path.removeprefix("/tasks/")
        assert "/" not in asked
        assert asked not in {".", ".."}
    assert task.duration is None or task.duration >= 0
    json.dumps(task.raw, ensure_ascii=False).encode()
    (repr(submission) + repr(task)).encode()


def replies(data: bytes) -> None:
    """A reply becomes an answer or a failure, whatever its status and headers."""
    status, hint, date, body = _parts(data, 4)
    reply = Reply(
        status=200 + int.from_bytes(status[:2], "big") % 400,
        headers={"retry-after": hint.decode("latin-1"), "date": date.decode("latin-1")},
        body=body,
    )
    for answer in (read_submission(reply), read_task(reply, task_id="gpt2_a1")):
        if isinstance(answer, Failure):
            assert answer.retry_after is None or 0 < answer.retry_after < float("inf")
            str(answer.error).encode()


def hints(data: bytes) -> None:
    """A Retry-After is a time to wait, or no hint."""
    value, date = (part.decode("latin-1") for part in _parts(data, 2))
    seconds = retry_after(value, date=date or None)
    assert seconds is None or 0 < seconds < float("inf")


def requests(data: bytes) -> None:
    """Fields make a request or are refused with ``ValidationError``; sent and read again are the same."""
    which, text = _parts(data, 2)
    model = sorted(REQUEST_TYPES)[len(which) % len(REQUEST_TYPES)]
    try:
        fields = wire.loads(text)
        request = wire.build(model, fields) if isinstance(fields, dict) else None
    except (ValueError, ValidationError):
        return
    if request is not None:
        again = wire.loads(wire.encode(request))
        assert isinstance(again, dict)
        assert request == wire.build(model, again)


def manifests(data: bytes) -> None:
    """Every line is a job that can be sent, or says what is wrong with it; nothing is raised."""
    stdin, sys.stdin = sys.stdin, io.TextIOWrapper(io.BufferedReader(io.BytesIO(data)))
    try:
        lines = list(manifest.read(manifest.STDIN))
    finally:
        sys.stdin = stdin
    for line in lines:
        assert line.number >= 1
        assert (line.job is None) == bool(line.problems)
        if line.job is not None:
            wire.encode(line.job.request)


def file_names(data: bytes) -> None:
    """Any text becomes one part of a path, and stays what it has become."""
    text = data.decode("utf-8", "surrogateescape")
    name = filenames.safe(text)
    assert name == filenames.safe(name)
    assert 0 < len(name.encode()) <= filenames.MAX_STEM_BYTES
    assert not {"/", "\\", "\0"} & set(name)
    assert name[0] not in "-."
    try:
        template = names.Template(text)
    except ConfigurationError:
        return
    path = template.render(name=text, index="000001", model="m", task_id=text, take="1")
    assert not path.is_absolute()
    assert ".." not in path.parts


def media(data: bytes) -> None:
    """A file takes the texts, and then tells its origin; or it is left as it is. What is whole stays so.

    What it is measured to be can be written down and read again.
    """
    which, content = _parts(data, 2)
    kind = ("mp4", "png", "jpg")[len(which) % 3]
    file = io.BytesIO(content)
    reported = read_origin(file, kind)
    missing(file, ("webm", "webp", "gif")[len(which) % 3], length_stated=True)
    for each in (kind, ("avif", "webp", "gif")[len(which) % 3]):
        measured = measuring.read(file, each)
        assert measured is None or measured == Delivered.read(measured.to_dict())
    try:
        change = plan_insertion(file, kind, prompt="A kite \u2600", origin=ORIGIN)
    except MetadataError:
        return
    changed = io.BytesIO(b"".join(apply_splice(file, change)))
    assert missing(file, kind, length_stated=True) or not missing(changed, kind, length_stated=True)
    assert (reported or ORIGIN) == read_origin(changed, kind)


def parts(data: bytes) -> None:
    """What lies beside a part, and what a server says of a range, is understood or not believed."""
    kept, reported, have = _parts(data, 3)
    version = resume.Version.from_json(kept)
    headers = {"Content-Range": reported.decode("latin-1")}
    fit = resume.interpret(version, len(have), status=206, headers=headers)
    if isinstance(fit, resume.Remainder):
        assert 0 <= fit.start < fit.length
    if version is not None:
        assert version == resume.Version.from_json(version.to_json())


def forecasts(data: bytes) -> None:
    """What an earlier run learned is learned again, or refused with ``ValueError``."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(document, dict):
        try:
            forecast = Forecast.load(document)
        except ValueError:
            return
        json.dumps(forecast.dump(), allow_nan=False)


def journals(data: bytes) -> None:
    """A row with anything in one of its cells is a job that can be told and sent, or damage."""
    which, kind, content = _parts(data, 3)
    table, column = COLUMNS[len(which) % len(COLUMNS)].split(" ")
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        _save_one_job(connection)
        connection.execute("PRAGMA ignore_check_constraints = ON")
        try:
            connection.execute(f"UPDATE {table} SET {column} = ?", (_cell(kind, content),))
        except (sqlite3.IntegrityError, UnicodeEncodeError):
            return
        connection.execute("PRAGMA ignore_check_constraints = OFF")
        try:
            check(connection)
            (job,) = Store(File(connection, Space(Path()))).entries(after=0, limit=9)
        except JournalError as error:
            str(error).encode()
            return
    results.line(job).encode()
    str(job.request_fields["prompt"]).encode()
    assert job.task_ids
    assert (job.accepted_at or 0.0) + (job.credits_used or 0.0) < float("inf")


def _save_one_job(connection: sqlite3.Connection) -> None:
    make_tables(connection)
    store = Store(File(connection, Space(Path())))
    plan(store, [draft("boat")])
    store.begin_run(replayable_since=0.0, account="account")
    store.intend(1, now=1.0)
    store.accept(1, ACCEPTED, now=2.0)
    store.finish(1, [task("completed")], None, now=3.0)
    store.save(1, ["boat.png"], None, now=4.0, delivered=[Delivered(width=9, height=9)])


def _cell(kind: bytes, content: bytes) -> object:
    """What SQLite can hand out: nothing, a number, a text that is one, or bytes."""
    match kind:
        case b"text":
            return content.decode(errors="ignore")
        case b"whole":
            return int.from_bytes(content[:8], "big", signed=True)
        case b"real":
            return struct.unpack(">d", content[:8].rjust(8, b"\0"))[0]
        case b"null":
            return None
        case _:
            return content


def _parts(data: bytes, count: int) -> list[bytes]:
    """Lines; the last one is all the rest."""
    found = data.split(b"\n", count - 1)
    return found + [b""] * (count - len(found))


TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    target.__name__: target
    for target in (
        answers, replies, hints, requests, manifests, file_names, media, parts, forecasts, journals,
    )
}  # fmt: skip

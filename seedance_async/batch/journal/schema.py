"""The schema of a journal: its tables, the constraints on their cells, and its consistency checks.

One row of ``jobs`` is one job. Jobs are numbered in the order in which they were first planned.

``fold``      is the case-folded name; it is unique, because some file systems ignore case.

``unnamed``   is 1 if the name was made from the position in the manifest; such jobs are recognised by digest.

``listed``    is 1 if the manifest of the last run lists the job. Jobs that were sent are kept in any case.

``run``       is the run that last changed the job.

``post``      is the POST in which it was sent or is to be sent again; NULL for a job that was never sent, or
is to be sent under a new key.

``place``     is its position among the jobs of the POST, from 0.

``urls_at``   is when the URLs in ``tasks`` were received.

One row of ``posts`` is one POST: its exact bytes and its idempotency key. An ordinary job is the only member
of its post, however many tasks it asks for (``tariffs.tasks``); up to four equal jobs may be the members of
one post.

``state``     is that of its jobs until it is accepted; ``planned`` means that it is to be sent again
unchanged. A post that no job refers to was given up: it is kept, and its key is not used again.

``generation``  numbers the keys for the same jobs and the same body from 1.

``crashes``   is the number of runs that died while it was under way.

``account``   identifies the API key with which it was sent: origin and fingerprint.

``answer``    is the answer of the API.

``former_names`` has earlier names of jobs, by which a paid result is found again.

``links`` has the links of each job: the link's ``text``, the ``source`` (the ``fold`` of its name), and, once
the job was sent, the ``url`` that replaced the link and the ``task`` of that output. ``edges`` has the
numbers of both jobs.

``inputs`` has the local files of each job: the ``ref`` that identifies the content in the body, the ``path``
of a file with this content, and, once the job was sent, the ``url`` that replaced the ref.

``projects`` has the project to which a job's costs belong, if its line in the manifest names one.

``boots`` has the ``boot`` of the machine in which each POST was intended, and the seconds from its beginning
(``uptime``), by a clock that is never set.

``deliveries`` has the measured properties of a job's files, in the order of its ``files``.

``tasks`` has the POST of each task: a task id belongs to one POST only.

``older`` has the jobs that are an older or a further result of another job, the one with this ``fold``.
``ordered`` is 1 for a further take until it is made; it is listed as long as that job is.

``moves`` has the jobs whose files still have the ``name`` under which they were saved. ``at_once`` is 1 if
they are to be renamed without waiting for a newer result. Once the renaming has begun, ``target`` is the new
name, and ``files`` has the new paths.

``rerolls`` has the folds of jobs that a run was ordered to make again, until a run has finished them.

``finals`` has, for each final, the ``source``: the number of the kept take that it is made of.

``refunds`` has, by ``fold`` and request of a job, how often it was planned again after a refunded failure;
how often in a row it failed with ``error``; and the last ``post`` that was counted.

``unpriced`` has the ``post``, ``place`` and tariff of failed jobs with an unknown charge that were planned
again since. What they may have cost stays held under a cap.

``…_at`` are seconds of the wall clock since 1970, UTC. ``intended_at`` is 0 if a clock was wrong.

CHECK constraints state what a cell may hold; SQLite's ``quick_check`` verifies them when a journal is opened.
So a cell that the disk, another program or a user has damaged is found before anything is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from seedance_async.batch.states import State
from seedance_async.posts import MOST_JOBS

if TYPE_CHECKING:
    from collections.abc import Mapping

APPLICATION_ID: Final = 0x5EED_A5C3
"""Identifies the file; unpublished versions, whose files cannot be read, used the next lower number."""

VERSION: Final = 1

OPEN_RUN: Final = "open_run"
"""Name of the fact that holds the number of a run that has begun and not ended normally; otherwise empty."""

MAX_NUMBER: Final = 2**53
"""Upper limit of every count, sum and time in a journal."""


def _optional(check: str, column: str) -> str:
    return f"{column} IS NULL OR {check}"


def _whole(column: str, least: int = 0, most: int = MAX_NUMBER) -> str:
    return f"typeof({column}) = 'integer' AND {column} BETWEEN {least} AND {most}"


def _number(column: str) -> str:
    return f"typeof({column}) IN ('integer', 'real') AND {column} BETWEEN 0 AND {MAX_NUMBER}"


def _text(column: str) -> str:
    return f"typeof({column}) = 'text'"


def _name(column: str) -> str:
    return f"typeof({column}) = 'text' AND trim({column}) <> '' AND instr({column}, char(0)) = 0"


def _blob(column: str, size: int | None = None) -> str:
    length = "" if size is None else f" AND length({column}) = {size}"
    return f"typeof({column}) = 'blob'{length}"


def _list(column: str) -> str:
    return (
        f"CASE WHEN typeof({column}) = 'text' AND json_valid({column}) "
        f"THEN json_type({column}) = 'array' ELSE 0 END"
    )


def _one_of(column: str, states: tuple[State, ...]) -> str:
    words = ", ".join(f"'{state}'" for state in states)
    return f"{column} IN ({words})"


_ACCEPTED: Final = (State.ACCEPTED, State.COMPLETED, State.SAVED, State.FAILED)
_FINAL: Final = (State.COMPLETED, State.SAVED, State.FAILED)
_KEY: Final = "-".join("[0-9a-f]" * digits for digits in (8, 4, 4, 4, 12))

CHECKS: Final[Mapping[str, Mapping[str, str]]] = {
    "jobs": {
        "name": _name("name"),
        "fold": _name("fold"),
        "unnamed": "unnamed IN (0, 1)",
        "listed": "listed IN (0, 1)",
        "line": _whole("line"),
        "take": _whole("take", 1),
        "tariff": _whole("tariff"),
        "path": _text("path"),
        "body": _blob("body"),
        "digest": _blob("digest", 32),
        "state": _one_of("state", tuple(State)),
        "run": _whole("run"),
        "post": f"({_optional(_whole('post'), 'post')}) AND "
        "(post IS NOT NULL OR state IN ('planned', 'blocked'))",
        "place": f"({_optional(_whole('place', 0, MOST_JOBS - 1), 'place')}) AND "
        "(place IS NULL) = (post IS NULL)",
        "urls_at": _optional(_number("urls_at"), "urls_at"),
        "accepted_at": _optional(_number("accepted_at"), "accepted_at"),
        "ended_at": _optional(_number("ended_at"), "ended_at"),
        "task_ids": f"({_optional(_list('task_ids'), 'task_ids')}) AND "
        f"(task_ids IS NOT NULL) = ({_one_of('state', _ACCEPTED)})",
        "tasks": f"({_optional(_list('tasks'), 'tasks')}) AND "
        f"(tasks IS NOT NULL) = ({_one_of('state', _FINAL)})",
        "credits_used": _optional(_number("credits_used"), "credits_used"),
        "credits_refunded": _optional(_number("credits_refunded"), "credits_refunded"),
        "files": _optional(_list("files"), "files"),
        "error": _optional(_text("error"), "error"),
    },
    "posts": {
        "key": f"typeof(key) = 'text' AND key GLOB '{_KEY}'",
        "path": _text("path"),
        "body": _blob("body"),
        "account": _optional(_text("account"), "account"),
        "intended_at": f"({_optional(_number('intended_at'), 'intended_at')}) AND "
        "(intended_at IS NOT NULL OR state IN ('planned', 'refused'))",
        "crashes": _whole("crashes"),
        "generation": _whole("generation", 1),
        "state": _one_of(
            "state",
            (State.PLANNED, State.SUBMITTING, State.ACCEPTED, State.REFUSED, State.UNCERTAIN),
        ),
        "answer": _optional(_text("answer"), "answer"),
    },
    "links": {
        "job": _whole("job", 1),
        "text": _name("text"),
        "source": _name("source"),
        "output": "output IN ('video', 'last_frame', 'image')",
        "place": _whole("place", 1, 999),
        "url": f"({_optional(_text('url'), 'url')}) AND (url IS NULL) = (task IS NULL)",
        "task": _optional(_name("task"), "task"),
    },
    "inputs": {
        "job": _whole("job", 1),
        "ref": _name("ref"),
        "path": _name("path"),
        "url": _optional(_text("url"), "url"),
    },
    "older": {
        "number": _whole("number", 1),
        "fold": _name("fold"),
        "ordered": "ordered IN (0, 1)",
    },
    "moves": {
        "number": _whole("number", 1),
        "name": _name("name"),
        "fold": _name("fold"),
        "at_once": "at_once IN (0, 1)",
        "target": f"({_optional(_name('target'), 'target')}) AND (target IS NULL) = (files IS NULL)",
        "files": _optional(_list("files"), "files"),
    },
    "rerolls": {"fold": _name("fold")},
    "finals": {"number": _whole("number", 1), "source": _whole("source", 1)},
    "refunds": {
        "fold": _name("fold"),
        "rerolls": _whole("rerolls", 0),
        "alike": _whole("alike", 1),
        "error": _optional(_text("error"), "error"),
        "post": _whole("post", 1),
    },
    "unpriced": {
        "post": _whole("post", 1),
        "place": _whole("place", 0, MOST_JOBS - 1),
        "tariff": _whole("tariff", 1),
    },
    "projects": {"job": _whole("job", 1), "project": _name("project")},
    "boots": {"post": _whole("post", 1), "boot": _name("boot"), "uptime": _number("uptime")},
    "deliveries": {
        "job": _whole("job", 1),
        "delivered": _list("delivered"),
    },
    "tariffs": {
        "model": _name("model"),
        "quality_tier": _optional(_text("quality_tier"), "quality_tier"),
        "channel": _optional(_text("channel"), "channel"),
        "resolution": _optional(_text("resolution"), "resolution"),
        "seconds": _optional(_whole("seconds"), "seconds"),
        "tasks": _whole("tasks", 1),
        "price": _optional(_number("price"), "price"),
    },
}
"""By table and column, the condition that every cell fulfils."""


def _constraints(table: str) -> str:
    return ",\n    ".join(f"CHECK ({check})" for check in CHECKS[table].values())


ADDITIONS: Final = f"""
CREATE TABLE IF NOT EXISTS inputs (
    job INTEGER NOT NULL,
    ref TEXT NOT NULL,
    path TEXT NOT NULL,
    url TEXT,
    PRIMARY KEY (job, ref),
    {_constraints("inputs")}
) WITHOUT ROWID;

CREATE TRIGGER IF NOT EXISTS inputs_of_deleted AFTER DELETE ON jobs BEGIN
    DELETE FROM inputs WHERE job = old.number;
END;

CREATE TABLE IF NOT EXISTS older (
    number INTEGER PRIMARY KEY,
    fold TEXT NOT NULL,
    ordered INTEGER NOT NULL,
    {_constraints("older")}
);

CREATE TABLE IF NOT EXISTS moves (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    fold TEXT NOT NULL,
    at_once INTEGER NOT NULL,
    target TEXT,
    files TEXT,
    {_constraints("moves")}
);

CREATE TABLE IF NOT EXISTS rerolls (fold TEXT PRIMARY KEY, {_constraints("rerolls")}) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS finals (
    number INTEGER PRIMARY KEY,
    source INTEGER NOT NULL,
    {_constraints("finals")}
);

CREATE TRIGGER IF NOT EXISTS finals_of_deleted AFTER DELETE ON jobs BEGIN
    DELETE FROM finals WHERE number = old.number OR source = old.number;
END;

CREATE TABLE IF NOT EXISTS refunds (
    fold TEXT NOT NULL,
    digest BLOB NOT NULL,
    rerolls INTEGER NOT NULL,
    alike INTEGER NOT NULL,
    error TEXT,
    post INTEGER NOT NULL,
    PRIMARY KEY (fold, digest),
    {_constraints("refunds")}
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS unpriced (
    post INTEGER NOT NULL,
    place INTEGER NOT NULL,
    tariff INTEGER NOT NULL,
    PRIMARY KEY (post, place),
    {_constraints("unpriced")}
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS boots (
    post INTEGER PRIMARY KEY,
    boot TEXT NOT NULL,
    uptime REAL NOT NULL,
    {_constraints("boots")}
);

CREATE TABLE IF NOT EXISTS deliveries (
    job INTEGER PRIMARY KEY,
    delivered TEXT NOT NULL,
    {_constraints("deliveries")}
);

CREATE TABLE IF NOT EXISTS projects (
    job INTEGER PRIMARY KEY,
    project TEXT NOT NULL,
    {_constraints("projects")}
);

CREATE TRIGGER IF NOT EXISTS project_of_deleted AFTER DELETE ON jobs BEGIN
    DELETE FROM projects WHERE job = old.number;
END;

CREATE TRIGGER IF NOT EXISTS takes_of_deleted AFTER DELETE ON jobs BEGIN
    DELETE FROM older WHERE number = old.number;
    DELETE FROM moves WHERE number = old.number;
END;

CREATE TRIGGER IF NOT EXISTS names_of_deleted AFTER DELETE ON jobs BEGIN
    DELETE FROM former_names WHERE number = old.number;
END;

CREATE INDEX IF NOT EXISTS former_names_by_number ON former_names (number);
CREATE INDEX IF NOT EXISTS jobs_not_listed ON jobs (state) WHERE listed = 0;
CREATE INDEX IF NOT EXISTS finals_by_source ON finals (source);
CREATE INDEX IF NOT EXISTS older_by_fold ON older (fold);
CREATE INDEX IF NOT EXISTS moves_by_fold ON moves (fold);
"""
"""Tables that are created when a journal without them is opened; they begin empty."""

TABLES: Final = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;

CREATE TABLE tariffs (
    id INTEGER PRIMARY KEY,
    model TEXT, quality_tier TEXT, channel TEXT, resolution TEXT, seconds INTEGER,
    tasks INTEGER NOT NULL,
    price NUMERIC,
    {_constraints("tariffs")}
);

CREATE TABLE posts (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL,
    body BLOB NOT NULL,
    account TEXT,
    intended_at REAL,
    crashes INTEGER NOT NULL DEFAULT 0,
    generation INTEGER NOT NULL,
    state TEXT NOT NULL,
    answer TEXT,
    {_constraints("posts")}
);

CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    fold TEXT NOT NULL UNIQUE,
    unnamed INTEGER NOT NULL,
    listed INTEGER NOT NULL,
    line INTEGER NOT NULL,
    take INTEGER NOT NULL,
    tariff INTEGER NOT NULL REFERENCES tariffs (id),
    path TEXT NOT NULL,
    body BLOB NOT NULL,
    digest BLOB NOT NULL,
    state TEXT NOT NULL,
    run INTEGER NOT NULL,
    post INTEGER REFERENCES posts (id),
    place INTEGER,
    accepted_at REAL,
    ended_at REAL,
    urls_at REAL,
    task_ids TEXT,
    tasks TEXT,
    credits_used NUMERIC,
    credits_refunded NUMERIC,
    files TEXT,
    error TEXT,
    {_constraints("jobs")}
);

CREATE TABLE former_names (
    fold TEXT NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (fold, number)
) WITHOUT ROWID;

CREATE TABLE links (
    job INTEGER NOT NULL,
    text TEXT NOT NULL,
    source TEXT NOT NULL,
    output TEXT NOT NULL,
    place INTEGER NOT NULL,
    url TEXT,
    task TEXT,
    PRIMARY KEY (job, text),
    {_constraints("links")}
) WITHOUT ROWID;

CREATE VIEW edges (job, source) AS
    SELECT DISTINCT links.job, source.number FROM links JOIN jobs AS source ON source.fold = links.source;

CREATE TRIGGER links_of_deleted AFTER DELETE ON jobs BEGIN
    DELETE FROM links WHERE job = old.number;
END;

CREATE TABLE tasks (id TEXT PRIMARY KEY, post INTEGER NOT NULL REFERENCES posts (id)) WITHOUT ROWID;

CREATE INDEX jobs_by_state ON jobs (state);
CREATE INDEX jobs_by_digest ON jobs (digest) WHERE unnamed = 1;
CREATE UNIQUE INDEX jobs_by_post ON jobs (post, place) WHERE post IS NOT NULL;
CREATE INDEX jobs_unpriced ON jobs (tariff)
    WHERE credits_used IS NULL AND state NOT IN ('planned', 'refused', 'blocked');
CREATE INDEX links_by_source ON links (source);
CREATE INDEX posts_by_state ON posts (state);
{ADDITIONS}"""

CONTRADICTIONS: Final[Mapping[str, str]] = {
    "state": """
        SELECT number, name FROM jobs LEFT JOIN posts ON posts.id = jobs.post
        WHERE NOT ifnull(CASE jobs.state
            WHEN 'planned' THEN jobs.post IS NULL OR posts.state = 'planned'
            WHEN 'blocked' THEN jobs.post IS NULL OR posts.state = 'planned'
            WHEN 'submitting' THEN posts.state IN ('submitting', 'accepted')
            WHEN 'uncertain' THEN posts.state IN ('uncertain', 'accepted')
            WHEN 'refused' THEN posts.state = 'refused'
            ELSE posts.state = 'accepted' END, 0) LIMIT 1""",
    "tariff": "SELECT number, name FROM jobs WHERE tariff NOT IN (SELECT id FROM tariffs) LIMIT 1",
    "run": """
        SELECT number, name FROM jobs WHERE run > (SELECT value FROM meta WHERE name = 'run') LIMIT 1""",
}
"""By column of ``jobs``, a query for a row that is inconsistent with other rows."""

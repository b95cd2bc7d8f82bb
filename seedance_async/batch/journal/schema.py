"""The tables of a journal, and how a file is recognised as one.

One row is one job, whatever becomes of it. Its ``number`` is the order in which jobs were first planned. The
bytes of the request are kept with it, because they, and nothing serialised anew, go out again after a crash.

``fold``      is the name as a file system without case sees it; two jobs may not share it.
``unnamed``   is 1 where the name was made from the place in the manifest; such jobs are told apart by digest.
``listed``    is 1 where the job stands in the manifest of the last run. What was sent stays, listed or not.
``run``       is the run that last moved the job.
``crashes``   counts the runs that died while the job's POST was under way.
``account``   is whose key the job's POST was sent with: origin and fingerprint.
``shared``    is the body of the POST in which the job goes together with others, and ``seat`` its place among
              them, from 0. They have their key in common. Both are empty for a job that goes alone.
``…_at``      are seconds of the wall clock since 1970, UTC.
"""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x5EED_A5C2
VERSION: Final = 3

TABLES: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;

CREATE TABLE tariffs (
    id INTEGER PRIMARY KEY,
    model TEXT, quality_tier TEXT, channel TEXT, resolution TEXT, seconds INTEGER,
    tasks INTEGER NOT NULL,
    price NUMERIC
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
    generation INTEGER NOT NULL DEFAULT 1,
    crashes INTEGER NOT NULL DEFAULT 0,
    key TEXT,
    account TEXT,
    shared BLOB,
    seat INTEGER,
    intended_at REAL,
    accepted_at REAL,
    ended_at REAL,
    task_ids TEXT,
    submission TEXT,
    tasks TEXT,
    credits_used NUMERIC,
    credits_refunded NUMERIC,
    files TEXT,
    error TEXT
);

CREATE INDEX jobs_by_state ON jobs (state);
CREATE INDEX jobs_by_digest ON jobs (digest) WHERE unnamed = 1;
CREATE INDEX jobs_unpriced ON jobs (tariff)
    WHERE credits_used IS NULL AND key IS NOT NULL AND state NOT IN ('planned', 'refused');
CREATE INDEX jobs_sharing ON jobs (key) WHERE seat IS NOT NULL;
"""

UPGRADES: Final[dict[int, str]] = {
    1: """
ALTER TABLE jobs ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN shared BLOB;
ALTER TABLE jobs ADD COLUMN seat INTEGER;
CREATE INDEX jobs_sharing ON jobs (key) WHERE seat IS NOT NULL;
""",
    2: """
ALTER TABLE jobs ADD COLUMN account TEXT;
UPDATE jobs SET account = (SELECT value FROM meta WHERE name = 'account') WHERE key IS NOT NULL;
""",
}
"""What makes the next version of a file of this one."""

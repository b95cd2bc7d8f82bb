"""The release of the jobs that wait for another job's output, when that job has ended.

Blocking: call it in threads.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from seedance_async.batch.states import State
from seedance_async.integrations.engine.dbos_records import BEGIN
from seedance_async.integrations.engine.intents import Intent
from seedance_async.integrations.engine.outcomes import FINAL, Outcome

if TYPE_CHECKING:
    import sqlalchemy as sa

    from seedance_async.integrations.engine.dbos_records import JobRecord, Records
    from seedance_async.integrations.engine.tables import Tables


def end_job(tables: Tables, records: Records, key: str, outcome: Outcome) -> None:
    """Release the jobs that take a job's output, if the job has come to its end."""
    if outcome.state not in FINAL:
        return

    def release(connection: sa.Connection, intent: str) -> None:
        records.enqueue(connection, Intent.load(json.loads(intent)))

    released = tables.end_links(key, outcome.final_tasks, release)
    known = records.find(released)
    for job in released:
        if (record := known.get(job)) and _was_never_paid(record):  # it had no output to take, and has now
            records.set_back(job, BEGIN)


def _was_never_paid(record: JobRecord) -> bool:
    """Whether a job has ended without a charge: one whose source was edited may be paid already."""
    if record.is_active or record.output is None:
        return False
    return Outcome.load(record.output).state in {State.PLANNED, State.BLOCKED}

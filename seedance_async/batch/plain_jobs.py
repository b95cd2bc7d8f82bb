"""The plain form of a job: the fields of its line in a manifest, with everything expanded.

Pure.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from seedance_async import wire

if TYPE_CHECKING:
    from seedance_async.batch.jobs import Job


def plain(job: Job, ignored: frozenset[str] = frozenset()) -> dict[str, object]:
    """Return a job as an entry of a manifest, from which the same job is read.

    Args:
        job: the job.
        ignored: codes of rules that are not applied to its prompt.
    """
    own = {
        "name": job.name,
        "model": job.request.model,
        "repeat": job.repeat if job.repeat > 1 else None,
        "project": job.project,
        "lint": " ".join(f"-{code}" for code in sorted(ignored)) or None,
    }
    given = {name: value for name, value in own.items() if value is not None}
    return {**given, **cast("dict[str, object]", json.loads(wire.encode(job.request)))}


def plain_line(job: Job, ignored: frozenset[str] = frozenset()) -> str:
    """Return the result of ``plain`` as a line of JSON, without a line end."""
    return json.dumps(plain(job, ignored), ensure_ascii=False)

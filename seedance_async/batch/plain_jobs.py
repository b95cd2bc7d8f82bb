"""The plain form of a job: the fields of its line in a manifest, with nothing left to fill in.

Pure.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from seedance_async import wire

if TYPE_CHECKING:
    from seedance_async.batch.jobs import Job


def plain(job: Job) -> dict[str, object]:
    """A job as an entry of a manifest, which reads back as the same job."""
    own = {
        "name": job.name,
        "model": job.request.model,
        "repeat": job.repeat if job.repeat > 1 else None,
        "project": job.project,
    }
    given = {name: value for name, value in own.items() if value is not None}
    return {**given, **cast("dict[str, object]", json.loads(wire.encode(job.request)))}

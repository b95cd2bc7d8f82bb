"""``seedance expand``: the plain jobs that a manifest with defaults, assets and a matrix stands for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from seedance_async import wire
from seedance_async.batch import manifest as manifests
from seedance_async.batch.manifest_source import is_read_once
from seedance_async.batch.survey import survey
from seedance_async.cli.output import write_data
from seedance_async.errors import ManifestError
from seedance_async.exit_codes import ExitCode

if TYPE_CHECKING:
    from seedance_async.batch.jobs import Job


async def expand(
    manifest: Annotated[str, Parameter(help="TOML, JSON lines, a JSON array or CSV; - is stdin.")], /
) -> int:
    """Print each job of a manifest on a line of its own, as a batch takes it.

    Defaults are filled in, assets are in their places, and a matrix is multiplied
    out. What is printed is a manifest, too. Nothing is sent.

    Example: seedance expand film.toml | wc -l
    """
    if not is_read_once(manifest):  # else its jobs are gone once they were looked at
        await survey(manifest)
    jobs, problems = [], []
    for line in manifests.read(manifest):
        problems += [(line.number, field, reason) for field, reason in line.problems]
        if line.job is not None:
            jobs.append(plain(line.job, line.ignored))
    if problems:
        raise ManifestError(problems, source=manifest)
    for job in jobs:
        write_data(job)
    return ExitCode.OK


def plain(job: Job, ignored: frozenset[str] = frozenset()) -> str:
    """A job as a line of a manifest.

    Args:
        job: of the line.
        ignored: the codes of rules that its prompt is not held to.
    """
    own = {
        "name": job.name,
        "model": job.request.model,
        "repeat": job.repeat if job.repeat > 1 else None,
        "project": job.project,
        "lint": " ".join(f"-{code}" for code in sorted(ignored)) or None,
    }
    given = {name: value for name, value in own.items() if value is not None}
    return json.dumps({**given, **json.loads(wire.encode(job.request))}, ensure_ascii=False)

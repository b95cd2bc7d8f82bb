"""``seedance expand``: the plain jobs that a manifest with defaults, assets and a matrix stands for."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from seedance_async.batch import manifest as manifests
from seedance_async.batch.manifest_source import is_read_once
from seedance_async.batch.plain_jobs import plain_line
from seedance_async.batch.survey import survey
from seedance_async.cli.output import write_data
from seedance_async.errors import ManifestError
from seedance_async.exit_codes import ExitCode


async def expand(
    manifest: Annotated[str, Parameter(help="TOML, JSON lines, a JSON array or CSV; - is stdin.")], /
) -> int:
    """Print each job of a manifest on one line, as a batch reads it.

    Defaults are filled in, assets are replaced by their URLs, and a matrix is
    expanded. The output is itself a manifest. Nothing is sent.

    Example: seedance expand film.toml | wc -l
    """
    if not is_read_once(manifest):  # stdin can be read only once, and `read` below needs it
        await survey(manifest)
    jobs, problems = [], []
    for line in manifests.read(manifest):
        problems += [(line.number, field, reason) for field, reason in line.problems]
        if line.job is not None:
            jobs.append(plain_line(line.job, line.ignored))
    if problems:
        raise ManifestError(problems, source=manifest)
    for job in jobs:
        write_data(job)
    return ExitCode.OK

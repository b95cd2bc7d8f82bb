"""The intake of jobs from a manifest or a program into the journal.

A manifest is read completely before anything is sent, so that all problems are reported at once; a manifest
with the same bytes as in the last run is not read again. Jobs from a program are read a bounded way ahead of
sending: the iterable may be endless, or wait for results.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from anyio import lowlevel, to_thread

from seedance_async.arguments import how_to_make_one
from seedance_async.batch import manifest
from seedance_async.batch.jobs import Job
from seedance_async.batch.journal import Broken, Changes, Draft, Journal, Planner, drafts
from seedance_async.batch.run_options import ALL_JOBS, PlanOptions
from seedance_async.daemon_thread import DaemonThread
from seedance_async.errors import ManifestError, ValidationError, place_of
from seedance_async.logs import Log
from seedance_async.media import NO_STORE, Inspector
from seedance_async.models import Request, links, local_files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from os import PathLike

    from seedance_async.batch.entries import Entries
    from seedance_async.batch.finals_planning import Finishing
    from seedance_async.batch.journal import LineProblem
    from seedance_async.batch.manifest import Line
    from seedance_async.prompts.batch_lint import BatchLint

log: Log = Log(__name__)

DRIFTS: Final = (
    "a chain of clips that begin with each other's last frame drifts from the fourth on; clips that share a "
    "still, as the end of one and the beginning of the next, hold better"
)

ADOPTED: Final = "%r is %r renamed: its result is taken over; --no-adopt pays for a new one"

CHUNK: Final = 500
"""Jobs per transaction; with one fsync per job, two hundred jobs would take a second."""

STREAM_CHUNK: Final = 100

SHOWN: Final = 10
"""Most renamed jobs that are logged one by one."""

MOST_PROBLEMS: Final = 10_000
"""Most problems that are listed; a file with more is probably not a manifest."""

MOST_BROKEN: Final = 100_000
"""Most invalid lines that are kept; a matrix may repeat one problem ten thousand times."""


async def take_manifest(
    journal: Journal,
    source: str | PathLike[str],
    options: PlanOptions = ALL_JOBS,
    finishing: Finishing | None = None,
    *,
    has_store: bool = True,
    lint: BatchLint | None = None,
) -> Changes:
    """Plan every job of a manifest, and the finals of its takes.

    Args:
        journal: where they are planned.
        source: path of the manifest.
        options: whether renamed jobs adopt earlier results, which is logged; and which rules are not applied
            to prompts.
        finishing: plans finals of its takes; None for none.
        has_store: whether a media store is configured.
        lint: gets every job; then the manifest is read even if it is unchanged.

    Returns:
        The differences from the manifest of the last run.

    Raises:
        ManifestError: with every problem, line by line. Nothing was sent.
        ConfigurationError, ValidationError: about the finals; see ``Finishing.plan``. Nothing was sent.
    """
    fingerprint = await to_thread.run_sync(manifest.fingerprint, source) if finishing is None else None
    is_known = fingerprint is not None and fingerprint == await journal.fact("manifest")
    may_differ = journal.store.has_inputs  # local files may have changed although the manifest has not
    if is_known and not may_differ and lint is None:
        return Changes()
    planner = await journal.do(partial(Planner, journal.store, whole=True, adopts=options.adopt))
    try:
        entries = manifest.entries_of(source, options.ignored)
        lines = _looked_at(manifest.read(source, entries), lint)
        await _take_all(journal, planner, lines, entries, source, finishing, has_store=has_store)
        changes = await journal.do(planner.finish, manifest=fingerprint or "")
        if finishing is not None:
            await journal.do(finishing.find, journal.store)
    except BaseException:  # otherwise a later run would send what was planned here
        await journal.do(planner.abandon)
        raise
    if changes.drifts:
        log.warning(DRIFTS)
    for job in planner.adopted[:SHOWN]:
        log.warning(ADOPTED, job.name, job.before)
    if len(planner.adopted) > SHOWN:
        log.warning("and so are %d more", len(planner.adopted) - SHOWN)
    return changes


async def _take_all(
    journal: Journal,
    planner: Planner,
    lines: Iterator[Line],
    entries: Entries,
    source: str | PathLike[str],
    finishing: Finishing | None,
    *,
    has_store: bool,
) -> None:
    inspector = Inspector(await journal.do(journal.store.known_inputs))
    read = _drafts_and_problems(lines, inspector)
    problems: list[LineProblem] = []
    broken = 0
    empty = is_whole = True
    loop, thread = asyncio.get_running_loop(), DaemonThread()
    while chunk := await loop.run_in_executor(thread, _some, read):
        empty = False
        problems += [found for found in chunk if isinstance(found, tuple)]
        problems += (
            await journal.do(planner.take, [found for found in chunk if not isinstance(found, tuple)])
        ).problems
        broken += sum(isinstance(found, Broken) for found in chunk)
        if len(problems) >= MOST_PROBLEMS or broken >= MOST_BROKEN:
            problems.append((max(problems)[0], "manifest", "has more problems; reading ended here"))
            is_whole = False
            break
    if empty:
        problems.append((1, "manifest", "holds no jobs"))
    if finishing is not None and not problems:
        plan = partial(finishing.plan, has_store=has_store)
        problems += await journal.do(plan, journal.store, planner, inspector)
    if is_whole:  # otherwise a link may name a job that was not read
        problems += await journal.do(planner.link_problems, entries.assets)
    problems += await journal.do(planner.input_problems, inspector.gone, has_store=has_store)
    if problems:
        once = dict.fromkeys(problems)  # the jobs of a matrix share their line and their problems
        raise ManifestError(sorted(once, key=lambda problem: problem[0]), source=str(source))


def _looked_at(lines: Iterator[Line], lint: BatchLint | None) -> Iterator[Line]:
    """Yield the lines, after adding each job to ``lint``."""
    for line in lines:
        if lint is not None and line.job is not None:
            lint.add(line.called, line.job.request, line.ignored)
        yield line


def _drafts_and_problems(
    lines: Iterable[Line], inspector: Inspector
) -> Iterator[Draft | Broken | LineProblem]:
    for line in lines:
        files, faults = inspector.files(line.files)
        if line.job is not None and not faults:
            yield from drafts(line.job, line=line.number, place=line.place, files=files)
        else:
            yield _broken(line)
        for field, reason in (*line.problems, *faults):
            yield line.number, field, reason


def _broken(line: Line) -> Broken:
    if line.job is None:
        return Broken(line.number, line.name, line.model, line.links)
    request = line.job.request
    return Broken(line.number, line.name, request.model, tuple(links(request)))


def _some(found: Iterator[Draft | Broken | LineProblem]) -> list[Draft | Broken | LineProblem]:
    return list(islice(found, CHUNK))


async def take_stream(
    journal: Journal,
    source: Iterable[Job | Request] | AsyncIterable[Job | Request],
    *,
    at_end: Callable[[Changes], None],
    has_store: bool = True,
) -> AsyncIterator[list[int]]:
    """Plan jobs as they come, and yield the numbers of each chunk.

    Args:
        journal: where they are planned.
        source: the jobs.
        at_end: called with the differences from the last run, once the source is exhausted.
        has_store: whether a media store is configured.

    Raises:
        ManifestError: a name was used twice, a link names no earlier job, or a local file cannot be used.
        ValidationError: an item is not a job or request.
    """
    planner = await journal.do(partial(Planner, journal.store, whole=False))
    inspector = Inspector(await journal.do(journal.store.known_inputs))
    place = 0
    async for chunk in _chunks(source):
        jobs = [(number, _job(item, number)) for number, item in enumerate(chunk, start=place + 1)]
        files = await _files(jobs, inspector, has_store=has_store)
        drafted = chain.from_iterable(
            drafts(job, line=number, place=number, files=files.get(number)) for number, job in jobs
        )
        place += len(chunk)
        while some := list(islice(drafted, CHUNK)):
            taken = await journal.do(planner.take, some)
            if taken.problems:
                raise ManifestError(taken.problems, source="jobs", is_file=False)
            yield taken.numbers
    at_end(await journal.do(planner.finish, manifest=""))
    further = await journal.do(journal.store.ordered_takes)
    while further:
        yield further[:CHUNK]
        del further[:CHUNK]


async def _files(
    jobs: Sequence[tuple[int, Job]], inspector: Inspector, *, has_store: bool
) -> dict[int, dict[str, tuple[str, str]]]:
    """Return the local files of a program's jobs, by the job's number.

    Raises:
        ManifestError: they cannot be used.
    """
    found: dict[int, dict[str, tuple[str, str]]] = {}
    problems: list[LineProblem] = []
    for number, job in jobs:
        given = list(local_files(job.request))
        if given and not has_store:
            problems += [(number, name, f"{str(text)!r:.300} {NO_STORE}") for name, text in given]
        elif given:
            found[number], faults = await to_thread.run_sync(inspector.files, given)
            problems += [(number, name, reason) for name, reason in faults]
    if problems:
        raise ManifestError(problems, source="jobs", is_file=False)
    return found


async def _chunks(
    source: Iterable[Job | Request] | AsyncIterable[Job | Request],
) -> AsyncIterator[list[Job | Request]]:
    """Yield chunks of an ordinary iterable, and single items of an asynchronous one, which may wait."""
    if isinstance(source, AsyncIterable):
        async for item in source:
            yield [item]
        return
    items = iter(source)
    ended: BaseException | None = None
    while ended is None:
        chunk, ended = _taken(items)
        if chunk:
            yield chunk
        await lowlevel.checkpoint()
    if not isinstance(ended, StopIteration):
        raise ended


def _taken(items: Iterator[Job | Request]) -> tuple[list[Job | Request], BaseException | None]:
    """Return a chunk, and the exception that ended the source; the items before it are still used."""
    chunk: list[Job | Request] = []
    try:
        while len(chunk) < STREAM_CHUNK:
            chunk.append(next(items))
    except BaseException as end:
        return chunk, end
    return chunk, None


def _job(item: object, place: int) -> Job:
    if isinstance(item, Job):
        return item
    if isinstance(item, Request):
        return Job(item)
    reason = f"expected a Job or a request, got {type(item).__name__}{how_to_make_one(item)}"
    raise ValidationError([(place_of(place), reason)], subject="batch")

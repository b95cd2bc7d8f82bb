"""The making of a plan: from jobs or a manifest, a directory with all that a batch needs, and a price.

A plan is a manifest of plain jobs, with copies of the local files that they name, so what is sent later is
what was checked and priced now. All errors are reported at once, and then nothing is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from anyio import to_thread
from attrs import field, frozen

from seedance_async import clocks
from seedance_async.batch import estimate as batch_estimate
from seedance_async.batch import manifest as manifests
from seedance_async.batch.manifest_source import SUFFIXES
from seedance_async.batch.plain_jobs import plain
from seedance_async.batch.run_options import ALL_JOBS, PlanOptions
from seedance_async.batch.run_plan import RunPlan, run_plan
from seedance_async.batch.states import State
from seedance_async.batch.survey import survey
from seedance_async.errors import ManifestError, MediaError
from seedance_async.integrations.mcp.answers import RefusedError, wrong_arguments
from seedance_async.integrations.mcp.workspace import INPUTS, MANIFEST, Workspace
from seedance_async.media import NO_STORE
from seedance_async.media.inspection import MOST_CLIP_BYTES, inspect
from seedance_async.models import MEDIA_FIELDS, Kind, RateLimit
from seedance_async.prices import NOTHING_RECORDED
from seedance_async.prompts.batch_lint import BatchLint, LintSummary
from seedance_async.prompts.findings import Level
from seedance_async.scheduling.forecast import Forecast

if TYPE_CHECKING:
    from io import BufferedReader

    from seedance_async.batch.estimate import Cost, Estimate
    from seedance_async.batch.jobs import Job

MOST_JOBS: Final = 10_000
"""Of one plan; a person's own batch has no such limit."""

MOST_PROBLEMS: Final = 1_000
"""Reading ends after this many."""

MOST_MANIFEST_BYTES: Final = 32 * 2**20
CHUNK: Final = 2**20  # bytes
_NEW: Final = ".new-"
"""The prefix of a plan's directory until it is complete."""


@frozen(kw_only=True)
class Asked:
    """The jobs that an agent asks for: a list, or a manifest of the workspace."""

    jobs: object = None
    manifest: str | None = None


@frozen(kw_only=True)
class Basis:
    """What prices and durations are estimated by.

    Attributes:
        limit: the account's.
        forecast: what is believed about durations.
        recorded: what the account was charged for one task of each kind.
        has_store: whether local files can become URLs.
    """

    limit: RateLimit = field(factory=RateLimit)
    forecast: Forecast = field(factory=Forecast)
    recorded: Mapping[Kind, float] = NOTHING_RECORDED
    has_store: bool = False


@frozen(kw_only=True)
class Quote:
    """What a plan costs.

    Attributes:
        jobs: that it sends.
        low: credits, at least, of those whose price is known.
        high: credits, at most, of these.
        unpriced: jobs whose price nobody knows.
        seconds: from the first request to the last file, as a range.
        spent: what its batch has cost before.
        rows: a line of a table for each kind of work.
        warnings: what the prompt guide's rules say, a line for each rule.
    """

    jobs: int
    low: float
    high: float
    unpriced: int
    seconds: tuple[float, float]
    spent: float
    rows: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def new_id() -> str:
    """An id of a plan: the day, and a random part."""
    day = datetime.fromtimestamp(clocks.wall_now(), UTC)
    return f"{day:%Y%m%d}-{secrets.token_hex(4)}"


def draft(workspace: Workspace, asked: Asked, *, has_store: bool) -> Path:
    """A directory with the plain manifest of what is asked for, and its inputs. Blocking.

    Args:
        workspace: that it is made in.
        asked: what is to be made.
        has_store: whether local files can become URLs; else one is a mistake.

    Raises:
        RefusedError: it is neither jobs nor a manifest of the workspace, or too much.
        ManifestError: with everything that is wrong in it.
    """
    folder = Path(tempfile.mkdtemp(prefix=_NEW, dir=workspace.batches()))
    try:
        _write_plain(folder, workspace, asked, has_store=has_store)
    except BaseException:
        drop(folder)
        raise
    return folder


def drop(folder: Path) -> None:
    """Delete a draft, unless it was kept. Blocking."""
    shutil.rmtree(folder, ignore_errors=True)


def keep(folder: Path, directory: Path) -> None:
    """Move a draft to its final place. Blocking."""
    folder.chmod(0o700)
    folder.rename(directory)


def digest_of(directory: Path) -> str:
    """What a plan is recognised by: its manifest, and the content of its inputs. Blocking.

    Raises:
        OSError: something of it cannot be read.
    """
    whole = hashlib.sha256()
    inputs = directory / INPUTS
    copies = sorted(inputs.iterdir()) if inputs.is_dir() else []
    for path in (directory / MANIFEST, *copies):
        with path.open("rb") as file:
            whole.update(f"{path.name}\n{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()


async def quote(
    manifest: Path, basis: Basis, *, directory: Path | None = None, options: PlanOptions = ALL_JOBS
) -> Quote:
    """Check a manifest as a run would, and price it.

    Args:
        manifest: plain.
        basis: of the estimate.
        directory: of its batch, if that has begun.
        options: which of its jobs are to be sent.

    Raises:
        ManifestError: with everything that is wrong.
        ConfigurationError: the options make no sense.
        JournalError: the batch's journal cannot be read.
    """
    lint = BatchLint()
    found = await survey(manifest, directory, options, has_store=basis.has_store, lint=lint)
    expected = await to_thread.run_sync(
        lambda: batch_estimate.estimate(
            found.jobs(State.PLANNED),
            posts=found.posts(),
            running=found.jobs(State.SUBMITTING, State.ACCEPTED),
            forecast=basis.forecast,
            limit=basis.limit,
            prices=found.prices,
            recorded=basis.recorded,
        )
    )
    plan = run_plan(found.tally, prices=found.prices, recorded=basis.recorded, spent=found.spent)
    return _quote(expected, plan, lint.summary())


def _quote(expected: Estimate, plan: RunPlan, prompts: LintSummary) -> Quote:
    return Quote(
        jobs=expected.jobs,
        low=plan.credits_low,
        high=plan.credits_high,
        unpriced=plan.unpriced,
        seconds=(expected.seconds.low, expected.seconds.high),
        spent=plan.credits_spent,
        rows=tuple(map(_row, expected.costs)),
        warnings=tuple(each.words(prompts.jobs) for each in prompts.at_least(Level.WARNING)),
    )


def _row(cost: Cost) -> str:
    price = cost.price
    if price is None:
        each, whole = "unknown", "unknown"
    else:
        each = _span(price.low, price.high)
        whole = _span(price.low * cost.jobs, price.high * cost.jobs)
    at_once = f", {cost.tariff.tasks} at once" if cost.tariff.tasks > 1 else ""
    return f"{cost.jobs} x {cost.tariff.kind.words}{at_once} | {each} each | {whole} credits"


def _span(low: float, high: float) -> str:
    return f"{low:.10g}" if low == high else f"{low:.10g}-{high:.10g}"


def _write_plain(folder: Path, workspace: Workspace, asked: Asked, *, has_store: bool) -> None:
    """Write the plain manifest of what is asked for, and copies of the files that it names."""
    source, base = given_source(folder, workspace, asked)
    inputs = _Inputs(folder / INPUTS, workspace, has_store=has_store)
    problems: list[tuple[int, str, str]] = []
    jobs = 0
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        for line in manifests.read(source, manifests.entries_of(source, base=base)):
            problems += [(line.number, name, reason) for name, reason in line.problems]
            if len(problems) >= MOST_PROBLEMS:
                break
            if line.job is None:
                continue
            jobs += line.job.repeat
            if jobs > MOST_JOBS:
                raise _too_much(f"more than {MOST_JOBS} jobs")
            for name, path in line.files:
                if fault := inputs.take(path):
                    problems.append((line.number, name, fault))
            file.write(f"{json.dumps(inputs.plain(line.job, line.ignored), ensure_ascii=False)}\n")
    source.unlink()
    if problems:
        raise ManifestError(problems, source="plan")


def given_source(folder: Path, workspace: Workspace, asked: Asked) -> tuple[Path, Path]:
    """A copy of what was given, and the folder that paths in it are relative to. Blocking.

    Args:
        folder: that the copy is put into.
        workspace: that a manifest has to be from.
        asked: jobs, or a manifest.

    Raises:
        RefusedError: it is neither, or too much.
    """
    if (asked.jobs is None) == (asked.manifest is None):
        raise RefusedError(
            "InvalidArguments",
            "give either jobs or manifest",
            what_to_do="jobs is a list of objects; manifest is the path of a file in the workspace",
            next_call='plan(jobs=[{"model": "seedance2", "prompt": "…", "name": "boat"}])',
        )
    if asked.manifest is None:
        source = folder / "asked.jsonl"
        source.write_text(_lines(asked.jobs), encoding="utf-8")
        return source, workspace.root
    suffix = Path(asked.manifest).suffix.lower()
    if suffix not in SUFFIXES:
        raise RefusedError(
            "InvalidArguments",
            f"{asked.manifest!r:.120} does not have the name of a manifest",
            what_to_do=f"name a file that ends in {', '.join(sorted(SUFFIXES))}",
        )
    source = folder / f"asked{suffix}"
    with workspace.open(asked.manifest) as file:
        content = file.read(MOST_MANIFEST_BYTES + 1)
    if len(content) > MOST_MANIFEST_BYTES:
        raise _too_much(f"{asked.manifest!r:.120} has more than {MOST_MANIFEST_BYTES:,} bytes")
    source.write_bytes(content)
    return source, Path(os.path.normpath(workspace.root / asked.manifest)).parent


def _lines(jobs: object) -> str:
    """Jobs as the lines of a manifest."""
    if not isinstance(jobs, list):
        raise wrong_arguments("jobs must be a list of objects, one a job")
    if len(jobs) > MOST_JOBS:
        raise _too_much(f"more than {MOST_JOBS} jobs")
    return "".join(f"{json.dumps(job)}\n" for job in jobs)


def _too_much(what: str) -> RefusedError:
    return RefusedError(
        "TooMuch", f"{what} are too much for one plan", what_to_do="split it into several plans"
    )


class _Inputs:
    """Copies of the local files that jobs name, called after their content.

    Args:
        folder: that they are put into, made with the first.
        workspace: that they have to be from.
        has_store: whether they can become URLs.
    """

    def __init__(self, folder: Path, workspace: Workspace, *, has_store: bool) -> None:
        self._folder = folder
        self._workspace = workspace
        self._has_store = has_store
        self._names: dict[str, str] = {}

    def take(self, path: str) -> str | None:
        """Copy a file; why that is not done, if so."""
        if path in self._names:
            return None
        try:
            with self._workspace.open(path) as file:
                if not self._has_store:
                    return f"{self._workspace.shown(Path(path))!r:.120} {NO_STORE}"
                copy = self._copied(file, Path(path).suffix.lower()[:8])
            inspect(copy)
        except RefusedError as refusal:
            return refusal.message
        except MediaError as problem:
            return (
                f"{self._workspace.shown(Path(path))!r:.120}: {problem.message.partition(': ')[2] or problem}"
            )
        self._names[path] = f"./{INPUTS}/{copy.name}"
        return None

    def _copied(self, file: BufferedReader, suffix: str) -> Path:
        """A copy of a file, which is read once: what is copied is what its name says.

        Raises:
            MediaError: it is too large.
        """
        if os.fstat(file.fileno()).st_size > MOST_CLIP_BYTES:
            raise MediaError(f"' ' has more than {MOST_CLIP_BYTES:,} bytes")
        self._folder.mkdir(exist_ok=True)
        part = self._folder / "part"
        digest = hashlib.sha256()
        with part.open("wb") as copy:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                copy.write(chunk)
        return part.rename(self._folder / f"{digest.hexdigest()[:24]}{suffix}")

    def plain(self, job: Job, ignored: frozenset[str]) -> dict[str, object]:
        """The plain form of a job, with the copies in the place of its files."""
        fields = plain(job, ignored)
        for name in MEDIA_FIELDS:
            if name in fields:
                fields[name] = self._replaced(fields[name])
        return fields

    def _replaced(self, value: object) -> object:
        if isinstance(value, list):
            return [self._replaced(each) for each in value]
        return self._names.get(value, value) if isinstance(value, str) else value

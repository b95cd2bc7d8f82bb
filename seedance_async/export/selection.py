"""Selection of what a batch exports: which jobs, which of their files, in which order.

If a review has kept takes, only these are exported. Otherwise it is the newest saved result of each job,
without jobs that were rejected or are no longer in the manifest. If a newer take is unfinished or has failed,
that is the take before it. A pick belongs to tasks, not to a name: it does not apply to a newer take.

A final replaces the take that it was made from, unless the final was rejected. A job that the manifest itself
asks for is not a final.

The order is that of ``results.jsonl``, which is that of the manifest. A kept take and a final have the
position of their job.

Pure.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from seedance_async.batch.gallery import CLIPS, PICTURES
from seedance_async.batch.states import State

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from seedance_async.batch.picks import Pick, TaskIds
    from seedance_async.batch.results_reading import Result


@frozen(kw_only=True)
class Shot:
    """One exported file of a job.

    Attributes:
        name: of the job.
        file: path relative to the batch's directory, with ``/``.
        is_clip: whether it is a clip; else it is a picture.
        model: the API's name of it.
        prompt: of the request.
        seed: reported by the server; None if it reported none.
        task_ids: of the job.
    """

    name: str
    file: str
    is_clip: bool
    model: str = ""
    prompt: str = ""
    seed: int | None = None
    task_ids: tuple[str, ...] = ()


@frozen(kw_only=True)
class Selection:
    """What is exported.

    Attributes:
        shots: in their order.
        kept: whether they are the takes kept in a review.
        unsaved: names of jobs without saved files.
        earlier: takes that are exported because a newer one is not saved, each with the name of its job and
            the state of the newer one.
        outdated: names of finals that are left out, because the job of their take has a newer take.
        rejected: number of saved jobs left out because a review rejected them.
        gone: number of saved jobs left out because they are no longer in the manifest.
    """

    shots: tuple[Shot, ...]
    kept: bool = False
    unsaved: tuple[str, ...] = ()
    earlier: tuple[tuple[str, str, str], ...] = ()
    outdated: tuple[str, ...] = ()
    rejected: int = 0
    gone: int = 0

    @property
    def clips(self) -> tuple[Shot, ...]:
        """The clips among the shots."""
        return tuple(shot for shot in self.shots if shot.is_clip)


def select(results: Mapping[str, Result], picks: Mapping[TaskIds, Pick]) -> Selection:
    """Select what is exported.

    Args:
        results: by the names of the jobs, in their order.
        picks: decisions of a review, by task ids.
    """
    saved = [result for result in results.values() if result.state == State.SAVED]
    kept = [result for result in saved if _choice(result, picks) == "keep"]
    newest = _newest(results, saved)
    wanted = kept or [result for result in newest if _choice(result, picks) != "reject"]
    finals = _finals(saved, picks)
    chosen = {each.name: each for each in (finals.get(result.name, result) for result in wanted)}
    jobs = {each.name: job for each in wanted if (job := _awaited(each, results)) is not None}
    selection = Selection(
        shots=tuple(shot for result in _in_order(chosen.values(), results) for shot in shots_of(result)),
        kept=bool(kept),
        unsaved=tuple(_unsaved(results, exported=jobs.values())),
        earlier=tuple((take, job, results[job].state) for take, job in jobs.items()),
    )
    if kept:
        return selection
    return evolve(
        selection,
        outdated=tuple(_outdated(finals.values(), newest, results)),
        rejected=len(newest) - len(wanted),
        gone=sum(_is_gone(each) and _choice(each, picks) != "reject" for each in saved),
    )


def _unsaved(results: Mapping[str, Result], exported: Collection[str]) -> Iterator[str]:
    """Yield the jobs of which nothing is exported because they are not saved."""
    for name, each in results.items():
        if _is_current(each) and each.state != State.SAVED and name not in exported:
            yield name


def _choice(result: Result, picks: Mapping[TaskIds, Pick]) -> str | None:
    """Return the decision about this result; None without one."""
    pick = picks.get(result.task_ids)
    return pick.pick if pick is not None else None


def _is_current(result: Result) -> bool:
    """Whether it is the newest result of a job of the manifest, or its newest final."""
    return result.in_manifest and result.older_of is None


def _is_gone(result: Result) -> bool:
    """Whether it is a job of an earlier manifest only."""
    return not result.in_manifest and result.older_of is None and result.final_of is None


def _newest(results: Mapping[str, Result], saved: Iterable[Result]) -> list[Result]:
    """Return the newest saved result of each job of the manifest: its own, else its last older take."""
    takes = {each.older_of: each for each in saved if each.older_of is not None}
    jobs = [each for each in results.values() if _is_current(each) and each.final_of is None]
    found = (each if each.state == State.SAVED else takes.get(each.name) for each in jobs)
    return [each for each in found if each is not None]


def _awaited(result: Result, results: Mapping[str, Result]) -> str | None:
    """Return the job of an older take that is exported because the newest is not saved; else None."""
    job = results.get(result.older_of or "")
    return None if job is None or job.state == State.SAVED else job.name


def _finals(saved: Iterable[Result], picks: Mapping[TaskIds, Pick]) -> dict[str, Result]:
    """Return the newest final of each take, without rejected ones, by the name of the take."""
    made = [each for each in saved if each.final_of is not None and _choice(each, picks) != "reject"]
    older, newest = (
        [each for each in made if (each.older_of is None) is is_newest] for is_newest in (False, True)
    )
    return {str(each.final_of): each for each in (*older, *newest)}


def _outdated(
    finals: Iterable[Result], newest: Iterable[Result], results: Mapping[str, Result]
) -> Iterator[str]:
    """Yield the finals of takes whose jobs have newer takes."""
    names = {each.name for each in newest}
    for final in finals:
        take = results.get(final.final_of or "")
        if _is_current(final) and take is not None and take.name not in names:
            yield final.name


def _in_order(wanted: Iterable[Result], results: Mapping[str, Result]) -> list[Result]:
    """Return results in the order of the manifest's lines; a take and a final are where their job is."""
    places = {name: (_line(each), place) for place, (name, each) in enumerate(results.items())}

    def place(result: Result) -> tuple[tuple[int, int], tuple[int, int]]:
        take = results.get(result.final_of or "", result)
        own = places[take.name]
        return places.get(take.older_of or take.name, own), own

    return sorted(wanted, key=place)


def _line(result: Result) -> int:
    line = result.fields.get("line")
    return line if isinstance(line, int) else 0


def shots_of(result: Result) -> Iterator[Shot]:
    """Yield its clips or, if it has none, its pictures; so a clip's last frame is not exported."""
    clips = [file for file in result.files if suffix(file) in CLIPS]
    pictures = [file for file in result.files if suffix(file) in PICTURES]
    prompt, seed = result.fields.get("prompt"), result.fields.get("seed")
    for file in clips or pictures:
        yield Shot(
            name=result.name,
            file=file,
            is_clip=bool(clips),
            model=result.model,
            prompt=prompt if isinstance(prompt, str) else "",
            seed=seed if isinstance(seed, int) and not isinstance(seed, bool) else None,
            task_ids=result.task_ids,
        )


def suffix(file: str) -> str:
    """Return the suffix of a file name, in lower case."""
    return posixpath.splitext(file)[1].lower()

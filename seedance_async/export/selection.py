"""The choice of what a batch hands over: which jobs, which of their files, in which order.

What is kept in a review is handed over, and only that. Where nothing is kept, the newest saved result of each
job is, but of those that were rejected or that are gone from the manifest. Where a newer take is under way
or has failed, that is the one before it. A pick is of tasks, not of a name: a job that was made anew since
was not looked at.

A final stands in the place of the take that it was made of, unless it was rejected. What the manifest asks
for by itself is nobody's final.

The order is that of ``results.jsonl``, which is that of the manifest; a take that was kept, and a final,
stand where their job does.

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
    """One file of a job, to be handed over.

    Attributes:
        name: of the job.
        file: below the batch's directory, with ``/``.
        is_clip: a clip, else a picture.
        model: the API's word for it.
        prompt: what was asked for.
        seed: that the server says it has used; None if it says none.
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
    """What is handed over.

    Attributes:
        shots: in their order.
        kept: whether they are what was kept in a review.
        unsaved: names of jobs that have no files yet, or never will.
        earlier: takes that are handed over because a newer one is not there: each with the name of its job,
            and with the state of the newer one.
        parted: names of finals that are left out, because the job of their take was made anew since.
        rejected: how many saved jobs a review has left out.
        gone: how many saved jobs are left out because they are not in the manifest any more.
    """

    shots: tuple[Shot, ...]
    kept: bool = False
    unsaved: tuple[str, ...] = ()
    earlier: tuple[tuple[str, str, str], ...] = ()
    parted: tuple[str, ...] = ()
    rejected: int = 0
    gone: int = 0

    @property
    def clips(self) -> tuple[Shot, ...]:
        """Those that have a length."""
        return tuple(shot for shot in self.shots if shot.is_clip)


def select(results: Mapping[str, Result], picks: Mapping[TaskIds, Pick]) -> Selection:
    """What is handed over of a batch.

    Args:
        results: by the names of the jobs, in their order.
        picks: what was decided in a review, by the tasks.
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
        unsaved=tuple(_unsaved(results, beside=jobs.values())),
        earlier=tuple((take, job, results[job].state) for take, job in jobs.items()),
    )
    if kept:
        return selection
    return evolve(
        selection,
        parted=tuple(_parted(finals.values(), newest, results)),
        rejected=len(newest) - len(wanted),
        gone=sum(_is_gone(each) and _choice(each, picks) != "reject" for each in saved),
    )


def _unsaved(results: Mapping[str, Result], beside: Collection[str]) -> Iterator[str]:
    """The jobs of which nothing is handed over, as they have not been saved yet."""
    for name, each in results.items():
        if _is_current(each) and each.state != State.SAVED and name not in beside:
            yield name


def _choice(result: Result, picks: Mapping[TaskIds, Pick]) -> str | None:
    """What was decided about a result as it stands now."""
    pick = picks.get(result.task_ids)
    return pick.pick if pick is not None else None


def _is_current(result: Result) -> bool:
    """Whether it is a job of the manifest, with its newest result, or the newest final of one."""
    return result.in_manifest and result.older_of is None


def _is_gone(result: Result) -> bool:
    """Whether it is a job that stood in an earlier manifest only."""
    return not result.in_manifest and result.older_of is None and result.final_of is None


def _newest(results: Mapping[str, Result], saved: Iterable[Result]) -> list[Result]:
    """The newest saved result of each job of the manifest: its own, else the last of its older takes."""
    takes = {each.older_of: each for each in saved if each.older_of is not None}
    jobs = [each for each in results.values() if _is_current(each) and each.final_of is None]
    found = (each if each.state == State.SAVED else takes.get(each.name) for each in jobs)
    return [each for each in found if each is not None]


def _awaited(result: Result, results: Mapping[str, Result]) -> str | None:
    """The job that an older take is handed over of because its newest result is not there; else None."""
    job = results.get(result.older_of or "")
    return None if job is None or job.state == State.SAVED else job.name


def _finals(saved: Iterable[Result], picks: Mapping[TaskIds, Pick]) -> dict[str, Result]:
    """The newest final of each take that has one, which was not rejected; by the name of the take."""
    made = [each for each in saved if each.final_of is not None and _choice(each, picks) != "reject"]
    older, newest = (
        [each for each in made if (each.older_of is None) is is_newest] for is_newest in (False, True)
    )
    return {str(each.final_of): each for each in (*older, *newest)}


def _parted(
    finals: Iterable[Result], newest: Iterable[Result], results: Mapping[str, Result]
) -> Iterator[str]:
    """The finals of takes whose jobs were made anew since."""
    names = {each.name for each in newest}
    for final in finals:
        take = results.get(final.final_of or "")
        if _is_current(final) and take is not None and take.name not in names:
            yield final.name


def _in_order(wanted: Iterable[Result], results: Mapping[str, Result]) -> list[Result]:
    """Results in the order of the manifest's lines; a take and a final stand where their job does."""
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
    """Its clips; where it has none, its pictures. A clip's last frame is no picture of its own."""
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
    """How a file's name ends, in lower case."""
    return posixpath.splitext(file)[1].lower()

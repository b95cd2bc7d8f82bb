"""The choice of what a batch hands over: which jobs, which of their files, in which order.

What is kept in a review is handed over, and only that. Where nothing is kept, every saved job is but those
that were rejected, that are gone from the manifest, or that are older results of another. A pick is of tasks,
not of a name: a job that was made anew since was not looked at.

The order is that of ``results.jsonl``, which is that of the manifest; a take that was kept stands where its
job does.

Pure.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from attrs import frozen

from seedance_async.batch.gallery import CLIPS, PICTURES
from seedance_async.batch.states import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

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
        rejected: how many saved jobs a review has left out.
        gone: how many saved jobs are left out because they are not in the manifest any more.
    """

    shots: tuple[Shot, ...]
    kept: bool = False
    unsaved: tuple[str, ...] = ()
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
    current = [result for result in saved if _is_current(result)]
    wanted = kept or [result for result in current if _choice(result, picks) != "reject"]
    return Selection(
        shots=tuple(shot for result in _in_order(wanted, results) for shot in shots_of(result)),
        kept=bool(kept),
        unsaved=tuple(
            name for name, each in results.items() if _is_current(each) and each.state != State.SAVED
        ),
        rejected=0 if kept else len(current) - len(wanted),
        gone=0 if kept else sum(_is_gone(each) and _choice(each, picks) != "reject" for each in saved),
    )


def _choice(result: Result, picks: Mapping[TaskIds, Pick]) -> str | None:
    """What was decided about a result as it stands now."""
    pick = picks.get(result.task_ids)
    return pick.pick if pick is not None else None


def _is_current(result: Result) -> bool:
    """Whether it is a job of the manifest, with its newest result."""
    return result.in_manifest and result.older_of is None


def _is_gone(result: Result) -> bool:
    """Whether it is a job that stood in an earlier manifest only."""
    return not result.in_manifest and result.older_of is None


def _in_order(wanted: Iterable[Result], results: Mapping[str, Result]) -> list[Result]:
    """Results in the order of the manifest's lines; a take stands where its job does."""
    places = {name: (_line(each), place) for place, (name, each) in enumerate(results.items())}

    def place(result: Result) -> tuple[tuple[int, int], tuple[int, int]]:
        own = places[result.name]
        return places.get(result.older_of or result.name, own), own

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

"""The choice of what a batch hands over: which jobs, which of their files, in which order.

What is kept in ``picks.jsonl`` is handed over, and only that; where nothing is kept, every saved job is but
those that were rejected, older takes (``NAME-take-1``) and what was made before its line was edited
(``NAME-before-edit``). A pick is of tasks, not of a name: a job that was made anew since was not looked at.

The order is that of ``results.jsonl``, which is that of the manifest; a take that was kept stands where its
job does.

Pure.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from attrs import field, frozen

CLIPS: Final = frozenset({".mp4", ".webm", ".mov", ".mkv"})
PICTURES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif", ".heic", ".heif"})

_SET_ASIDE: Final = re.compile(r"(?P<name>.+?)-(?:take-[0-9]+|before-edit(?:-[0-9]+)?)", re.DOTALL)


@frozen(kw_only=True)
class Shot:
    """One file of a job, to be handed over.

    Attributes:
        name: of the job.
        file: below the batch's directory, with ``/``.
        is_clip: a clip, else a picture.
        model: the API's word for it.
        prompt: what was asked for.
        seed: that was asked for; None if none was.
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
    """

    shots: tuple[Shot, ...]
    kept: bool = False
    unsaved: tuple[str, ...] = ()
    rejected: int = 0

    @property
    def clips(self) -> tuple[Shot, ...]:
        """Those that have a length."""
        return tuple(shot for shot in self.shots if shot.is_clip)


@frozen
class Picks:
    """What was decided in a review; the last word on the same tasks counts.

    Attributes:
        by_tasks: ``keep`` or ``reject``, by the ids of a job's tasks.
        by_name: the same, of picks that name no task.
    """

    by_tasks: Mapping[frozenset[str], str] = field(factory=dict)
    by_name: Mapping[str, str] = field(factory=dict)

    def of(self, job: Mapping[str, object]) -> str | None:
        """What was decided about a job as it stands now."""
        tasks = frozenset(_texts(job.get("task_ids")))
        return self.by_tasks.get(tasks) or self.by_name.get(_text(job.get("name")))


def read_picks(lines: Iterable[object]) -> Picks:
    """Picks from the objects of ``picks.jsonl``; what is no pick is passed over."""
    by_tasks: dict[frozenset[str], str] = {}
    by_name: dict[str, str] = {}
    for line in lines:
        if not isinstance(line, Mapping) or line.get("pick") not in ("keep", "reject"):
            continue
        pick, tasks = str(line["pick"]), frozenset(_texts(line.get("task_ids")))
        if tasks:
            by_tasks[tasks] = pick
        elif name := _text(line.get("name")):
            by_name[name] = pick
    return Picks(by_tasks, by_name)


def select(results: Iterable[Mapping[str, object]], picks: Picks) -> Selection:
    """What is handed over of a batch.

    Args:
        results: the objects of ``results.jsonl``; of one name the last counts, in the place of the first.
        picks: what was decided in a review.
    """
    jobs = {_text(result.get("name")): result for result in results}
    verdicts = {name: picks.of(job) for name, job in jobs.items() if job.get("state") == "saved"}
    current = dict.fromkeys(name for name in jobs if _base(name, jobs) == name)
    wanted = _wanted(verdicts, current)
    kept = "keep" in verdicts.values()
    return Selection(
        shots=tuple(_shots_of(_in_order(wanted, jobs), jobs)),
        kept=kept,
        unsaved=tuple(name for name in current if name not in verdicts),
        rejected=0 if kept else len(verdicts.keys() & current.keys()) - len(wanted),
    )


def _wanted(verdicts: Mapping[str, str | None], current: Collection[str]) -> list[str]:
    """Of the saved jobs, those that were kept; where none was, those of now that were not rejected."""
    kept = [name for name, verdict in verdicts.items() if verdict == "keep"]
    return kept or [name for name, verdict in verdicts.items() if name in current and verdict != "reject"]


def _shots_of(names: Iterable[str], jobs: Mapping[str, Mapping[str, object]]) -> Iterable[Shot]:
    return (shot for name in names for shot in _shots(name, jobs[name]))


def _in_order(names: Iterable[str], jobs: Mapping[str, object]) -> list[str]:
    """Names in the order of the results; a take stands where its job does."""
    places = {name: place for place, name in enumerate(jobs)}
    return sorted(names, key=lambda name: (places[_base(name, jobs)], places[name]))


def _base(name: str, jobs: Mapping[str, object]) -> str:
    """The job that a take, or what was made before an edit, belongs to; else the name itself."""
    found = _SET_ASIDE.fullmatch(name)
    return found["name"] if found and found["name"] in jobs else name


def _shots(name: str, job: Mapping[str, object]) -> Iterable[Shot]:
    """A job's clips; where it has none, its pictures. A clip's last frame is no picture of its own."""
    files = _texts(job.get("files"))
    clips = [file for file in files if suffix(file) in CLIPS]
    pictures = [file for file in files if suffix(file) in PICTURES]
    seed = job.get("seed")
    for file in clips or pictures:
        yield Shot(
            name=name,
            file=file,
            is_clip=bool(clips),
            model=_text(job.get("model")),
            prompt=_text(job.get("prompt")),
            seed=seed if isinstance(seed, int) and not isinstance(seed, bool) else None,
            task_ids=tuple(_texts(job.get("task_ids"))),
        )


def suffix(file: str) -> str:
    """How a file's name ends, in lower case."""
    return posixpath.splitext(file)[1].lower()


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> Sequence[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []

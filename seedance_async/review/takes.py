"""The takes of a batch as the review page shows them: results joined with picks. Pure.

Their texts are untrusted; they go to the page as JSON, and the page inserts them as text. URLs of outputs and
inputs are left out, because they may be signed.
"""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from attrs import frozen

from seedance_async.batch.gallery import CLIPS, PICTURES
from seedance_async.batch.picks import MOST_NOTE_CHARACTERS, Choice, Pick, TaskIds, is_choice
from seedance_async.batch.results_reading import Result, first_name, texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SHOWN_FIELDS: Final = (
    "quality_tier",
    "channel",
    "resolution",
    "aspect_ratio",
    "image_size",
    "duration",
    "seed",
)
"""Fields of a request in which takes can differ."""

MANY_REJECTED: Final = 3
"""Number of rejected takes of one shot from which the page suggests to change the prompt."""


@frozen(kw_only=True)
class Change:
    """A change of a take's pick or note; ``sets_pick`` distinguishes a pick of None from no pick."""

    name: str
    task_ids: TaskIds
    sets_pick: bool = False
    pick: Choice | None = None
    note: str | None = None


def document(
    results: Mapping[str, Result], picks: Mapping[TaskIds, Pick], *, directory: str
) -> dict[str, object]:
    """Return everything that the page shows.

    Args:
        results: by the jobs' names.
        picks: by the takes' task ids.
        directory: as named on the command line, for the commands.
    """
    return {
        "directory": directory,
        "takes": list(_takes(results, picks)),
        "commands": {
            "reroll": _command(directory, "--reroll", "rejected", "--takes", "1"),
            "finish": _command(directory, "--finish", "kept", "--set", "FIELD=VALUE"),
        },
    }


def change(body: object) -> Change:
    """Return the change that the body of a request asks for.

    Raises:
        ValueError: the body is not valid; the message says why.
    """
    if not isinstance(body, dict):
        raise ValueError("the body must be an object")  # noqa: TRY004 - foreign data
    name, ids = body.get("name"), texts(body.get("task_ids"))
    if not isinstance(name, str) or not ids:
        raise ValueError("the body must have a name and task_ids")
    return _change(name, ids, {key: body[key] for key in body.keys() - {"name", "task_ids"}})


def is_media(file: str) -> bool:
    """Whether a file is a clip or a picture, by its name."""
    return _kind(file) != ""


def _change(name: str, task_ids: TaskIds, others: Mapping[str, object]) -> Change:
    if not others or others.keys() - {"pick", "note"}:
        raise ValueError("the body must have pick or note, or both, and nothing else")
    pick, note = others.get("pick"), others.get("note")
    if not is_choice(pick):
        raise ValueError("pick must be keep, reject or null")
    if note is not None and (not isinstance(note, str) or len(note) > MOST_NOTE_CHARACTERS):
        raise ValueError(f"note must be text of at most {MOST_NOTE_CHARACTERS:,} characters")
    return Change(name=name, task_ids=task_ids, sets_pick="pick" in others, pick=pick, note=note)


def _takes(results: Mapping[str, Result], picks: Mapping[TaskIds, Pick]) -> Iterator[dict[str, object]]:
    """Yield the takes, those of one shot next to each other, with shots in the order of the results."""
    shots: dict[str, list[Result]] = {}
    for name, result in results.items():
        shots.setdefault(first_name(name, results), []).append(result)
    for shot, takes in shots.items():
        rejected = Counter(picks[each.task_ids].pick for each in takes if each.task_ids in picks)["reject"]
        for each in takes:
            yield _take(each, picks.get(each.task_ids)) | {
                "shot": shot,
                "takes": len(takes),
                "many_rejected": rejected if rejected >= MANY_REJECTED else 0,
            }


def _take(result: Result, pick: Pick | None) -> dict[str, object]:
    fields = result.fields
    return {
        "name": result.name,
        "task_ids": result.task_ids,
        "model": result.model,
        "state": result.state,
        "prompt": fields["prompt"] if isinstance(fields.get("prompt"), str) else "",
        "credits_used": result.credits_used,
        "credits_refunded": result.credits_refunded,
        "error": result.error,
        "files": [{"path": file, "kind": _kind(file)} for file in result.files if is_media(file)],
        "facts": {name: _fact(fields[name]) for name in SHOWN_FIELDS if fields.get(name) is not None},
        "pick": pick.pick if pick else None,
        "note": pick.note if pick else "",
        "at": pick.at if pick else "",
    }


def _fact(value: object) -> str:
    return str(value)[:100]


def _kind(file: str) -> str:
    suffix = PurePosixPath(file).suffix.lower()
    return "clip" if suffix in CLIPS else "picture" if suffix in PICTURES else ""


def _command(directory: str, *words: str) -> str:
    return shlex.join(["seedance", "batch", "MANIFEST", "-o", directory, *words])


def listed_files(results: Iterable[Result]) -> set[str]:
    """Return the clips and pictures of all results, as they are listed."""
    return {file for result in results for file in result.files if is_media(file)}

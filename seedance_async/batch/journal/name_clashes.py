"""Messages for lines of a manifest that have the same name, or would have the same result. Pure."""

from __future__ import annotations


class ResultTakenError(Exception):
    """Another line of the manifest stands already for the one result that a line asks for; says which."""


def used_twice(name: str, other: str, where: str) -> str:
    """Why a line cannot have a name that another line has."""
    if name == other:
        same = f"{name!r:.80} is the name of the job at {where} too"
    else:
        same = f"{name!r:.80} is the name of the job at {where} too, as {other!r:.80} (other letter case)"
    return f"{same}; each job needs its own, because files are named after it"


def same_result(name: str, other: str, where: str) -> str:
    """Why a line cannot have a name that another one's job had when it was made."""
    return (
        f"{name!r:.80} is what {other!r:.80}, at {where}, was called before, and both ask for the same: one "
        "result is there for them. Leave one out, or give it a name that is new, and it is made for itself"
    )

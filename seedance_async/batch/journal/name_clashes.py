"""The messages for two lines of a manifest with the same name or the same result. Pure."""

from __future__ import annotations


class ResultTakenError(Exception):
    """The result that a line asks for belongs to another line of the manifest, which the message names."""


def used_twice(name: str, other: str, where: str) -> str:
    """Return the message for a line whose name another line has."""
    if name == other:
        same = f"{name!r:.80} is the name of the job at {where} too"
    else:
        same = f"{name!r:.80} is the name of the job at {where} too, as {other!r:.80} (other letter case)"
    return f"{same}; each job needs its own, because files are named after it"


def same_result(name: str, other: str, where: str) -> str:
    """Return the message for a line whose name and request are those that another line's job had before."""
    return (
        f"{name!r:.80} is the former name of {other!r:.80}, at {where}, and both ask for the same: there is "
        "only one result for them. Leave one out, or give it a new name, and it is made separately"
    )

"""The canaries of one run: of each kind one job goes alone, and the others wait for what comes of it.

    unproven ──sent──> out ──saved, as asked──> proven
      ^                 │ └──saved, otherwise─> mismatch: the run stops
      └──not made───────┤
                        └──no known end──────> held: nothing more of the kind is sent in this run

A canary that failed or was refused says nothing about what is delivered, so the next job of its kind is the
canary. One whose outcome is unknown may be paid, or become it: nothing is paid beside it, and the next run
asks for it again. What is saved already, by whatever run, is not paid for once more: of it the newest result
is the canary, as it shows what is delivered now. An older take, or a job that is gone, shows nothing: it was
made anew, or is not wanted. And a mismatch stops a run only if there is something of its kind to be sent.

Where the delivery is accepted, one job still goes alone, but nothing stops or holds the others.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from attrs import define, field

from seedance_async.errors import CanaryError
from seedance_async.models import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable


SHOWN: Final = 5
"""Canaries that are named in a message."""


@define
class Canaries:
    """Which kinds are proven, and what is under way to prove others.

    Attributes:
        is_on: whether there are canaries at all; else everything is let through.
        accepts: whether a mismatch stops nothing.
    """

    is_on: bool = False
    accepts: bool = False
    _proven: set[Kind] = field(factory=set, init=False)
    _out: dict[int, Kind] = field(factory=dict, init=False)
    _held: dict[Kind, str] = field(factory=dict, init=False)
    _mismatches: list[str] = field(factory=list, init=False)
    _found: dict[Kind, Sequence[str]] = field(factory=dict, init=False)
    _judged: int = field(default=0, init=False)

    def lets(self, kind: Kind) -> bool:
        """Whether a job of this kind may be sent now."""
        return self.is_proven(kind) or not (kind in self._held or kind in self._out.values())

    def is_proven(self, kind: Kind) -> bool:
        """Whether jobs of this kind need not go alone."""
        return not self.is_on or kind in self._proven

    @property
    def are_out(self) -> bool:
        """Whether the end of a canary is awaited."""
        return bool(self._out)

    @property
    def error(self) -> CanaryError | None:
        """What is told of the mismatches; None while there are none that stop the run."""
        if not self._mismatches or self.accepts:
            return None
        more = len(self._mismatches) - SHOWN
        shown = "; ".join(self._mismatches[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
        count = "1 canary" if self._judged == 1 else f"{self._judged} canaries"
        error = CanaryError(f"after {count}: {shown}")
        error.mismatches = tuple(self._mismatches)
        return error

    def holding(self, kinds: Iterable[Kind]) -> CanaryError | None:
        """Why nothing of these kinds can be sent; None if one of them can."""
        waiting = set(kinds)
        if any(map(self.lets, waiting)):
            return None
        reasons = [self._held[kind] for kind in self._held if kind in waiting]
        return CanaryError("; ".join(reasons[:SHOWN])) if reasons else None

    def sent(self, number: int, kind: Kind) -> None:
        """A job is handed out; of a kind that is not proven, it is a canary."""
        if not self.is_proven(kind):
            self._out[number] = kind

    def is_out(self, number: int) -> bool:
        """Whether a job is a canary that is under way."""
        return number in self._out

    def not_made(self, number: int) -> None:
        """A canary failed, was refused or was not sent after all: another one takes its place."""
        self._out.pop(number, None)

    def held(self, number: int, reason: str) -> None:
        """A canary has no end that is known in this run."""
        kind = self._out.pop(number, None)
        if kind is not None and not self.accepts:
            self._held[kind] = reason

    def found(self, kind: Kind, problems: Sequence[str]) -> None:
        """What earlier runs have saved is judged; a mismatch counts once something of the kind is to be sent.

        Args:
            kind: of its work.
            problems: in how far it is not what was asked for; none if it is.
        """
        if self.accepts or not problems:
            self._judged += 1
            self._judge(kind, problems)
        else:
            self._found[kind] = problems

    def wanted(self, kind: Kind) -> None:
        """A job of this kind is to be sent."""
        if kind in self._found:
            self._judged += 1
            self._judge(kind, self._found.pop(kind))

    def judged(self, number: int, kind: Kind, problems: Sequence[str]) -> None:
        """A canary is saved, measured and priced.

        Args:
            number: of the job.
            kind: of its work.
            problems: in how far it is not what was asked for; none if it is.
        """
        self._out.pop(number, None)
        self._judged += 1
        self._judge(kind, problems)

    def _judge(self, kind: Kind, problems: Sequence[str]) -> None:
        self._mismatches += problems
        if self.accepts or not problems:
            self._proven.add(kind)
            self._held.pop(kind, None)

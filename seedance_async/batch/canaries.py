"""The canaries of one run: one job of each kind is sent alone, and the others wait for its result.

    unproven ──sent──> out ──saved, as asked──> proven
      ^                 │ └──saved, otherwise─> mismatch: the run stops
      └──not made───────┤
                        └──no known end──────> held: nothing more of the kind is sent in this run

If a canary failed or was refused, nothing is known about the delivery, and the next job of its kind becomes
the canary. If its outcome is unknown, it may be paid: nothing else of its kind is sent, and the next run
replays or polls it. If a result of the kind is saved already, by any run, the newest one serves as the canary
and no other is paid. Older takes and jobs removed from the manifest do not count. A mismatch stops a run only
if there is something of its kind to be sent.

If the delivery is accepted (``accepts``), one job still goes alone, but no mismatch stops or holds the
others.

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
"""Most canaries that are named in a message."""


@define
class Canaries:
    """The kinds that are proven, and the canaries that are under way.

    Attributes:
        is_on: whether canaries are used; if not, every job may be sent.
        accepts: whether mismatches are accepted and do not stop the run.
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
        """Whether jobs of this kind need not be sent alone."""
        return not self.is_on or kind in self._proven

    @property
    def are_out(self) -> bool:
        """Whether a canary is under way."""
        return bool(self._out)

    @property
    def error(self) -> CanaryError | None:
        """The error that reports the mismatches; None while there are none that stop the run."""
        if not self._mismatches or self.accepts:
            return None
        more = len(self._mismatches) - SHOWN
        shown = "; ".join(self._mismatches[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
        count = "1 canary" if self._judged == 1 else f"{self._judged} canaries"
        error = CanaryError(f"after {count}: {shown}")
        error.mismatches = tuple(self._mismatches)
        return error

    def holding(self, kinds: Iterable[Kind]) -> CanaryError | None:
        """Return why nothing of these kinds can be sent; None if one of them can."""
        waiting = set(kinds)
        if any(map(self.lets, waiting)):
            return None
        reasons = [self._held[kind] for kind in self._held if kind in waiting]
        return CanaryError("; ".join(reasons[:SHOWN])) if reasons else None

    def sent(self, number: int, kind: Kind) -> None:
        """Note that a job is sent; if its kind is not proven, the job is a canary."""
        if not self.is_proven(kind):
            self._out[number] = kind

    def is_out(self, number: int) -> bool:
        """Whether a job is a canary that is under way."""
        return number in self._out

    def not_made(self, number: int) -> None:
        """Note that a canary failed, was refused or was not sent: another job takes its place."""
        self._out.pop(number, None)

    def held(self, number: int, reason: str) -> None:
        """Note that a canary's outcome will not be known in this run."""
        kind = self._out.pop(number, None)
        if kind is not None and not self.accepts:
            self._held[kind] = reason

    def found(self, kind: Kind, problems: Sequence[str]) -> None:
        """Note the judgement of a saved result; a mismatch counts once a job of its kind is to be sent.

        Args:
            kind: its kind.
            problems: the differences from what was asked for; empty if there are none.
        """
        if self.accepts or not problems:
            self._judged += 1
            self._judge(kind, problems)
        else:
            self._found[kind] = problems

    def wanted(self, kind: Kind) -> None:
        """Note that a job of this kind is to be sent."""
        if kind in self._found:
            self._judged += 1
            self._judge(kind, self._found.pop(kind))

    def judged(self, number: int, kind: Kind, problems: Sequence[str]) -> None:
        """Note the judgement of a canary that is saved and measured.

        Args:
            number: the number of its job.
            kind: its kind.
            problems: the differences from what was asked for; empty if there are none.
        """
        self._out.pop(number, None)
        self._judged += 1
        self._judge(kind, problems)

    def _judge(self, kind: Kind, problems: Sequence[str]) -> None:
        self._mismatches += problems
        if self.accepts or not problems:
            self._proven.add(kind)
            self._held.pop(kind, None)

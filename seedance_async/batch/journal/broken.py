"""The invalid lines of a manifest: they are no jobs, but their names and links are checked. Pure."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from seedance_async.filenames import fold
from seedance_async.models import Link

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@frozen
class Broken:
    """An invalid line of a manifest.

    Attributes:
        line: its number, from 1.
        name: the job name in it; None if it has no valid one.
        model: its model; None if that cannot be read.
        links: its links to other jobs, each with its field.
    """

    line: int
    name: str | None
    model: str | None = None
    links: tuple[tuple[str, Link], ...] = ()


@define
class BrokenLines:
    """The invalid lines of a manifest that were read so far.

    Attributes:
        linked: those that have links.
    """

    linked: list[Broken] = field(factory=list[Broken])
    _named: dict[str, Broken] = field(factory=dict[str, Broken])

    def __bool__(self) -> bool:
        return bool(self._named)

    def add(self, broken: Broken, *, is_named: bool = True) -> None:
        """Add a line; ``is_named`` is False if another line has its name already."""
        if broken.links:
            self.linked.append(broken)
        if is_named and broken.name is not None:
            self._named[fold(broken.name)] = broken

    def get(self, name: str) -> Broken | None:
        """Return the line with this name, compared without case; None if there is none."""
        return self._named.get(fold(name))

    def names(self) -> list[str]:
        """Return the names of all lines that have one."""
        return [str(each.name) for each in self._named.values()]

    def in_cycles(self, sources: Mapping[str, set[str]]) -> Iterator[tuple[Broken, list[str]]]:
        """Yield, for each cycle that contains invalid lines, the first of these and the cycle's folded names.

        Args:
            sources: by folded name of a job, the folded names of the jobs that its links name.
        """
        graph = dict(sources)
        while True:
            try:
                TopologicalSorter(graph).prepare()
            except CycleError as cycle:
                *ring, _ = reversed(cycle.args[1])
                if broken := _first([self._named[name] for name in ring if name in self._named]):
                    start = ring.index(fold(str(broken.name)))
                    yield broken, [*ring[start:], *ring[: start + 1]]
                for name in ring:
                    graph.pop(name, None)
            else:
                return


def _first(lines: Sequence[Broken]) -> Broken | None:
    return min(lines, key=lambda each: each.line, default=None)

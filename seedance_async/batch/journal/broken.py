"""The lines of a manifest in which something is wrong: no jobs, but their names and links count. Pure."""

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
    """A line that stands for no job because something is wrong in it.

    Attributes:
        line: where it stands, from 1.
        name: of the job that it should be; None where it has none that can be used.
        model: as far as that can be read.
        links: to other jobs, each with its field.
    """

    line: int
    name: str | None
    model: str | None = None
    links: tuple[tuple[str, Link], ...] = ()


@define
class BrokenLines:
    """All lines of a manifest in which something is wrong, so far.

    Attributes:
        linked: those that take what others make.
    """

    linked: list[Broken] = field(factory=list[Broken])
    _named: dict[str, Broken] = field(factory=dict[str, Broken])

    def __bool__(self) -> bool:
        return bool(self._named)

    def add(self, broken: Broken, *, is_named: bool = True) -> None:
        """Take in one; ``is_named`` unless its name is another line's."""
        if broken.links:
            self.linked.append(broken)
        if is_named and broken.name is not None:
            self._named[fold(broken.name)] = broken

    def get(self, name: str) -> Broken | None:
        """The line that has a name, in whatever letter case."""
        return self._named.get(fold(name))

    def names(self) -> list[str]:
        """Of all that have one."""
        return [str(each.name) for each in self._named.values()]

    def in_cycles(self, sources: Mapping[str, set[str]]) -> Iterator[tuple[Broken, list[str]]]:
        """The first line of each cycle that such lines are part of, and the folded names around it.

        Args:
            sources: by folded name of a job, those that it takes something of.
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

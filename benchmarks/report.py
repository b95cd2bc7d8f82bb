"""The tables of a benchmark, printed for people and written as JSON for programs."""

from __future__ import annotations

from enum import Enum
from itertools import chain

import attrs
from attrs import frozen

Value = str | int | float | None


class Size(Enum):
    """How much a benchmark measures: in a minute, in some minutes, or as ``results.json`` has it."""

    QUICK = "quick"
    USUAL = "usual"
    FULL = "full"


@frozen(kw_only=True)
class Table:
    """One table of figures.

    Attributes:
        conditions: under which they were taken, in words.
        rows: a value for every column; None where there is no figure.
    """

    name: str
    conditions: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]

    def render(self) -> str:
        """The table as text, figures to the right."""
        cells = [self.columns, *(tuple(map(_shown, row)) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(_padded(cell, width) for cell, width in zip(row, widths, strict=True)) for row in cells
        ]
        rule = "-" * max(map(len, lines))
        return "\n".join(
            chain((self.name, self.conditions, "", lines[0].rstrip(), rule), map(str.rstrip, lines[1:]))
        )

    def as_json(self) -> dict[str, object]:
        """The table as JSON types."""
        return attrs.asdict(self)


def _shown(value: Value) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _padded(cell: str, width: int) -> str:
    return cell.rjust(width) if _is_figure(cell) else cell.ljust(width)


def _is_figure(cell: str) -> bool:
    return not set(cell) - set("0123456789.-! ")

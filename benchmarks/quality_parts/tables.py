"""Tables of figures: as Markdown for people, as plain values for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.quality_parts.metrics import Estimate

Cell = Estimate | float | int | str
UNDEFINED = "not reached"


@dataclass(frozen=True, slots=True)
class Table:
    """One table.

    Attributes:
        title: what was measured on what.
        columns: names of the figures.
        rows: name of each row with its cells. Fewer cells than columns say in words why there are no figures.
        notes: sentences below the table.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    notes: tuple[str, ...] = ()


def markdown(table: Table) -> str:
    """The table as Markdown, its title as a heading."""
    lines = [f"### {table.title}", "", _line(("", *table.columns)), "|---" * (len(table.columns) + 1) + "|"]
    lines += [_line((name, *map(text_of, _padded(cells, len(table.columns))))) for name, cells in table.rows]
    if table.notes:
        lines += ["", *(f"- {note}" for note in table.notes)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _padded(cells: Sequence[Cell], count: int) -> list[Cell]:
    return [*cells, *[""] * (count - len(cells))]


def text_of(cell: Cell) -> str:
    """A cell as text: three places, the interval in brackets."""
    match cell:
        case str():
            return cell
        case int():
            return f"{cell:,}"
        case float():
            return f"{cell:.1f}"
        case Estimate():
            if math.isnan(cell.value):
                return UNDEFINED
            return f"{cell.value:.3f} [{cell.low:.3f}, {cell.high:.3f}]"


def record(table: Table) -> dict[str, object]:
    """The table as JSON can hold it: an estimate as value, low, high; `null` where it is not defined."""
    return {
        "title": table.title,
        "columns": list(table.columns),
        "rows": [{"name": name, "cells": [_plain(cell) for cell in cells]} for name, cells in table.rows],
        "notes": list(table.notes),
    }


def _plain(cell: Cell) -> object:
    if isinstance(cell, Estimate):
        if math.isnan(cell.value):
            return None
        return {"value": cell.value, "low": cell.low, "high": cell.high}
    return cell

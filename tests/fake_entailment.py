"""An entailment model for tests: what it says of two sentences is a table, and what it was asked is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from core.adapters.manual_clock import ManualClock

Scores = tuple[float, float, float]
NEUTRAL: Scores = (0.0, 1.0, 0.0)
CONTRADICTS: Scores = (0.0, 0.04, 0.96)
FOLLOWS: Scores = (0.97, 0.03, 0.0)


class TableModel:
    """Says what the table has for premise and hypothesis, in this direction; else `otherwise`.

    Args:
        table: scores by premise and hypothesis.
        otherwise: what it says of any other pair.
        clock: moved on by `seconds` with each call, where one is given.
        seconds: what a call takes, however many pairs there are.

    Attributes:
        calls: the pairs of each call.
    """

    version = "table-1"

    def __init__(
        self,
        table: Mapping[tuple[str, str], Scores] | None = None,
        *,
        otherwise: Scores = NEUTRAL,
        clock: ManualClock | None = None,
        seconds: float = 0.0,
    ) -> None:
        self._table = table or {}
        self._otherwise = otherwise
        self._clock = clock
        self._seconds = seconds
        self.calls: list[list[tuple[str, str]]] = []

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """All pairs that it was asked about, in order."""
        return [pair for call in self.calls for pair in call]

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """One row a pair."""
        self.calls.append(list(pairs))
        if self._clock is not None:
            self._clock.advance(self._seconds)
        rows = [self._table.get(pair, self._otherwise) for pair in pairs]
        return np.array(rows, dtype=np.float32).reshape(len(pairs), 3)

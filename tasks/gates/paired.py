"""Is one arm as good as the other on the same queries: a paired bootstrap of the mean difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special


@dataclass(frozen=True, slots=True)
class MeanDifference:
    """The mean of paired differences, and how sure it is.

    Attributes:
        mean: of the differences, in the measure's unit.
        error: the standard error, by the bootstrap.
        n: how many pairs there are.
    """

    mean: float
    error: float
    n: int

    def p_below(self, bound: float) -> float:
        """P-value of "the mean is at least `bound`": small where it is below."""
        return self._tail(self.mean - bound)

    def p_above(self, bound: float) -> float:
        """P-value of "the mean is at most `bound`": small where it is above."""
        return self._tail(bound - self.mean)

    def _tail(self, distance: float) -> float:
        if self.error == 0:
            return 1.0 if distance >= 0 else 0.0
        return float(special.ndtr(distance / self.error))


def paired_difference(
    differences: Sequence[float] | NDArray[np.float64], *, seed: int, resamples: int = 2000
) -> MeanDifference:
    """Estimate the mean difference and its error by drawing pairs with replacement.

    The interval is the normal one with the bootstrap's error, because the levels of the gates lie further out than any
    affordable number of draws reaches. Measures of queries take few values, so a draw is one multinomial over them and
    costs the same for a hundred queries and for a million.

    Args:
        differences: one a query, first arm minus second; not empty.
        seed: of the draws: the same data give the same answer.
        resamples: how many draws.

    Raises:
        ValueError: there is no pair.

    Source: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap, 1993, chapters 6 and 13.
    """
    given = np.asarray(differences, dtype=float)
    if not len(given):
        raise ValueError("no pair: expected at least one query that both arms answered")
    values, counts = np.unique(given, return_counts=True)
    error = _error(values.tobytes(), tuple(counts.tolist()), seed, resamples)
    return MeanDifference(float(given.mean()), error, len(given))


@lru_cache(maxsize=16)  # between two looks the gates ask about the same pairs again
def _error(value_bytes: bytes, counts: tuple[int, ...], seed: int, resamples: int) -> float:
    n = sum(counts)
    drawn = np.random.default_rng(seed).multinomial(n, np.array(counts) / n, size=resamples) @ np.frombuffer(
        value_bytes
    )
    return float((drawn / n).std(ddof=1))

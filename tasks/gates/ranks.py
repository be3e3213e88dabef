"""How far one sample lies above another: Mann and Whitney's test with the shift and its interval.

This is what Kayenta judges a canary by, after R's `wilcox.test`; its published vectors are among the tests. It sees a
shift of the whole and misses a change in a few queries: failures are counted (`counts`), and tails are counted too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy import special

_TOLERANCE = 1e-9
_MOST_STEPS = 200


@dataclass(frozen=True, slots=True)
class Shift:
    """How far the first sample lies above the second.

    Attributes:
        estimate: Hodges and Lehmann's: the median of all differences between the two, in the sample's unit.
        low, high: interval of the shift at the confidence that was asked for.
        superiority: the probability that a value of the first is greater than one of the second, ties halved: the
            effect size. 0.5 is none.
        p_greater: one-sided p-value of "the first is not shifted upwards", by the normal approximation with correction
            for ties and continuity.
    """

    estimate: float
    low: float
    high: float
    superiority: float
    p_greater: float


def shift(
    values: Sequence[float] | NDArray[np.float64], others: Sequence[float] | NDArray[np.float64], *, confidence: float
) -> Shift:
    """Compare two samples by ranks.

    Args:
        values: the first sample; not empty.
        others: the second sample; not empty.
        confidence: of the two-sided interval, below 1.

    Raises:
        ValueError: a sample is empty or holds something that is no finite number.

    Source: H. B. Mann and D. R. Whitney, Annals of Mathematical Statistics 18, 1947; J. L. Hodges and E. L. Lehmann,
    the same, 34, 1963; the interval as in R's wilcox.test for large samples.
    """
    first, second = np.sort(np.asarray(values, dtype=float)), np.sort(np.asarray(others, dtype=float))
    if not len(first) or not len(second):
        raise ValueError(f"samples of {len(first)} and {len(second)} values: expected at least one in each")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("a sample holds a value that is no finite number")
    return _shift(first.tobytes(), second.tobytes(), confidence)


@lru_cache(maxsize=8)  # between two looks the gates ask about the same samples again
def _shift(first_bytes: bytes, second_bytes: bytes, confidence: float) -> Shift:
    first, second = np.frombuffer(first_bytes), np.frombuffer(second_bytes)
    if first[0] == first[-1] == second[0] == second[-1]:
        return Shift(0.0, 0.0, 0.0, 0.5, 1.0)
    quantile = NormalDist().inv_cdf((1 + confidence) / 2)
    ties = _Ties.of(first, second)
    above, deviation = _above(first, second, ties)
    pairs = len(first) * len(second)
    z_greater = (above - pairs / 2 - 0.5) / deviation
    return Shift(
        estimate=_root(first, second, ties, 0.0, corrected=False),
        low=_root(first, second, ties, quantile),
        high=_root(first, second, ties, -quantile),
        superiority=above / pairs,
        p_greater=float(special.ndtr(-z_greater)),
    )


@dataclass(frozen=True, slots=True)
class _Ties:
    """What ties within the samples are, which no shift changes.

    Attributes:
        within: the sum of t^3 - t over the ties of t values within either sample.
        alike: for each value of the first sample, how many values of that sample are equal to it.
        deviation: the standard deviation of the count of pairs where no value of the one sample meets one of the other.
    """

    within: float
    alike: NDArray[np.float64]
    deviation: float

    @classmethod
    def of(cls, first: NDArray[np.float64], second: NDArray[np.float64]) -> _Ties:
        counts = [np.unique(sample, return_counts=True)[1].astype(float) for sample in (first, second)]
        within = sum(float((tied**3 - tied).sum()) for tied in counts)
        alike = np.repeat(counts[0], counts[0].astype(int))
        return cls(within, alike, _deviation(len(first), len(second), within))


def _above(first: NDArray[np.float64], second: NDArray[np.float64], ties: _Ties) -> tuple[float, float]:
    """Pairs in which the first is greater, ties halved, and the standard deviation of that count without a shift.

    Where c values of the first sample meet m of the second, the tie of all of them is (c + m)^3 - (c + m): what both
    have alone, and 3 c m (c + m), which is 3 m (c + m) for each of the c.
    """
    below = np.searchsorted(second, first, "left")
    if not (second[np.minimum(below, len(second) - 1)] == first).any():
        return float(below.sum()), ties.deviation
    up_to = np.searchsorted(second, first, "right")
    met = (up_to - below).astype(float)
    tied = ties.within + float((3 * met * (ties.alike + met)).sum())
    return float((below + up_to).sum()) / 2, _deviation(len(first), len(second), tied)


def _deviation(n_first: int, n_second: int, tied: float) -> float:
    total = n_first + n_second
    variance = n_first * n_second / 12 * ((total + 1) - tied / (total * (total - 1)))
    return math.sqrt(max(variance, 0.0))


def _root(
    first: NDArray[np.float64], second: NDArray[np.float64], ties: _Ties, quantile: float, *, corrected: bool = True
) -> float:
    """The shift at which the standardised count of pairs falls below the quantile, found by halving.

    The count falls in steps, so there is a step where it passes, or a stretch where it is equal. In the latter case the
    first middle that is hit stands for it, as in Kayenta. The estimate takes no correction for continuity, as in R.
    """

    def standardised(by: float) -> float:
        above, deviation = _above(first - by, second, ties)
        centred = above - len(first) * len(second) / 2
        if deviation == 0:
            return math.copysign(math.inf, centred) if centred else 0.0 - quantile
        return (centred - (0.5 * float(np.sign(centred)) if corrected else 0.0)) / deviation - quantile

    low, high = float(first[0] - second[-1]), float(first[-1] - second[0])
    if standardised(low) <= 0:
        return low
    if standardised(high) >= 0:
        return high
    for _ in range(_MOST_STEPS):
        middle = (low + high) / 2
        value = standardised(middle)
        if value == 0:
            return middle
        low, high = (middle, high) if value > 0 else (low, middle)
        if high - low <= _TOLERANCE * max(1.0, abs(low), abs(high)):
            break
    return (low + high) / 2

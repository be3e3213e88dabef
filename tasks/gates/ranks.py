"""How far one sample lies above another: Mann and Whitney's test with the shift and its interval.

This is what Kayenta judges a canary by, after R's `wilcox.test`; its published vectors are among the tests. It sees a
shift of the whole and misses a change in a few queries: failures are counted (`counts`), and tails are counted too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy import special  # type: ignore[import-untyped]

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
    if first[0] == first[-1] == second[0] == second[-1]:
        return Shift(0.0, 0.0, 0.0, 0.5, 1.0)
    quantile = NormalDist().inv_cdf((1 + confidence) / 2)
    above, deviation = _above(first, second)
    pairs = len(first) * len(second)
    z_greater = (above - pairs / 2 - 0.5) / deviation
    return Shift(
        estimate=_root(first, second, 0.0, corrected=False),
        low=_root(first, second, quantile),
        high=_root(first, second, -quantile),
        superiority=above / pairs,
        p_greater=float(special.ndtr(-z_greater)),
    )


def _above(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    """Pairs in which the first is greater, ties halved, and the standard deviation of that count without a shift."""
    below, up_to = np.searchsorted(second, first, "left"), np.searchsorted(second, first, "right")
    above = float((below + up_to).sum()) / 2
    n_first, n_second = len(first), len(second)
    total = n_first + n_second
    _, ties = np.unique(np.concatenate((first, second)), return_counts=True)
    tied = float((ties.astype(float) ** 3 - ties).sum())
    variance = n_first * n_second / 12 * ((total + 1) - tied / (total * (total - 1)))
    return above, math.sqrt(max(variance, 0.0))


def _root(first: NDArray[np.float64], second: NDArray[np.float64], quantile: float, *, corrected: bool = True) -> float:
    """The shift at which the standardised count of pairs falls below the quantile, found by halving.

    The count falls in steps, so there is a step where it passes, or a stretch where it is equal. In the latter case the
    first middle that is hit stands for it, as in Kayenta. The estimate takes no correction for continuity, as in R.
    """

    def standardised(by: float) -> float:
        above, deviation = _above(first - by, second)
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

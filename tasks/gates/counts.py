"""What counts of queries say: is a rate too high, do failures come more often in one arm, is a share what it should be.

Rates are judged by Wald's sequential test, which may be asked as often as one likes. The other tests hold for one look;
`look_level` says what level each look has, so that all looks together keep the level that was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import special

_ENOUGH_FOR_CHI_SQUARE = 5
_TWENTY_TO_ONE = math.log(20)


class Finding(StrEnum):
    """What a test found: good, bad, or not enough data to say."""

    GOOD = "good"
    BAD = "bad"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class RateTest:
    """What the sequential test says.

    Attributes:
        finding: whether the rate is acceptable, unacceptable, or open.
        log_ratio: natural logarithm of the likelihood ratio, unacceptable over acceptable, of all data.
        recent: the greatest such logarithm of the data since some run; at least 0, of no data.
    """

    finding: Finding
    log_ratio: float
    recent: float


def sequential_rate(
    events: Sequence[int], n: Sequence[int], *, acceptable: float, unacceptable: float, alpha: float, beta: float
) -> RateTest:
    """Judge a rate by Wald's sequential probability ratio test, after any number of looks.

    The likelihood ratio of the two rates is a martingale under the acceptable one, so that it ever reaches 1/alpha
    has a probability of at most alpha, however often one looks (Ville's inequality). The same holds the other way round
    with beta. Lower rates than the acceptable one, and higher ones than the unacceptable one, are only safer.

    A test over all data becomes deaf: after a million good queries it takes thousands of failures to be heard. So a new
    one is started with each run, and all of them together have alpha: the one that starts with run j has
    `look_level(alpha, j)`. Any of them finds the rate bad. It is good by all data, and only while those since any run
    do not speak against it by twenty to one.

    Args:
        events: how many queries of each run had the event, in the order of the runs.
        n: how many queries each run had.
        acceptable: the highest rate that must not be called bad.
        unacceptable: the lowest rate that must not be called good.
        alpha: probability to call an acceptable rate bad, ever.
        beta: probability to call an unacceptable rate good, ever.

    Source: A. Wald, Sequential Tests of Statistical Hypotheses, Annals of Mathematical Statistics 16, 1945; restarts
    after E. S. Page, Continuous Inspection Schemes, Biometrika 41, 1954.

    >>> sequential_rate([0], [1000], acceptable=0.0025, unacceptable=0.01, alpha=1e-4, beta=0.01).finding
    <Finding.GOOD: 'good'>
    """
    happened, asked = np.asarray(events, dtype=float), np.asarray(n, dtype=float)
    if ((happened < 0) | (happened > asked)).any():
        raise ValueError(f"{list(events)} events of {list(n)} queries: expected at least 0 and at most all")
    if not 0 < acceptable < unacceptable < 1:
        raise ValueError(f"rates {acceptable} and {unacceptable}: expected 0 < acceptable < unacceptable < 1")
    with_event = math.log(unacceptable / acceptable)
    without = math.log1p(-unacceptable) - math.log1p(-acceptable)
    since = np.cumsum((happened * with_event + (asked - happened) * without)[::-1])[::-1]  # each run, to the end
    log_ratio = float(since[0]) if len(since) else 0.0
    recent = max(0.0, float(since.max(initial=0.0)))
    starts = np.arange(len(since))
    if (since >= np.log((starts + 1) * (starts + 2)) - math.log(alpha)).any():
        return RateTest(Finding.BAD, log_ratio, recent)
    good = log_ratio <= math.log(beta) and recent < _TWENTY_TO_ONE
    return RateTest(Finding.GOOD if good else Finding.OPEN, log_ratio, recent)


def look_level(level: float, look: int) -> float:
    """The level of one look, so that all looks, however many, keep `level` together.

    It is level / ((look + 1)(look + 2)): 1/2, 1/6, 1/12 ... of it, which add up to it. The levels are spent at sample
    sizes that are fixed beforehand, each twice the one before, so the loss is small where it matters: the first looks.

    Args:
        level: what all looks may spend together.
        look: counts from 0.
    """
    return level / ((look + 1) * (look + 2))


def fisher_p_value(events: int, n: int, other_events: int, other_n: int) -> float:
    """One-sided p-value of Fisher's exact test: that so many events fall to the first arm if both have one rate.

    Source: R. A. Fisher, Statistical Methods for Research Workers, 1934.
    """
    total, pooled = n + other_n, events + other_events
    most = min(n, pooled)
    counts = np.arange(events, most + 1)
    logs = _log_choose(n, counts) + _log_choose(other_n, pooled - counts) - _log_choose(total, np.array(pooled))
    return float(min(1.0, np.exp(logs).sum()))


def excess_p_value(events: int, n: int, other_events: int, other_n: int, *, allowed: float, alpha: float) -> float:
    """P-value of "the first arm's rate is at most the other's plus `allowed`", exact for every size of sample.

    The other arm's rate is not known: the upper limit of Clopper and Pearson for it, at a tenth of alpha, takes its
    place, and that tenth is added. A value of at most alpha is therefore a true one. Where `allowed` is more than 0 a
    test of equal rates would be the wrong one: with enough queries it finds any difference, harmless ones as well.

    Args:
        events: the first arm's.
        n: the first arm's queries.
        other_events: the other arm's.
        other_n: the other arm's queries.
        allowed: by how much the first arm's rate may be higher, as a share.
        alpha: the level at which the p-value is to be used.

    Source: R. L. Berger and D. D. Boos, P values maximized over a confidence set for the nuisance parameter, JASA 89,
    1994; C. J. Clopper and E. S. Pearson, Biometrika 26, 1934.
    """
    spent = alpha / 10
    limit = 1.0
    if other_events < other_n:
        limit = float(special.betaincinv(other_events + 1, other_n - other_events, 1 - spent))
    return min(1.0, at_least_p_value(events, n, min(1.0, limit + allowed)) + spent)


def at_least_p_value(events: int, n: int, rate: float) -> float:
    """Probability of at least so many events of n at a rate: the exact binomial tail."""
    if events <= 0:
        return 1.0
    return float(special.betainc(events, n - events + 1, rate))


def share_p_value(members: int, n: int, share: float) -> float:
    """P-value of "each of n keys is a member with probability `share`", two-sided.

    Pearson's chi-square with one degree of freedom; twice the smaller exact tail where fewer than 5 members or others
    are expected. A share of 0 or 1 admits no exception at all.

    Source: K. Pearson, Philosophical Magazine 50, 1900.
    """
    if share <= 0 or share >= 1:
        return 1.0 if members == round(n * share) else 0.0
    expected = n * share
    if min(expected, n - expected) < _ENOUGH_FOR_CHI_SQUARE:
        below = at_least_p_value(n - members, n, 1 - share)
        return min(1.0, 2 * min(at_least_p_value(members, n, share), below))
    chi_square = (members - expected) ** 2 / (expected * (1 - share))
    return math.erfc(math.sqrt(chi_square / 2))


def _log_choose(n: int, k: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        logs = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    return np.where((k < 0) | (k > n), -np.inf, logs)

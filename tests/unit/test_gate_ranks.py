"""The rank test: Kayenta's published vectors, scipy as an oracle, and what it cannot see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from tasks.gates.ranks import shift
from tests.kayenta_vectors import (
    ASYMPTOTIC_BASELINE,
    ASYMPTOTIC_CANARY,
    ASYMPTOTIC_INTERVAL,
    BASELINE,
    HIGHER,
    HIGHER_BASELINE,
    SAME,
)


def test_kayentas_first_vector() -> None:
    """An interval from 6 to 39 around 22.5."""
    found = shift([10, 20, 30, 40], [1, 2, 3, 4], confidence=0.95)
    assert (found.low, found.high) == pytest.approx((6.0, 39.0), abs=1e-6)
    assert found.estimate == pytest.approx(22.5, abs=1e-6)
    assert found.superiority == 1.0


def test_kayentas_vector_of_the_large_sample_interval() -> None:
    """With ties, at 99 %, to the tolerance that it is published with."""
    found = shift(ASYMPTOTIC_CANARY, ASYMPTOTIC_BASELINE, confidence=0.99)
    assert (found.low, found.high) == pytest.approx(ASYMPTOTIC_INTERVAL, abs=1e-4)


@pytest.mark.parametrize(
    ("canary", "baseline", "expected"),
    [(SAME, BASELINE, "pass"), (HIGHER, BASELINE, "high"), (SAME, HIGHER_BASELINE, "low")],
)
def test_kayentas_classes(canary: Sequence[float], baseline: Sequence[float], expected: str) -> None:
    """Its rule, at its 10 % of the shift: the interval lies above it, below it, or neither."""
    found = shift(canary, baseline, confidence=0.95)
    bound = 0.1 * abs(found.estimate)
    assert expected == ("high" if found.low > bound else "low" if found.high < -bound else "pass")


def test_all_values_tied() -> None:
    """Kayenta passes samples of one value; there is no shift, and no evidence of one."""
    found = shift([1.0, 1.0, 1.0], [1.0, 1.0], confidence=0.95)
    assert (found.estimate, found.low, found.high, found.superiority, found.p_greater) == (0.0, 0.0, 0.0, 0.5, 1.0)


def test_the_p_value_agrees_with_scipy() -> None:
    """With corrections for ties and continuity, on samples with many ties."""
    random = np.random.default_rng(3)
    values, others = random.integers(2, 12, 90), random.integers(0, 10, 110)
    expected = stats.mannwhitneyu(values, others, alternative="greater", method="asymptotic")
    found = shift(values.astype(float), others.astype(float), confidence=0.95)
    assert found.p_greater == pytest.approx(expected.pvalue)
    assert found.superiority == pytest.approx(expected.statistic / (90 * 110))


def test_the_estimate_is_the_median_of_all_differences() -> None:
    """Hodges and Lehmann's."""
    random = np.random.default_rng(4)
    values, others = random.lognormal(0, 1, 41), random.lognormal(1, 1, 37)
    median = np.median(np.subtract.outer(values, others))
    assert shift(values, others, confidence=0.9).estimate == pytest.approx(median, abs=1e-6)


def test_a_tail_is_not_seen_by_ranks() -> None:
    """A twentieth of the values ten times as long: the shift stays small. That is why tails are counted."""
    random = np.random.default_rng(5)
    usual, others = random.normal(30, 5, 400), random.normal(30, 5, 400)
    tailed = usual.copy()
    tailed[:40] *= 10
    assert shift(tailed, others, confidence=0.95).estimate < 2


@pytest.mark.parametrize(
    ("values", "others", "message"),
    [([], [1.0], "0 and 1 values"), ([1.0], [], "1 and 0 values"), ([float("nan")], [1.0], "no finite number")],
)
def test_samples_that_cannot_be_compared_are_refused(values: list[float], others: list[float], message: str) -> None:
    """Nothing, and what is no number: a comparison with them would look like an answer."""
    with pytest.raises(ValueError, match=message):
        shift(values, others, confidence=0.95)

"""Rates and counts: what is bad is found, what is good passes, and little data decides nothing."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from tasks.gates.counts import (
    Finding,
    at_least_p_value,
    excess_p_value,
    fisher_p_value,
    look_level,
    sequential_rate,
    share_p_value,
)
from tasks.gates.ranks import shift

LIMITS = {"acceptable": 0.0025, "unacceptable": 0.01, "alpha": 1e-4, "beta": 0.01}


@pytest.mark.parametrize(
    ("events", "n", "expected"),
    [
        (0, 0, Finding.OPEN),
        (0, 300, Finding.OPEN),
        (0, 610, Finding.OPEN),
        (0, 611, Finding.GOOD),
        (1, 700, Finding.OPEN),
        (8, 40, Finding.BAD),
        (8, 156, Finding.BAD),
        (8, 200, Finding.OPEN),
        (20, 1000, Finding.BAD),
    ],
)
def test_a_rate_is_good_bad_or_open(events: int, n: int, expected: Finding) -> None:
    """Eight failures among the first queries are enough to be bad; 611 queries without one to be good."""
    assert sequential_rate([events], [n], **LIMITS).finding is expected


def test_the_likelihood_ratio_is_walds() -> None:
    """Each event and each other query moves the logarithm by its own fixed step."""
    found = sequential_rate([3], [100], **LIMITS).log_ratio
    assert found == pytest.approx(3 * math.log(4) + 97 * math.log(0.99 / 0.9975))


def test_a_fault_that_comes_late_is_heard() -> None:
    """After 100,000 good queries 24 failures in the last 1,000 are bad, and fewer keep the rate from being good."""
    events, n = [0] * 100, [1000] * 100
    assert sequential_rate(events, n, **LIMITS).finding is Finding.GOOD
    late = sequential_rate([*events, 24], [*n, 1000], **LIMITS)
    assert late.finding is Finding.BAD
    assert late.log_ratio < -700
    assert late.recent == pytest.approx(24 * math.log(4) + 976 * math.log(0.99 / 0.9975))
    assert sequential_rate([*events, 8], [*n, 1000], **LIMITS).finding is Finding.OPEN
    assert sequential_rate([*events, 2], [*n, 1000], **LIMITS).finding is Finding.GOOD


def test_counts_and_rates_that_make_no_sense_are_refused() -> None:
    """More events than queries, and limits without room between them."""
    with pytest.raises(ValueError, match=r"\[3\] events of \[2\] queries"):
        sequential_rate([3], [2], **LIMITS)
    with pytest.raises(ValueError, match="0 < acceptable < unacceptable"):
        sequential_rate([0], [2], **LIMITS | {"acceptable": 0.01})


def test_the_levels_of_all_looks_add_up_to_the_level() -> None:
    """A half, a sixth, a twelfth and so on."""
    levels = [look_level(0.06, look) for look in range(1000)]
    assert levels[:3] == pytest.approx([0.03, 0.01, 0.005])
    assert 0.0599 < sum(levels) < 0.06


@pytest.mark.parametrize(
    ("events", "n", "others", "other_n"), [(4, 6, 0, 6), (20, 500, 2, 800), (0, 5, 3, 9), (9, 9, 0, 9)]
)
def test_fishers_test_agrees_with_scipy(events: int, n: int, others: int, other_n: int) -> None:
    """One-sided, to rounding."""
    expected = stats.fisher_exact([[events, n - events], [others, other_n - others]], alternative="greater").pvalue
    assert fisher_p_value(events, n, others, other_n) == pytest.approx(expected)


@pytest.mark.parametrize(("events", "n", "rate"), [(0, 10, 0.1), (3, 10, 0.1), (10, 10, 0.4), (12, 5000, 0.001)])
def test_the_binomial_tail_agrees_with_scipy(events: int, n: int, rate: float) -> None:
    """At least so many events."""
    assert at_least_p_value(events, n, rate) == pytest.approx(stats.binom.sf(events - 1, n, rate))


def test_an_excess_within_what_is_allowed_is_none() -> None:
    """Twice the failures of legacy are no excess while the difference is small; the same ratio, further out, is."""
    allowed = {"allowed": 0.0025, "alpha": 1e-4}
    assert excess_p_value(40, 20_000, 180, 180_000, **allowed) > 0.5
    assert excess_p_value(400, 20_000, 1800, 180_000, **allowed) < 1e-4


def test_an_excess_is_exact_where_nothing_ever_failed() -> None:
    """Its limit is the Clopper-Pearson one: 1 - (alpha / 10) ** (1 / n), plus what is allowed."""
    limit = 1 - 1e-5 ** (1 / 9000) + 0.0025
    expected = stats.binom.sf(19, 1000, limit) + 1e-5
    assert excess_p_value(20, 1000, 0, 9000, allowed=0.0025, alpha=1e-4) == pytest.approx(expected)


def test_an_arm_that_always_fails_excuses_everything() -> None:
    """Where legacy fails on all queries, no failure of REDO is an excess."""
    assert excess_p_value(10, 10, 5, 5, allowed=0.0, alpha=1e-4) == 1.0


def test_a_share_of_keys() -> None:
    """The chi-square of a goodness of fit; the exact tail where few are expected; no exception at 0 and 1."""
    expected = stats.chisquare([130, 870], [100, 900]).pvalue
    assert share_p_value(130, 1000, 0.1) == pytest.approx(expected)
    assert share_p_value(2, 10, 0.1) == pytest.approx(2 * stats.binom.sf(1, 10, 0.1))
    assert share_p_value(0, 2, 0.1) == 1.0
    assert (share_p_value(5, 5, 1.0), share_p_value(4, 5, 1.0)) == (1.0, 0.0)
    assert (share_p_value(0, 5, 0.0), share_p_value(1, 5, 0.0)) == (1.0, 0.0)


def passes_by_ranks(canary: list[float], baseline: list[float]) -> bool:
    """Kayenta's rule for "not higher", as in its two issues: the interval against a part of the shift."""
    found = shift(canary, baseline, confidence=0.98)
    return found.low <= 0.25 * abs(found.estimate)


SPARSE = [0.0, 1.0, 2.0, 1.0, 0.0, 0.0]
"""Failures in six intervals of Kayenta's issue 426; the baseline had none."""


@pytest.mark.parametrize("rounds", [1, 3, 100])
def test_sparse_failures_of_issue_426_are_caught(rounds: int) -> None:
    """Ranks let them pass however long they go on. Here they never pass, and are bad from the third round on.

    Four failures against none in six intervals are no proof yet (one in sixteen by chance), so it waits. An interval is
    taken to have 25 queries.
    """
    canary, queries = SPARSE * rounds, 25 * 6 * rounds
    assert passes_by_ranks(canary, [0.0] * len(canary))
    found = sequential_rate([int(sum(canary))], [queries], **LIMITS).finding
    assert found is (Finding.OPEN if rounds == 1 else Finding.BAD)
    excess = excess_p_value(int(sum(canary)), queries, 0, queries, allowed=0.0025, alpha=1e-4)
    assert (excess < 1e-4) == (rounds == 100)


def test_the_jump_of_issue_780_is_caught() -> None:
    """Seven intervals of ten at 100 failures, and ranks let it pass; counts of 10,000 queries an interval do not."""
    canary, baseline = [100.0] * 7 + [1.0] * 3, [1.0] * 10
    assert passes_by_ranks(canary, baseline)
    assert sequential_rate([int(sum(canary))], [100_000], **LIMITS).finding is Finding.BAD
    assert excess_p_value(int(sum(canary)), 100_000, 10, 100_000, allowed=0.0025, alpha=1e-4) < 1e-4

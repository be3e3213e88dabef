"""Gates over REDO's own arm: rates against fixed limits, and the cohort against its percentage.

The rates are judged by a sequential test that may be asked at any time (`counts.sequential_rate`): a rate that is bad
enough is found after a few dozen queries, and "not bad" is never mistaken for "not enough data yet".
"""

from __future__ import annotations

from collections.abc import Sequence

from core.rollout.verdict import Verdict
from tasks.gates.counts import sequential_rate, share_p_value
from tasks.gates.measured import VERDICTS, Evidence, Measured, open_until
from tasks.gates.thresholds import RateLimit


def failure_rate(evidence: Evidence) -> Measured:
    """How often REDO broke on a query that it was asked about."""
    return _rate(evidence, "failed", "asked", evidence.thresholds.failure_rate, "of REDO's queries broke")


def fallback_rate(evidence: Evidence) -> Measured:
    """How often REDO was meant to answer and did not, for whatever reason."""
    return _rate(evidence, "fell_back", "meant", evidence.thresholds.fallback_rate, "of REDO's queries fell back")


def deadline_rate(evidence: Evidence) -> Measured:
    """How often REDO's time ran out."""
    return _rate(evidence, "late", "asked", evidence.thresholds.deadline_rate, "of REDO's queries ran out of time")


def latency_budget(evidence: Evidence) -> Measured:
    """Whether the 95th percentile of REDO's latency keeps to its part of the budget.

    It does where at most 5 % of the queries take longer than that, which is a rate like the others. No percentile has
    to be estimated, and no distribution assumed.
    """
    limit_ms, slow_share = evidence.thresholds.latency_share * evidence.budget_ms, evidence.thresholds.slow_share
    return _rate(evidence, "slow", "asked", slow_share, f"of REDO's queries took over {limit_ms:.0f} ms")


def rate_result(
    events: Sequence[int], queries: Sequence[int], limit: RateLimit, evidence: Evidence, what: str
) -> Measured:
    """Judge a rate by the thresholds' levels, from the counts of each run."""
    threshold = f"<= {limit.acceptable:.2%} {what}, found from {limit.unacceptable:.2%}"
    happened, n = sum(events), sum(queries)
    if n == 0:
        return open_until(0, 1, threshold, "queries")
    limits = evidence.thresholds
    test = sequential_rate(
        events,
        queries,
        acceptable=limit.acceptable,
        unacceptable=limit.unacceptable,
        alpha=limits.alpha,
        beta=limits.beta,
    )
    detail = f"{happened:,} of {n:,}; log likelihood ratio {test.log_ratio:+.1f}, of late {test.recent:+.1f}"
    return Measured(VERDICTS[test.finding], happened / n, threshold, n, detail)


def _rate(evidence: Evidence, events: str, queries: str, limit: RateLimit, what: str) -> Measured:
    columns = evidence.rows.runs.columns
    return rate_result(columns[events], columns[queries], limit, evidence, what)


def cohort_share(evidence: Evidence) -> Measured:
    """Whether the share of the keys that REDO is meant for is the percentage.

    Keys count, not queries: a session with many queries is one key and falls to one arm as a whole. A percentage of 0,
    and a shadow step, admits no served query at all; one of 100 no key of the other arm.
    """
    share = evidence.scope.step.percentage / 100
    runs = evidence.rows.runs
    if share == 0 or evidence.scope.step.shadow:
        served, rows = runs.total("served"), runs.total("rows")
        threshold = "no query answered by REDO"
        if rows == 0:
            return open_until(0, 1, threshold, "queries")
        verdict = Verdict.FAIL if served else Verdict.PASS
        return Measured(verdict, served / rows, threshold, rows, f"{served:,} of {rows:,} queries")
    cohort = evidence.rows.cohort()
    keys, members = cohort["keys"], cohort["in_redo"]
    alpha = evidence.thresholds.alpha
    threshold = f"{share:.1%} of the keys, p > {alpha:.0e}"
    if keys == 0:
        return open_until(0, evidence.thresholds.min_keys, threshold, "keys")
    p_value = share_p_value(members, keys, share)
    detail = f"{members:,} of {keys:,} keys; p = {p_value:.2g}"
    if p_value <= alpha:
        return Measured(Verdict.FAIL, members / keys, threshold, keys, detail)
    enough = keys >= evidence.thresholds.min_keys
    wanted = "" if enough else f"; judged from {evidence.thresholds.min_keys} keys on"
    return Measured(Verdict.PASS if enough else Verdict.PENDING, members / keys, threshold, keys, detail + wanted)

"""Gates that compare REDO with something: the concurrent legacy arm, the shadow record, or itself at the step before.

Each test looks at sample sizes that are fixed beforehand (`measured.latest_look`), and each look has its own level
(`counts.look_level`), so that asking every few minutes on growing data calls nothing bad by chance.

REDO does more work than legacy, so "slower than legacy" is no fault. It is slow where it takes more than a fixed part
of the budget over legacy, and it has become slower where it is well above itself at the step before.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.rollout.verdict import Verdict
from tasks.gates.counts import excess_p_value, fisher_p_value, look_level
from tasks.gates.frames import Arm, Measure, Rows
from tasks.gates.health import rate_result
from tasks.gates.measured import Evidence, Look, Measured, latest_look, nothing_to_compare, open_until
from tasks.gates.paired import MeanDifference, paired_difference
from tasks.gates.ranks import shift

_FULL = 100
_TAIL = 0.95


def canary_failures(evidence: Evidence) -> Measured:
    """Whether REDO fails more often than the control arm, by more than what is allowed.

    A query that found no ranking counts in both arms: it says nothing against REDO where it happens in both.
    """
    allowed = evidence.thresholds.allowed_excess
    threshold = f"at most {allowed:.2%} more failures than the control arm"
    control, look = _control(evidence)
    if control is None:
        return nothing_to_compare(threshold, "no control arm: no run at the step before")
    if look is None:
        return _too_few(evidence, control, threshold)
    runs, concurrent = evidence.rows.runs, control is evidence.rows
    asked, failed = runs.total("asked", runs=look.runs), _failures(evidence.rows, look.runs)
    others = control.runs.total("control", runs=look.runs if concurrent else None)
    others_failed = control.runs.total("control_failed", runs=look.runs if concurrent else None)
    alpha = look_level(evidence.thresholds.alpha, look.number)
    p_value = excess_p_value(failed, asked, others_failed, others, allowed=allowed, alpha=alpha)
    equal = fisher_p_value(failed, asked, others_failed, others)
    detail = (
        f"{failed:,} of {asked:,} against {others_failed:,} of {others:,}; p = {p_value:.2g} (level {alpha:.1e}); "
        f"of equal rates {equal:.2g}"
    )
    verdict = Verdict.FAIL if p_value <= alpha else Verdict.PASS
    return Measured(verdict, failed / asked - others_failed / others, threshold, asked + others, detail)


def canary_latency(evidence: Evidence) -> Measured:
    """Whether REDO is slower than the concurrent legacy arm by more than its allowance."""
    allowance_ms = evidence.thresholds.overhead_share * evidence.budget_ms
    threshold = f"at most {allowance_ms:.0f} ms over legacy"
    step = evidence.scope.step
    if step.shadow or step.percentage >= _FULL:
        return nothing_to_compare(threshold, "no query that legacy alone answered at this step")
    control, look = _control(evidence)
    if control is None or look is None:
        return _too_few(evidence, evidence.rows, threshold)
    values = evidence.rows.latencies("asked", runs=look.runs)
    others = evidence.rows.latencies("control", runs=look.runs)
    return _shift_result(values, others, allowance_ms, look, evidence, threshold)


def latency_drift(evidence: Evidence) -> Measured:
    """Whether REDO as a whole has become slower than at the step before."""
    share, floor_ms = evidence.thresholds.drift_share, evidence.thresholds.drift_floor_share * evidence.budget_ms
    threshold = f"at most {share:.0%} or {floor_ms:.0f} ms over the step before"
    others = _baseline_latencies(evidence)
    if not len(others):
        return nothing_to_compare(threshold, "no run at the step before")
    look = latest_look(list(evidence.rows.runs.columns["asked"]), evidence.scope.step.min_samples_per_arm)
    if look is None:
        return _too_few(evidence, evidence.rows, threshold, arms=("asked",))
    values = evidence.rows.latencies("asked", runs=look.runs)
    allowance_ms = max(floor_ms, share * float(np.median(others)))
    return _shift_result(values, others, allowance_ms, look, evidence, threshold)


def latency_tail(evidence: Evidence) -> Measured:
    """Whether REDO's slowest queries have become slower than at the step before: what a test of ranks does not see."""
    limits = evidence.thresholds
    floor_ms = limits.drift_floor_share * evidence.budget_ms
    others = _baseline_latencies(evidence)
    if not len(others):
        return nothing_to_compare("slowest queries as at the step before", "no run at the step before")
    before_ms = float(np.quantile(others, _TAIL, method="inverted_cdf"))
    limit_ms = before_ms + max(floor_ms, limits.drift_share * before_ms)
    over = evidence.rows.over("asked", limit_ms)
    what = f"of REDO's queries took over {limit_ms:.0f} ms (p95 was {before_ms:.0f} ms)"
    return rate_result(over, evidence.rows.runs.columns["asked"], limits.slow_share, evidence, what)


def canary_quality(evidence: Evidence) -> Measured:
    """Whether REDO selects the correct passages as well as legacy does."""
    return _quality(evidence, "recall", sign=1)


def canary_misinfo(evidence: Evidence) -> Measured:
    """Whether REDO selects no more misinformation than legacy does."""
    return _quality(evidence, "misinfo", sign=-1)


def _quality(evidence: Evidence, measure: Measure, *, sign: int) -> Measured:
    """Non-inferiority of a measure; `sign` is 1 where more is better.

    Pairs must show that REDO is not worse by the margin. Without pairs, as where each query is answered by one arm
    only, that would take many times the labels; there REDO passes unless it is shown to be worse. Shadow runs have
    pairs.
    """
    limits = evidence.thresholds
    margin = limits.quality_margin
    threshold = f"{measure} not worse than legacy's by {margin:.2f} or more"
    runs = evidence.rows.runs
    both = zip(runs.columns["asked_labelled"], runs.columns["control_labelled"], strict=True)
    labelled = [min(pair) for pair in both]
    if not sum(labelled):
        return nothing_to_compare(threshold, "no labels for both arms")
    look = latest_look(labelled, limits.quality_min_queries)
    if look is None:
        return open_until(sum(labelled), limits.quality_min_queries, threshold, "labelled queries of each arm")
    paired, redo, legacy = evidence.rows.measured(measure, runs=look.runs)
    if min(len(redo), len(legacy)) == 0:
        return nothing_to_compare(threshold, f"no label that {measure} can be measured by")
    in_pairs = len(paired) == len(redo)
    difference = _difference(paired, redo, legacy, seed=limits.seed)
    better = MeanDifference(sign * difference.mean, difference.error, difference.n)
    worse_p, inferior_p = better.p_below(0), better.p_above(-margin)
    alpha, beta = (look_level(level, look.number) for level in (limits.alpha, limits.beta))
    verdict = Verdict.PENDING
    if worse_p <= alpha and better.mean <= -margin:
        verdict = Verdict.FAIL
    elif inferior_p <= beta or not in_pairs:
        verdict = Verdict.PASS
    how = "pairs" if in_pairs else "queries of each arm"
    detail = f"{difference.mean:+.4f} (error {difference.error:.4f}) over {difference.n:,} {how}; p = {worse_p:.2g}"
    return Measured(verdict, difference.mean, threshold, difference.n, detail)


def _difference(
    paired: NDArray[np.float64], redo: NDArray[np.float64], legacy: NDArray[np.float64], *, seed: int
) -> MeanDifference:
    """The mean difference: of pairs where both arms answered the same queries, else of the arms as two samples."""
    if len(paired) == len(redo):
        return paired_difference(paired, seed=seed)
    ours, theirs = paired_difference(redo, seed=seed), paired_difference(legacy, seed=seed + 1)
    error = float(np.hypot(ours.error, theirs.error))
    return MeanDifference(ours.mean - theirs.mean, error, min(ours.n, theirs.n))


def _shift_result(
    values: NDArray[np.float64],
    others: NDArray[np.float64],
    allowance_ms: float,
    look: Look,
    evidence: Evidence,
    threshold: str,
) -> Measured:
    """Judge how far one sample lies above another plus its allowance."""
    alpha = look_level(evidence.thresholds.alpha, look.number)
    found = shift(values, others + allowance_ms, confidence=0.95)
    above_ms, low, high = (value + allowance_ms for value in (found.estimate, found.low, found.high))
    detail = (
        f"{above_ms:+.1f} ms, 95 % interval {low:+.1f} to {high:+.1f}; "
        f"over the allowance in {found.superiority:.0%} of pairs; p = {found.p_greater:.2g} (level {alpha:.1e})"
    )
    failed = found.p_greater <= alpha and found.estimate > 0
    return Measured(Verdict.FAIL if failed else Verdict.PASS, above_ms, threshold, len(values) + len(others), detail)


def _control(evidence: Evidence) -> tuple[Rows | None, Look | None]:
    """Whose control arm to compare with, and the look. At 100 % it is that of the step before: nobody else is left."""
    rows, wanted = evidence.rows, evidence.scope.step.min_samples_per_arm
    if evidence.scope.step.percentage < _FULL or evidence.scope.step.shadow:
        sizes = _smaller_arm(rows)
        return rows, latest_look(sizes, wanted)
    if evidence.baseline is None or evidence.baseline.runs.total("control") == 0:
        return None, None
    return evidence.baseline, latest_look(list(rows.runs.columns["asked"]), wanted)


def _smaller_arm(rows: Rows) -> list[int]:
    """What each run added to the smaller of the two arms, so that the sums are those of the smaller one."""
    asked = np.cumsum(rows.runs.columns["asked"], dtype=int)
    control = np.cumsum(rows.runs.columns["control"], dtype=int)
    return [int(size) for size in np.diff(np.minimum(asked, control), prepend=0)]


def _too_few(
    evidence: Evidence, control: Rows, threshold: str, *, arms: tuple[Arm, ...] = ("asked", "control")
) -> Measured:
    n = min((control if arm == "control" else evidence.rows).runs.total(arm) for arm in arms)
    return open_until(n, evidence.scope.step.min_samples_per_arm, threshold, "queries of each arm")


def _failures(rows: Rows, runs: int) -> int:
    return rows.runs.total("failed", runs=runs) + rows.runs.total("asked_unranked", runs=runs)


def _baseline_latencies(evidence: Evidence) -> NDArray[np.float64]:
    return np.empty(0) if evidence.baseline is None else evidence.baseline.latencies("asked")

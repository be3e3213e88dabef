"""What a gate rests on, and what it came to: the values that the gates pass on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.rollout.verdict import Verdict
from tasks.gates.counts import Finding
from tasks.gates.frames import Rows, Scope
from tasks.gates.thresholds import Thresholds


@dataclass(frozen=True, slots=True)
class Measured:
    """What one gate came to; see `core.rollout.gates.GateResult`.

    Attributes:
        skipped: whether the gate has nothing to look at here and therefore decides nothing.
    """

    verdict: Verdict
    value: float | None
    threshold: str
    n: int
    detail: str = ""
    skipped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the statistical gates look at.

    Attributes:
        scope: which step.
        thresholds: the limits.
        rows: the step's rows.
        baseline: the rows of the step before; `None` where there are none.
        budget_ms: the time that a query is given.
    """

    scope: Scope
    thresholds: Thresholds
    rows: Rows
    baseline: Rows | None
    budget_ms: float


Check = Callable[[Evidence], Measured]

VERDICTS = {Finding.GOOD: Verdict.PASS, Finding.BAD: Verdict.FAIL, Finding.OPEN: Verdict.PENDING}
"""What a finding means for the rollout: an open question waits for more data."""


@dataclass(frozen=True, slots=True)
class Look:
    """At what a test looks that must not be asked at will.

    Attributes:
        number: counts from 0.
        runs: the first runs, in the order in which they finished, that it looks at.
    """

    number: int
    runs: int


def latest_look(sizes: list[int], first: int) -> Look | None:
    """The last size that was reached, of `first`, twice that, four times that and so on; `None` before the first.

    A look takes whole runs: those up to the one that reached the size. Between two sizes the answer is therefore the
    same however often one asks, and the number of looks is the logarithm of the sample's size.

    Args:
        sizes: the sample that each run added, in the order of the runs.
        first: the size of the first look.
    """
    look, wanted, total = None, max(1, first), 0
    number = 0
    for place, size in enumerate(sizes, start=1):
        total += size
        if total >= wanted:
            while total >= wanted:
                look, wanted, number = Look(number, place), wanted * 2, number + 1
    return look


def open_until(n: int, wanted: int, threshold: str, what: str) -> Measured:
    """Not enough data yet."""
    verdict = Verdict.PENDING if n else Verdict.INCONCLUSIVE
    return Measured(verdict, None, threshold, n, f"{n:,} of {wanted:,} {what}")


def nothing_to_compare(threshold: str, why: str) -> Measured:
    """The gate has nothing to look at here: it is reported, and decides nothing."""
    return Measured(Verdict.INCONCLUSIVE, None, threshold, 0, why, skipped=True)

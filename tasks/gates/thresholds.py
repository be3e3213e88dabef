"""What the gates ask for: every number in one place, with why. docs/gates.md explains the rules.

The levels are chosen for a whole rollout. Eleven gates rest on a statistical test; at each of the five default steps
each calls a healthy REDO bad with a probability of at most `alpha`, however often it is evaluated. Together that is at
most 11 x 5 x 0.0001 = 0.55 %, of which 0.3 % are rollbacks (six guardrails) and 0.25 % pauses (five signals).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from core.rollout.gates import GateKind


class Gate(StrEnum):
    """The names of the gates."""

    EVIDENCE = "evidence"
    INPUT_QUALITY = "input_quality"
    LEDGER_INTEGRITY = "ledger_integrity"
    COHORT_ASSIGNMENT = "cohort_assignment"
    COHORT_SHARE = "cohort_share"
    FAILURE_RATE = "failure_rate"
    FALLBACK_RATE = "fallback_rate"
    DEADLINE_RATE = "deadline_rate"
    LATENCY_BUDGET = "latency_budget"
    CANARY_FAILURES = "canary_failures"
    CANARY_LATENCY = "canary_latency"
    LATENCY_DRIFT = "latency_drift"
    LATENCY_TAIL = "latency_tail"
    CANARY_QUALITY = "canary_quality"
    CANARY_MISINFO = "canary_misinfo"


GUARDRAILS: Final = frozenset(
    {
        Gate.EVIDENCE,
        Gate.COHORT_ASSIGNMENT,
        Gate.COHORT_SHARE,
        Gate.FAILURE_RATE,
        Gate.FALLBACK_RATE,
        Gate.DEADLINE_RATE,
        Gate.LATENCY_BUDGET,
        Gate.CANARY_FAILURES,
    }
)
"""What harms users now, or makes the comparison meaningless. The others are signals."""


def kind_of(gate: Gate) -> GateKind:
    """What it leads to when the gate fails."""
    return GateKind.GUARDRAIL if gate in GUARDRAILS else GateKind.SIGNAL


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Two rates with room between them, as Wald's test needs.

    Attributes:
        acceptable: the highest rate that a healthy REDO may have.
        unacceptable: the lowest rate that must be found.
    """

    acceptable: float
    unacceptable: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """All limits. Shares are 0 to 1, times carry their unit.

    Attributes:
        alpha: probability that one gate calls a healthy REDO bad at one step, over all looks.
        beta: probability that one gate lets an unacceptable REDO pass at one step, over all looks.
        failure_rate: queries on which REDO broke: an exception, a hang, an invalid result.
        fallback_rate: queries that REDO was meant to answer and did not, for whatever reason, open breakers included.
        deadline_rate: queries that REDO worked on whose time ran out.
        latency_share: the part of the budget that the 95th percentile of REDO's latency may take.
        slow_share: queries over that: 5 % is what a 95th percentile allows.
        allowed_excess: by how much REDO's failure rate may be above the control arm's.
        overhead_share: by how much REDO may be slower than legacy, as a part of the budget: it does more by design.
        drift_share: by how much REDO may be slower than at the step before, as a share of its median or p95.
        drift_floor_share: what is no drift in any case, as a part of the budget.
        quality_margin: by how much REDO's recall may be below, its share of misinformation above, that of legacy.
        quality_min_queries: labelled queries of each arm below which quality is not judged.
        min_keys: distinct keys below which the cohort's share is not judged.
        max_age_s: how old the newest finished run may be.
        max_quarantined_share: records of a batch that could not be used.
        max_without_evidence_share: queries of a batch that found nothing.
        min_mean_query_chars, max_mean_query_chars: mean length of a batch's queries.
        ledger_grace_s: how long after its end a run's traces may be missing from the ledger.
        seed: of the bootstrap: the same data give the same report.
        observed: gates that are reported and decide nothing. `evidence` always decides.
    """

    alpha: float = 1e-4
    beta: float = 0.01
    failure_rate: RateLimit = RateLimit(0.0025, 0.01)
    fallback_rate: RateLimit = RateLimit(0.02, 0.05)
    deadline_rate: RateLimit = RateLimit(0.01, 0.03)
    latency_share: float = 0.8
    slow_share: RateLimit = RateLimit(0.05, 0.10)
    allowed_excess: float = 0.0025
    overhead_share: float = 0.25
    drift_share: float = 0.5
    drift_floor_share: float = 0.05
    quality_margin: float = 0.05
    quality_min_queries: int = 100
    min_keys: int = 30
    max_age_s: float = 36 * 3600.0
    max_quarantined_share: float = 0.05
    max_without_evidence_share: float = 0.2
    min_mean_query_chars: float = 3.0
    max_mean_query_chars: float = 2000.0
    ledger_grace_s: float = 900.0
    seed: int = 20_260_101
    observed: frozenset[Gate] = field(default_factory=frozenset)


THRESHOLDS: Final = Thresholds()
"""What holds unless somebody gives others."""

DEMO_THRESHOLDS: Final = Thresholds(
    beta=0.2,
    failure_rate=RateLimit(0.01, 0.2),
    fallback_rate=RateLimit(0.05, 0.3),
    deadline_rate=RateLimit(0.02, 0.2),
    slow_share=RateLimit(0.05, 0.3),
    quality_min_queries=10_000,
    min_keys=1,
)
"""For a demonstration with a few dozen queries: only faults that nobody could overlook. No basis for a real rollout."""

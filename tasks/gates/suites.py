"""The suites of data expectations as data: what each frame must look like, and which gates each phase has.

Great Expectations runs them (`validation`); this module does not import it, because that takes seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from core.rollout.plan import Phase
from tasks.gates.canary import (
    canary_failures,
    canary_latency,
    canary_misinfo,
    canary_quality,
    latency_drift,
    latency_tail,
)
from tasks.gates.health import cohort_share, deadline_rate, failure_rate, fallback_rate, latency_budget
from tasks.gates.measured import Check
from tasks.gates.thresholds import Gate, Thresholds


@dataclass(frozen=True, slots=True)
class Rule:
    """One expectation: every value of a column lies between two bounds, and none is missing.

    Attributes:
        column: of the frame.
        most: the greatest value, `None` for no limit.
        least: the least value, `None` for no limit.
        why: what it says, for a person.
    """

    column: str
    most: float | None
    least: float | None
    why: str


def input_rules(limits: Thresholds) -> tuple[Rule, ...]:
    """What each batch must look like: one row a finished run."""
    return (
        Rule("rows", None, 1, "a batch has queries"),
        Rule("unanswered", 0, 0, "each query has one row"),
        Rule("quarantined_share", limits.max_quarantined_share, 0, "few records of the batch cannot be used"),
        Rule("empty_texts", 0, 0, "no query is empty"),
        Rule("duplicate_ids", 0, 0, "no query id occurs twice in a batch"),
        Rule(
            "mean_query_chars",
            limits.max_mean_query_chars,
            limits.min_mean_query_chars,
            "queries are as long as questions are",
        ),
        Rule("without_evidence_share", limits.max_without_evidence_share, 0, "few queries find nothing"),
    )


ASSIGNMENT_RULES: Final = (
    Rule("placed", None, 1, "there are queries with a bucket"),
    Rule("redo_outside", 0, 0, "REDO is meant for no bucket above the percentage"),
    Rule("legacy_inside", 0, 0, "legacy by choice answers no bucket within the percentage"),
    Rule("keys_in_both", 0, 0, "no key is in both arms"),
)
"""Who was put into which arm: one row in all."""

LEDGER_RULES: Final = (
    Rule("overdue", 0, 0, "each query has a row in the ledger, once the time of grace is over"),
    Rule("unexpected", 0, 0, "no row is there that no query belongs to"),
    Rule("null_values", 0, 0, "no column that is always known is null"),
    Rule("other_schema", 0, 0, "each row has this version of the schema"),
    Rule("too_long", 0, 0, "no trace is longer than LEDGER_MAX_TRACE_BYTES"),
    Rule("lost_objects", 0, 0, "each committed object is there"),
)
"""What the ledger must hold: one row a batch."""

_CHECKS: Final[Mapping[Gate, Check]] = {
    Gate.COHORT_SHARE: cohort_share,
    Gate.FAILURE_RATE: failure_rate,
    Gate.FALLBACK_RATE: fallback_rate,
    Gate.DEADLINE_RATE: deadline_rate,
    Gate.LATENCY_BUDGET: latency_budget,
    Gate.CANARY_FAILURES: canary_failures,
    Gate.CANARY_LATENCY: canary_latency,
    Gate.LATENCY_DRIFT: latency_drift,
    Gate.LATENCY_TAIL: latency_tail,
    Gate.CANARY_QUALITY: canary_quality,
    Gate.CANARY_MISINFO: canary_misinfo,
}
_NOT_IN_SHADOW: Final = frozenset({Gate.CANARY_LATENCY, Gate.LATENCY_DRIFT, Gate.LATENCY_TAIL})
_NOT_AT_FULL: Final = frozenset({Gate.CANARY_LATENCY})

CHECKS: Final[Mapping[Phase, Mapping[Gate, Check]]] = {
    Phase.INFRASTRUCTURE: {gate: check for gate, check in _CHECKS.items() if gate not in _NOT_IN_SHADOW},
    Phase.GRADUAL: _CHECKS,
    Phase.FULL: {gate: check for gate, check in _CHECKS.items() if gate not in _NOT_AT_FULL},
}
"""The statistical gates of each phase. In shadow there is no step before, and both arms' times are one; at 100 % legacy
answers nobody."""

SUITES: Final[Mapping[Phase, tuple[Gate, ...]]] = {
    Phase.INFRASTRUCTURE: (Gate.INPUT_QUALITY, Gate.LEDGER_INTEGRITY),
    Phase.GRADUAL: (Gate.INPUT_QUALITY, Gate.COHORT_ASSIGNMENT, Gate.LEDGER_INTEGRITY),
    Phase.FULL: (Gate.INPUT_QUALITY, Gate.COHORT_ASSIGNMENT, Gate.LEDGER_INTEGRITY),
}
"""The suites of each phase. In shadow nobody is put into an arm; the ledger's runs only where traces were written."""

"""Counts and latencies of queries, as one value that can be added up over chunks, processes and machines.

Adding up is commutative and associative, so it does not matter who counted what, and when it was brought together. That
is why times are kept as whole microseconds: sums of floats depend on their order.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from core.errors import StoreError
from core.model import ContradictionKind, Decision, Reason
from core.trace import Arm, QueryResult

LATENCY_BOUNDS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the buckets of every histogram, in seconds.

0.4 is the default budget of a query, 0.5 what `/chat` may take, 5 the time after which a call is given up; the others
lie between in steps of about two.
"""

OVER: Final = "+Inf"
"""How the bucket of all longer times is called, in Prometheus and in the stored value."""

_CHOICES: Final = frozenset({Reason.SHADOW, Reason.KILL_SWITCH, Reason.FLAG_OFF, Reason.NOT_IN_ROLLOUT})

KNOWN_FALLBACKS: Final[tuple[str, ...]] = tuple(
    reason for reason in Reason if reason is not Reason.ENABLED and reason not in _CHOICES
)
"""Why REDO may not answer though it should."""

KNOWN_DECISIONS: Final[tuple[tuple[str, str], ...]] = (
    (Decision.REDO, Reason.ENABLED),
    *((Decision.LEGACY, reason) for reason in Reason if reason is not Reason.ENABLED),  # in shadow REDO may fail too
    *((Decision.FALLBACK, reason) for reason in KNOWN_FALLBACKS),
)
"""Each decision with the reasons that can lead to it."""

KNOWN_STAGES: Final[tuple[tuple[str, str], ...]] = (
    ("retrieve", Arm.REDO),
    ("retrieve", Arm.LEGACY),
    ("detect", Arm.REDO),
    ("order", Arm.REDO),
    ("select", Arm.REDO),
    ("select", Arm.LEGACY),
)
"""The stages of the pipeline, each with the arms that have it."""

KNOWN_CONTRADICTIONS: Final[tuple[str, ...]] = tuple(ContradictionKind)

# "An Exception, a timeout of 5 s, an invalid result, are failures." Out of time (`DEADLINE_EXCEEDED`) is slow, not
# broken; without a ranking (`RETRIEVER_ERROR`) legacy has nothing either; the others are calls that were not made.
_FAILURES: Final = frozenset({Reason.ORCHESTRATOR_ERROR, Reason.TIMEOUT})
_NO_FAILURES: Final = frozenset(Reason) - _FAILURES


@dataclass(frozen=True, slots=True)
class Histogram:
    """How long things took.

    Attributes:
        buckets: how many took at most each of `LATENCY_BOUNDS_S` and more than the one before; the last one counts
            those over all bounds.
        sum_us: how long all of them took together, in microseconds.
    """

    buckets: tuple[int, ...] = (0,) * (len(LATENCY_BOUNDS_S) + 1)
    sum_us: int = 0

    @property
    def count(self) -> int:
        """How many things took time."""
        return sum(self.buckets)

    @classmethod
    def of_ms(cls, latencies_ms: Iterable[float]) -> Histogram:
        """Count latencies, in milliseconds."""
        buckets, sum_us = [0] * (len(LATENCY_BOUNDS_S) + 1), 0
        for latency_ms in latencies_ms:
            buckets[bisect_left(LATENCY_BOUNDS_S, latency_ms / 1e3)] += 1
            sum_us += round(latency_ms * 1e3)
        return cls(tuple(buckets), sum_us)

    def __add__(self, other: Histogram) -> Histogram:
        """Both together."""
        pairs = zip(self.buckets, other.buckets, strict=True)
        return Histogram(tuple(mine + its for mine, its in pairs), self.sum_us + other.sum_us)


@dataclass(frozen=True, slots=True)
class Metrics:
    """What has been counted. A value without arguments counts nothing; adding it changes nothing.

    Labels are texts, so that those of another version of REDO are carried along; our own enums are texts too.

    Attributes:
        decisions: queries by decision and reason.
        orchestrator_failures: queries for which REDO was asked and failed, in shadow too; see `is_failure`.
        ledger_failures: how often the ledger did not take the traces of a chunk.
        ledger_refused: traces that were lost, because the spool or its disk had no room for them.
        ledger_quarantined: entries of the spool that the ledger will never take, and that were set aside.
        deadline_hits: queries whose time ran out.
        contradictions: contradictions that REDO found, served or not, by kind.
        stage_latency: latencies by stage and arm.
        query_latency: the time of each query's own work, both arms together.
    """

    decisions: Mapping[tuple[str, str], int] = field(default_factory=dict)
    orchestrator_failures: int = 0
    ledger_failures: int = 0
    ledger_refused: int = 0
    ledger_quarantined: int = 0
    deadline_hits: int = 0
    contradictions: Mapping[str, int] = field(default_factory=dict)
    stage_latency: Mapping[tuple[str, str], Histogram] = field(default_factory=dict)
    query_latency: Histogram = Histogram()

    @property
    def queries(self) -> int:
        """How many queries were answered."""
        return sum(self.decisions.values())

    @property
    def fallbacks(self) -> dict[str, int]:
        """Queries that legacy answered because REDO could not, by reason."""
        return {reason: count for (who, reason), count in self.decisions.items() if who == Decision.FALLBACK}

    def to_dict(self) -> dict[str, object]:
        """The counts as JSON can hold them; equal counts give equal bytes."""
        return {
            "decisions": _nested(self.decisions),
            "orchestrator_failures": self.orchestrator_failures,
            "ledger_failures": self.ledger_failures,
            "ledger_refused": self.ledger_refused,
            "ledger_quarantined": self.ledger_quarantined,
            "deadline_hits": self.deadline_hits,
            "contradictions": {str(kind): self.contradictions[kind] for kind in sorted(self.contradictions)},
            "stage_latency": _nested({key: _written(item) for key, item in self.stage_latency.items()}),
            "query_latency": _written(self.query_latency),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, object]) -> Metrics:
        """Read counts. Unknown keys are passed over; what is missing is 0.

        Buckets are stored by their bound. One that this version does not have counts for the next greater one: whatever
        took at most 3 ms took at most 5 ms.

        Raises:
            StoreError: a field has a value that it cannot take.
        """
        decisions, stages = _object(stored, "decisions"), _object(stored, "stage_latency")
        return cls(
            decisions={
                (decision, reason): count
                for decision in decisions
                for reason, count in _counts(decisions, decision, "decisions.").items()
            },
            orchestrator_failures=_count(stored, "orchestrator_failures"),
            ledger_failures=_count(stored, "ledger_failures"),
            ledger_refused=_count(stored, "ledger_refused"),
            ledger_quarantined=_count(stored, "ledger_quarantined"),
            deadline_hits=_count(stored, "deadline_hits"),
            contradictions=_counts(stored, "contradictions"),
            stage_latency={
                (stage, arm): _histogram(arms, arm, f"stage_latency.{stage}.")
                for stage in stages
                for arms in [_object(stages, stage, "stage_latency.")]
                for arm in arms
            },
            query_latency=_histogram(stored, "query_latency"),
        )


def is_failure(result: QueryResult) -> bool:
    """Whether REDO failed on the query: an exception, a call that was given up, or an invalid result.

    Where the reason is not the guard's, it tells what went wrong. In shadow it is the guard's, and the trace's error
    tells: the name of a reason where no exception was raised, else the exception.
    """
    if result.reason in _FAILURES:
        return True
    error = result.trace.error
    return error is not None and error not in _NO_FAILURES and result.reason is result.trace.guard.reason


def add_results(results: Sequence[QueryResult]) -> Metrics:
    """Count the results of a chunk."""
    stages: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for result in results:
        for stage in result.trace.stages:
            stages[stage.name, stage.arm.value].append(stage.latency_ms)
    found = (result.trace.redo.contradictions for result in results if result.trace.redo is not None)
    return Metrics(
        decisions=dict(Counter((result.decision.value, result.reason.value) for result in results)),
        orchestrator_failures=sum(map(is_failure, results)),
        deadline_hits=sum(result.trace.deadline_hit for result in results),
        contradictions=dict(Counter(item.kind.value for contradictions in found for item in contradictions)),
        stage_latency={key: Histogram.of_ms(latencies_ms) for key, latencies_ms in stages.items()},
        query_latency=Histogram.of_ms(result.trace.latency_ms for result in results),
    )


def merge(one: Metrics, other: Metrics) -> Metrics:
    """Both counts together. Commutative and associative; `Metrics()` is neutral."""
    return Metrics(
        decisions=_added(one.decisions, other.decisions, 0),
        orchestrator_failures=one.orchestrator_failures + other.orchestrator_failures,
        ledger_failures=one.ledger_failures + other.ledger_failures,
        ledger_refused=one.ledger_refused + other.ledger_refused,
        ledger_quarantined=one.ledger_quarantined + other.ledger_quarantined,
        deadline_hits=one.deadline_hits + other.deadline_hits,
        contradictions=_added(one.contradictions, other.contradictions, 0),
        stage_latency=_added(one.stage_latency, other.stage_latency, Histogram()),
        query_latency=one.query_latency + other.query_latency,
    )


_Key = TypeVar("_Key")
_Addable = TypeVar("_Addable", int, Histogram)
_Value = TypeVar("_Value")


def _added(one: Mapping[_Key, _Addable], other: Mapping[_Key, _Addable], nothing: _Addable) -> dict[_Key, _Addable]:
    return {key: one.get(key, nothing) + other.get(key, nothing) for key in one.keys() | other.keys()}


# --- as stored ----------------------------------------------------------------------------------------------------


def _nested(flat: Mapping[tuple[str, str], _Value]) -> dict[str, dict[str, _Value]]:
    nested: dict[str, dict[str, _Value]] = {}
    for outer, inner in sorted(flat):
        nested.setdefault(str(outer), {})[str(inner)] = flat[outer, inner]
    return nested


def _written(histogram: Histogram) -> dict[str, object]:
    names = (*map(str, LATENCY_BOUNDS_S), OVER)
    filled = {name: count for name, count in zip(names, histogram.buckets, strict=True) if count}
    return {"buckets": filled, "sum_us": histogram.sum_us}


def _histogram(stored: Mapping[str, object], name: str, place: str = "") -> Histogram:
    record, place = _object(stored, name, place), f"{place}{name}."
    buckets = [0] * (len(LATENCY_BOUNDS_S) + 1)
    for bound, count in _counts(record, "buckets", place).items():
        buckets[bisect_left(LATENCY_BOUNDS_S, _bound_s(bound, place))] += count
    return Histogram(tuple(buckets), _count(record, "sum_us", place))


def _bound_s(name: str, place: str) -> float:
    try:
        bound_s = float(name)
    except ValueError:
        bound_s = math.nan
    if math.isnan(bound_s):
        raise _unreadable(f"{place}buckets", name, f"a number of seconds or {OVER!r}")
    return bound_s


def _counts(stored: Mapping[str, object], name: str, place: str = "") -> dict[str, int]:
    record = _object(stored, name, place)
    return {key: _count(record, key, f"{place}{name}.") for key in record}


def _count(stored: Mapping[str, object], name: str, place: str = "") -> int:
    value = stored.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _unreadable(f"{place}{name}", value, "a whole number, at least 0")
    return value


def _object(stored: Mapping[str, object], name: str, place: str = "") -> Mapping[str, object]:
    value = stored.get(name, {})
    if not isinstance(value, Mapping):
        raise _unreadable(f"{place}{name}", value, "an object")
    return value


def _unreadable(place: str, value: object, expected: str) -> StoreError:
    return StoreError(f"stored metrics, field {place!r}: {value!r} is not {expected}")

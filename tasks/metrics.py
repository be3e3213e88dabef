"""The metrics that all processes share, and the page that Prometheus reads.

A run of a batch is short, and nobody scrapes it. So its counts are added to one value in the shared state, and
whichever process serves `/debug/metrics` shows what all of them did. docs/metrics.md lists every metric.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from core.breaker import Mode, Status
from core.clock import Clock, SystemClock
from core.flags import ROLLOUT_PERCENTAGE
from core.metrics import (
    KNOWN_CONTRADICTIONS,
    KNOWN_DECISIONS,
    KNOWN_FALLBACKS,
    KNOWN_STAGES,
    LATENCY_BOUNDS_S,
    OVER,
    Histogram,
    Metrics,
    merge,
)
from core.ports import StateStore
from core.state import update

METRICS: Final = "metrics"
"""Name of the stored value."""

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
"""The content type of what `render` returns: the format that every Prometheus reads."""

FLUSH_EVERY_S: Final = 15.0
"""Seconds between two writes of what a process has counted; Prometheus asks as often."""

_NOTHING: Final = Metrics()


def load(store: StateStore) -> Metrics:
    """What has been counted so far; nothing where nobody has counted yet.

    Raises:
        StoreError: the store failed, or holds what cannot be read.
    """
    stored = store.load(METRICS)
    return _NOTHING if stored is None else Metrics.from_dict(stored.value)


def record(store: StateStore, delta: Metrics, *, actor: str) -> None:
    """Add to what has been counted: every few seconds, never once a query, and only for what was computed now.

    A chunk that is resumed was counted when it was computed. Where a write fails in a way that the store cannot tell
    from success, a lost answer say, the same delta may be counted twice; no count is lost.

    Args:
        store: where the counts are shared.
        delta: what to add. Nothing is written for one that counts nothing.
        actor: who counted, for the history.

    Raises:
        StoreError: the store failed, or holds what cannot be read; nothing was written, as far as it can tell.
        StateConflict: others kept being faster; nothing was written.
    """
    if delta == _NOTHING:
        return

    def added(stored: Mapping[str, object] | None) -> dict[str, object]:
        known = stored or {}
        return {**known, **merge(Metrics.from_dict(known), delta).to_dict()}  # what a newer version wrote stays

    update(store, METRICS, added, actor=actor, reason=f"counted {delta.queries} queries")


class MetricsRecorder:
    """Adds to the shared counts, and keeps what it could not write until it can. Threads may share one.

    Invariant: each delta is in the store, or pending, or being written by one `flush`. No lock is held meanwhile.
    What is still pending when the process ends is lost, so a run flushes once more at its end.

    Args:
        store_of: gives the store; asked for every write, and may raise.
        actor: who counts, for the history.
        clock: tells when it is time to write.
        every_s: seconds between two writes of `flush_if_due`. Each is a version of the shared value, kept for good in
            the history of the state file, and some requests where a Prefect API keeps it.
    """

    def __init__(
        self,
        store_of: Callable[[], StateStore],
        *,
        actor: str,
        clock: Clock | None = None,
        every_s: float = FLUSH_EVERY_S,
    ) -> None:
        self._store_of: Final = store_of
        self._actor: Final = actor
        self._clock: Final = clock or SystemClock()
        self._every_s: Final = every_s
        self._due_at = self._clock.now() + every_s
        self._lock: Final = threading.Lock()
        self._pending = _NOTHING
        self._error: str | None = None

    @property
    def pending(self) -> Metrics:
        """What has been added and not been written yet."""
        return self._pending

    @property
    def error(self) -> str | None:
        """Why the last `flush` failed; `None` where it did not."""
        return self._error

    def add(self, delta: Metrics) -> None:
        """Add to what the next `flush` writes. It costs no call of the store."""
        with self._lock:
            self._pending = merge(self._pending, delta)

    def flush_if_due(self) -> bool:
        """Write what is pending if the last attempt is long enough ago; returns whether it was written now.

        A process that is killed loses what it counted since: `every_s` seconds of it at most.
        """
        with self._lock:
            if self._clock.now() < self._due_at:
                return False
            self._due_at = self._clock.now() + self._every_s
        return self.flush()

    def flush(self) -> bool:
        """Write what is pending. Never raises for what goes wrong: metrics must not cost a chunk.

        Returns:
            Whether it was written. If not, it stays pending, and `error` says why.
        """
        with self._lock:
            delta, self._pending = self._pending, _NOTHING
        try:
            record(self._store_of(), delta, actor=self._actor)
        except Exception as error:  # noqa: BLE001 - whatever a store does wrong
            self.add(delta)
            self._error = f"{type(error).__name__}: {error}"
            return False
        except BaseException:  # Prefect ends a task so; another one of this process may flush later
            self.add(delta)
            raise
        self._error = None
        return True


# --- what Prometheus reads ----------------------------------------------------------------------------------------


def render(
    metrics: Metrics | None,
    health: Mapping[str, object],
    *,
    spool_depth: int | None = None,
    spool_bytes: int | None = None,
) -> bytes:
    """All metrics in the text format of Prometheus.

    What is not known is left out, never shown as 0, so that `absent()` sees it. Series of labels that are known in
    advance are there from the beginning with 0, because `rate()` needs a value before the first event.

    Args:
        metrics: what `load` returned; `None` where the store did not answer.
        health: the keys of `get_health_status` that are metrics: `redo_active`, `circuit_breaker`,
            `ledger_circuit_breaker`, `flags` and `stale`; each may be missing.
        spool_depth: how many trace files wait for the ledger; `None` where nobody has looked.
        spool_bytes: how much room they take.
    """
    registry = CollectorRegistry()
    registry.register(
        _Page([*_gauges(health, spool_depth, spool_bytes), *(() if metrics is None else _counted(metrics))])
    )
    return generate_latest(registry)


class _Page(Collector):
    """Metrics that are known already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = tuple(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def _counted(metrics: Metrics) -> Iterator[Metric]:
    yield _counter("redo_queries", "Queries that were answered.", metrics.queries)
    decisions = {**dict.fromkeys(KNOWN_DECISIONS, 0), **metrics.decisions}
    yield _counters("redo_decisions", "Queries by who answered, and why.", ("decision", "reason"), decisions)
    failures = metrics.orchestrator_failures
    yield _counter("redo_orchestrator_failures", "Queries on which REDO failed, in shadow too.", failures)
    failures = metrics.ledger_failures
    yield _counter("redo_ledger_failures", "Times that the ledger did not take a chunk's traces.", failures)
    about = "Traces that were lost, because the spool or its disk had no room for them."
    yield _counter("redo_ledger_refused_traces", about, metrics.ledger_refused)
    about = "Entries of the spool that the ledger will never take, and that were set aside."
    yield _counter("redo_ledger_quarantined_entries", about, metrics.ledger_quarantined)
    fallbacks = {**dict.fromkeys(KNOWN_FALLBACKS, 0), **metrics.fallbacks}
    about = "Queries that legacy answered because REDO could not"
    yield _counter("redo_fallback_activations", f"{about}.", sum(fallbacks.values()))
    by_reason = {(reason,): count for reason, count in fallbacks.items()}
    yield _counters("redo_fallback_activations_by_reason", f"{about}, by reason.", ("reason",), by_reason)
    yield _counter("redo_deadline_hits", "Queries whose time ran out.", metrics.deadline_hits)
    kinds = {**dict.fromkeys(KNOWN_CONTRADICTIONS, 0), **metrics.contradictions}
    about = "Contradictions that REDO found, served or not."
    yield _counters("redo_contradictions", about, ("kind",), {(kind,): count for kind, count in kinds.items()})
    about = "Time that a query's own work took, both arms together."
    yield _histograms("redo_query_latency_seconds", about, (), {(): metrics.query_latency})
    stages = {**dict.fromkeys(KNOWN_STAGES, Histogram()), **metrics.stage_latency}
    yield _histograms("redo_stage_latency_seconds", "Time that one stage of a query took.", ("stage", "arm"), stages)


_Labels = TypeVar("_Labels", bound=tuple[str, ...])


def _counter(name: str, about: str, count: int) -> Metric:
    return CounterMetricFamily(name, about, value=count)


def _counters(name: str, about: str, labels: tuple[str, ...], counts: Mapping[_Labels, int]) -> Metric:
    family = CounterMetricFamily(name, about, labels=labels)
    for values, count in counts.items():
        family.add_metric(values, count)
    return family


def _histograms(name: str, about: str, labels: tuple[str, ...], histograms: Mapping[_Labels, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, about, labels=labels)
    for values, histogram in histograms.items():
        buckets, total = [], 0
        for bound, count in zip((*map(str, LATENCY_BOUNDS_S), OVER), histogram.buckets, strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric(values, buckets, sum_value=histogram.sum_us / 1e6)
    return family


def _gauges(health: Mapping[str, object], spool_depth: int | None, spool_bytes: int | None) -> Iterator[Metric]:
    breakers = {"orchestrator": health.get("circuit_breaker"), "ledger": health.get("ledger_circuit_breaker")}
    flags = health.get("flags")
    percentage = flags.get(ROLLOUT_PERCENTAGE) if isinstance(flags, Mapping) else None
    values = (
        ("redo_active", "Whether REDO answers the queries that are in the rollout.", health.get("redo_active")),
        ("redo_rollout_percentage", "Share of the keys that are in the rollout, in percent.", percentage),
        (
            "redo_circuit_breaker_open",
            "Whether the orchestrator's breaker keeps calls out.",
            _keeps_out(breakers["orchestrator"]),
        ),
        ("redo_state_stale", "Whether what is known of the shared state may be old.", health.get("stale")),
        ("redo_ledger_spool_depth", "Trace files that wait for the ledger.", spool_depth),
        ("redo_ledger_spool_bytes", "Room that the traces that wait for the ledger take.", spool_bytes),
    )
    for name, about, value in values:
        if isinstance(value, int | float):
            yield GaugeMetricFamily(name, about, value=value)
    states = GaugeMetricFamily(
        "redo_circuit_breaker_state", "1 for the state of the breaker.", labels=("breaker", "state")
    )
    for breaker, record in breakers.items():
        if isinstance(record, Mapping) and "state" in record:
            for status in Status:
                states.add_metric((breaker, status.value), record["state"] == status)
    if states.samples:
        yield states


def _keeps_out(breaker: object) -> bool | None:
    """Whether calls are kept out; `None` where it is not known. Half-open keeps out all but one probe."""
    if not isinstance(breaker, Mapping) or "state" not in breaker:
        return None
    mode = breaker.get("mode", Mode.AUTOMATIC)
    return bool(mode == Mode.FORCED_OPEN or (mode == Mode.AUTOMATIC and breaker["state"] != Status.CLOSED))

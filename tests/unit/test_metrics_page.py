"""The page that Prometheus reads, and docs/metrics.md, which lists what is on it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.adapters.manual_clock import ManualClock
from core.adapters.memory_state import MemoryStateStore
from core.breaker import Mode
from core.fallbacks import RedoFallbackManager, Surroundings
from core.flags import REDO_ENABLED, ROLLOUT_PERCENTAGE
from core.metrics import KNOWN_DECISIONS, Histogram, Metrics
from tasks.metrics import CONTENT_TYPE, render

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"

HEALTH: Mapping[str, object] = {
    "redo_active": True,
    "circuit_breaker": {"state": "closed", "mode": "automatic"},
    "ledger_circuit_breaker": {"state": "open", "mode": "automatic"},
    "flags": {"rollout_percentage": 12.5},
    "stale": False,
}


def samples(page: bytes) -> dict[str, float]:
    """The lines of a page, without comments: series as they are printed, and their values."""
    lines = (line for line in page.decode().splitlines() if not line.startswith("#"))
    return {series: float(value) for series, value in (line.rsplit(" ", 1) for line in lines)}


def described(page: bytes) -> set[tuple[str, str, tuple[str, ...]]]:
    """Name, type and labels of each metric of a page; a counter's name with its ending."""
    found = set()
    for family in text_string_to_metric_families(page.decode()):
        labels = {label for sample in family.samples for label in sample.labels if label != "le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found.add((name, family.type, tuple(sorted(labels))))
    return found


class TestCounts:
    """What has been counted, as Prometheus sees it."""

    def test_counters_and_histograms_show_their_values(self) -> None:
        """Buckets are cumulated, times are in seconds."""
        metrics = Metrics(
            decisions={("redo", "ENABLED"): 5, ("fallback", "TIMEOUT"): 2, ("fallback", "BREAKER_OPEN"): 1},
            orchestrator_failures=2,
            ledger_failures=4,
            deadline_hits=6,
            contradictions={"date": 7},
            stage_latency={("order", "redo"): Histogram.of_ms([0.2, 0.7, 60_000.0])},
            query_latency=Histogram.of_ms([400.0]),
        )
        shown = samples(render(metrics, {}))
        expected = {
            "redo_queries_total": 8,
            'redo_decisions_total{decision="redo",reason="ENABLED"}': 5,
            'redo_decisions_total{decision="fallback",reason="TIMEOUT"}': 2,
            "redo_orchestrator_failures_total": 2,
            "redo_ledger_failures_total": 4,
            "redo_fallback_activations_total": 3,
            'redo_fallback_activations_by_reason_total{reason="BREAKER_OPEN"}': 1,
            "redo_deadline_hits_total": 6,
            'redo_contradictions_total{kind="date"}': 7,
            'redo_stage_latency_seconds_bucket{arm="redo",le="0.0005",stage="order"}': 1,
            'redo_stage_latency_seconds_bucket{arm="redo",le="0.001",stage="order"}': 2,
            'redo_stage_latency_seconds_bucket{arm="redo",le="5.0",stage="order"}': 2,
            'redo_stage_latency_seconds_bucket{arm="redo",le="+Inf",stage="order"}': 3,
            'redo_stage_latency_seconds_count{arm="redo",stage="order"}': 3,
            'redo_stage_latency_seconds_sum{arm="redo",stage="order"}': 60.0009,
            'redo_query_latency_seconds_bucket{le="0.3"}': 0,
            'redo_query_latency_seconds_bucket{le="0.4"}': 1,
            "redo_query_latency_seconds_sum": 0.4,
        }
        assert {series: shown[series] for series in expected} == expected

    def test_known_series_begin_with_0(self) -> None:
        """`rate()` sees the first event of each, because there was a 0 before it."""
        shown = samples(render(Metrics(), {}))
        assert set(shown.values()) == {0.0}
        decisions = {series for series in shown if series.startswith("redo_decisions_total")}
        assert len(decisions) == len(KNOWN_DECISIONS)
        assert 'redo_contradictions_total{kind="polarity"}' in shown
        assert 'redo_stage_latency_seconds_count{arm="legacy",stage="select"}' in shown
        assert 'redo_fallback_activations_by_reason_total{reason="DATABASE_UNAVAILABLE"}' in shown

    def test_labels_of_another_version_are_shown(self) -> None:
        """With the characters that the format wants escaped."""
        shown = samples(render(Metrics(decisions={("fallback", 'a "new"\\reason'): 2}), {}))
        assert shown['redo_decisions_total{decision="fallback",reason="a \\"new\\"\\\\reason"}'] == 2
        assert shown["redo_fallback_activations_total"] == 2

    def test_counts_that_are_not_known_are_absent(self) -> None:
        """While the store does not answer there are no counters, not ones that fell to 0."""
        assert all(kind == "gauge" for _, kind, _ in described(render(None, HEALTH)))


class TestGauges:
    """How things stand, as Prometheus sees it."""

    def test_all_that_is_known_is_shown(self) -> None:
        """One value each, and 1 for the state of each breaker."""
        assert samples(render(None, HEALTH, spool_depth=3)) == {
            "redo_active": 1,
            "redo_rollout_percentage": 12.5,
            "redo_circuit_breaker_open": 0,
            "redo_state_stale": 0,
            "redo_ledger_spool_depth": 3,
            'redo_circuit_breaker_state{breaker="orchestrator",state="closed"}': 1,
            'redo_circuit_breaker_state{breaker="orchestrator",state="open"}': 0,
            'redo_circuit_breaker_state{breaker="orchestrator",state="half_open"}': 0,
            'redo_circuit_breaker_state{breaker="ledger",state="closed"}': 0,
            'redo_circuit_breaker_state{breaker="ledger",state="open"}': 1,
            'redo_circuit_breaker_state{breaker="ledger",state="half_open"}': 0,
        }

    def test_what_is_not_known_is_absent(self) -> None:
        """Not 0, and not even its name."""
        assert render(None, {}) == b""
        assert described(render(None, {"redo_active": None, "flags": {}, "circuit_breaker": {}})) == set()
        assert samples(render(None, {"stale": True}, spool_depth=0)) == {
            "redo_state_stale": 1,
            "redo_ledger_spool_depth": 0,
        }

    @pytest.mark.parametrize(
        ("state", "mode", "shown"),
        [
            ("closed", "automatic", 0),
            ("open", "automatic", 1),
            ("half_open", "automatic", 1),
            ("closed", "forced_open", 1),
            ("open", "disabled", 0),
            ("open", "metrics_only", 0),
        ],
    )
    def test_open_means_that_calls_are_kept_out(self, state: str, mode: str, shown: int) -> None:
        """By its state where that is obeyed, or by order. Half-open keeps out all calls but one."""
        page = render(None, {"circuit_breaker": {"state": state, "mode": mode}})
        assert samples(page)["redo_circuit_breaker_open"] == shown

    def test_a_ledger_breaker_does_not_touch_the_alert(self) -> None:
        """`redo_circuit_breaker_open`, which the guide's alert asks for, is the orchestrator's alone."""
        page = render(None, {"ledger_circuit_breaker": {"state": "open", "mode": "automatic"}})
        assert "redo_circuit_breaker_open" not in samples(page)

    def test_the_guards_own_report_is_understood(self) -> None:
        """The keys are those of `get_health_status`, and follow what happens to the guard."""
        clock = ManualClock()
        store = MemoryStateStore(clock=clock)
        around = Surroundings(store=store, clock=clock, random=lambda: 0.0, actor="ann", owner="one", refresh_s=0.0)
        manager = RedoFallbackManager(surroundings=around)
        manager.flags.set({REDO_ENABLED: True, ROLLOUT_PERCENTAGE: 25})
        shown = samples(render(None, manager.get_health_status()))
        assert (shown["redo_active"], shown["redo_rollout_percentage"]) == (1, 25)
        assert (shown["redo_circuit_breaker_open"], shown["redo_state_stale"]) == (0, 0)

        manager.simulate_orchestrator_failure()
        shown = samples(render(None, manager.get_health_status()))
        assert (shown["redo_active"], shown["redo_circuit_breaker_open"]) == (0, 1)
        assert shown['redo_circuit_breaker_state{breaker="orchestrator",state="open"}'] == 1

        manager.reset()
        manager.set_breaker_mode(Mode.FORCED_OPEN)
        shown = samples(render(None, manager.get_health_status()))
        assert (shown["redo_active"], shown["redo_circuit_breaker_open"]) == (0, 1)


class TestPage:
    """The page as a whole."""

    def test_it_is_the_text_format(self) -> None:
        """Prometheus' own parser reads it, and the content type says which format it is."""
        assert described(render(Metrics(), HEALTH, spool_depth=0, spool_bytes=0))
        assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"

    def test_equal_values_give_equal_bytes(self) -> None:
        """Nothing of an earlier page is left, and no time of its making is on it."""
        page = render(Metrics(), HEALTH)
        render(replace(Metrics(), ledger_failures=9), {})
        assert render(Metrics(), HEALTH) == page

    def test_the_docs_list_every_metric_and_no_other(self) -> None:
        """Name, type and labels of each row of docs/metrics.md are those of the page, and back."""
        rows = re.findall(r"^\| `(redo_\w+)` \| (\w+) \| ([^|]*)\| [^|]+ \|$", DOCS.read_text(), re.MULTILINE)
        listed = [(name, kind, tuple(sorted(re.findall(r"`(\w+)`", labels)))) for name, kind, labels in rows]
        page: set[Any] = described(render(Metrics(), HEALTH, spool_depth=0, spool_bytes=0))
        assert set(listed) == page
        assert len(listed) == len(page)

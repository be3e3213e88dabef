"""The algebra of counts: adding up in any order and any grouping gives the same."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from core.digest import canonical_json
from core.metrics import LATENCY_BOUNDS_S, Histogram, Metrics, add_results, merge
from core.trace import QueryResult
from tests.ledger_samples import a_result

counts = st.integers(0, 2**40)
labels = st.sampled_from(["redo", "legacy", "fallback", "", "a label\nof \u0663 words"])
latencies_ms = st.floats(0, 60_000, allow_nan=False)
histograms = st.lists(latencies_ms, max_size=8).map(Histogram.of_ms)
metrics = st.builds(
    Metrics,
    decisions=st.dictionaries(st.tuples(labels, labels), counts, max_size=4),
    orchestrator_failures=counts,
    ledger_failures=counts,
    deadline_hits=counts,
    contradictions=st.dictionaries(labels, counts, max_size=4),
    stage_latency=st.dictionaries(st.tuples(labels, labels), histograms, max_size=4),
    query_latency=histograms,
)
results = st.lists(st.builds(a_result, st.integers(0, 9), documents=st.just(2), redo=st.booleans()), max_size=6)


@given(one=metrics, other=metrics)
def test_the_order_does_not_matter(one: Metrics, other: Metrics) -> None:
    """Adding up is commutative, as values and as what is stored."""
    assert merge(one, other) == merge(other, one)
    assert canonical_json(merge(one, other).to_dict()) == canonical_json(merge(other, one).to_dict())


@given(one=metrics, two=metrics, three=metrics)
def test_the_grouping_does_not_matter(one: Metrics, two: Metrics, three: Metrics) -> None:
    """Adding up is associative, times included."""
    assert merge(merge(one, two), three) == merge(one, merge(two, three))


@given(one=metrics)
def test_nothing_is_neutral(one: Metrics) -> None:
    """Adding nothing changes nothing."""
    assert merge(one, Metrics()) == merge(Metrics(), one) == one


@given(one=metrics, other=metrics)
def test_what_can_be_summed_adds_up(one: Metrics, other: Metrics) -> None:
    """Queries, fallbacks and times of a sum are the sums."""
    both = merge(one, other)
    assert both.queries == one.queries + other.queries
    assert sum(both.fallbacks.values()) == sum(one.fallbacks.values()) + sum(other.fallbacks.values())
    assert both.query_latency.count == one.query_latency.count + other.query_latency.count
    assert both.query_latency.sum_us == one.query_latency.sum_us + other.query_latency.sum_us


@given(first=results, second=results)
def test_chunks_count_alone_as_they_do_together(first: list[QueryResult], second: list[QueryResult]) -> None:
    """However a batch is cut into chunks, the counts are the same."""
    assert merge(add_results(first), add_results(second)) == add_results([*first, *second])


@given(one=metrics)
def test_stored_counts_are_read_back(one: Metrics) -> None:
    """Through JSON nothing is lost."""
    assert Metrics.from_dict(json.loads(canonical_json(one.to_dict()))) == one


@given(stored=st.dictionaries(st.text(), st.integers() | st.text()), one=metrics)
def test_unknown_keys_change_nothing(stored: dict[str, object], one: Metrics) -> None:
    """Whatever a newer version stores beside what is known."""
    assert Metrics.from_dict({**stored, **one.to_dict()}) == one


@given(st.lists(latencies_ms, max_size=20))
def test_each_time_is_in_the_bucket_between_its_bounds(times_ms: list[float]) -> None:
    """Cumulated, a bucket counts the times that are at most its bound; the sum is right to half a microsecond each."""
    histogram = Histogram.of_ms(times_ms)
    for place, bound_s in enumerate(LATENCY_BOUNDS_S):
        assert sum(histogram.buckets[: place + 1]) == sum(time_ms / 1e3 <= bound_s for time_ms in times_ms)
    assert histogram.count == len(times_ms)
    assert abs(histogram.sum_us - sum(times_ms) * 1e3) <= 0.5 * len(times_ms) + 1e-3

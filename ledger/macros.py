"""What people ask again and again, as macros of DuckDB that stand beside the views.

A version is named by its code version, by a batch id, or by the first characters of a configuration's digest.
"""

from __future__ import annotations

from typing import Final

TABLE_MACROS: Final = ("latency_by_version", "compare_versions", "churn")
"""Macros that stand where a table does; a user's SQL may call them. The others stand in expressions."""

# One list for all: DuckDB sees that it is the same four times, and keeps and sorts the values once.
_AT: Final = "quantile_cont(x, [0.5, 0.9, 0.95, 0.99])"
_PERCENTILES: Final = f"""
create macro percentiles(x) as {{
    'n': count(x), 'p50': {_AT}[1], 'p90': {_AT}[2], 'p95': {_AT}[3], 'p99': {_AT}[4], 'max': max(x)
}}
"""
_IS_VERSION: Final = """
create macro is_version(code_version, config_digest, batch_id, wanted) as
    code_version = wanted or batch_id = wanted or (length(wanted) >= 6 and starts_with(config_digest, wanted))
"""
# Of a trace of shadow mode the documents describe REDO's selection; the user got the legacy one.
_SERVED: Final = """
create macro served(decision, legacy_selection, documents) as
    case
        when decision <> 'redo' and legacy_selection is not null then legacy_selection
        else list_transform(
            list_sort([{'rank': found.rank_out, 'id': found.id} for found in documents if found.selected]),
            lambda placed: placed.id
        )
    end
"""
_LATENCY: Final = """
create macro latency_by_version() as table
select code_version, config, decision, unnest(found), deadline_hits
from (
    select code_version, left(config_digest, 12) as config, decision, percentiles(latency_ms) as found,
        count(*) filter (deadline_hit) as deadline_hits
    from decisions
    group by all
)
order by code_version, config, decision
"""
_COMPARE: Final = """
create macro compare_versions(version_a, version_b) as table
with sides as (
    select 'a' as side, * from decisions where is_version(code_version, config_digest, batch_id, version_a)
    union all
    select 'b' as side, * from decisions where is_version(code_version, config_digest, batch_id, version_b)
), measured as (
    select side,
        count(*)::double as traces,
        avg((decision = 'redo')::int) as redo_share,
        avg((decision = 'legacy')::int) as legacy_share,
        avg((decision = 'fallback')::int) as fallback_share,
        avg((error is not null)::int) as error_share,
        avg(deadline_hit::int) as deadline_hit_share,
        quantile_cont(latency_ms, 0.5) as latency_p50_ms,
        quantile_cont(latency_ms, 0.95) as latency_p95_ms,
        quantile_cont(latency_ms, 0.99) as latency_p99_ms
    from sides group by side
), told as (
    unpivot measured on columns(* exclude side) into name measure value value
)
select measure, max(value) filter (side = 'a') as a, max(value) filter (side = 'b') as b, b - a as change
from told
group by measure
order by list_position(['traces', 'redo_share', 'legacy_share', 'fallback_share', 'error_share', 'deadline_hit_share',
    'latency_p50_ms', 'latency_p95_ms', 'latency_p99_ms'], measure)
"""
_CHURN: Final = """
create macro churn(version_a, version_b) as table
with a as (
    select query_id, query_sha256, arg_max({'trace_id': trace_id, 'decision': decision, 'latency_ms': latency_ms,
        'ids': served(decision, legacy_selection, documents)}, (recorded_at, attempt)) as it
    from traces where is_version(code_version, config_digest, batch_id, version_a) group by all
), b as (
    select query_id, query_sha256, arg_max({'trace_id': trace_id, 'decision': decision, 'latency_ms': latency_ms,
        'ids': served(decision, legacy_selection, documents)}, (recorded_at, attempt)) as it
    from traces where is_version(code_version, config_digest, batch_id, version_b) group by all
)
select query_id,
    case
        when a.it.ids = b.it.ids then 'same'
        when list_sort(a.it.ids) = list_sort(b.it.ids) then 'reordered'
        else 'changed'
    end as churn,
    a.it.decision as decision_a, b.it.decision as decision_b,
    list_filter(b.it.ids, lambda id: not list_contains(a.it.ids, id)) as added,
    list_filter(a.it.ids, lambda id: not list_contains(b.it.ids, id)) as removed,
    coalesce(a.it.ids[1] is distinct from b.it.ids[1], false) as first_changed,
    case when len(a.it.ids) + len(b.it.ids) = 0 then 1.0
        else len(list_intersect(a.it.ids, b.it.ids)) / len(list_distinct(a.it.ids || b.it.ids)) end as jaccard,
    b.it.latency_ms - a.it.latency_ms as latency_change_ms,
    a.it.trace_id as trace_a, b.it.trace_id as trace_b
from a join b using (query_id, query_sha256)
order by jaccard, query_id
"""

MACROS: Final = (_PERCENTILES, _IS_VERSION, _SERVED, _LATENCY, _COMPARE, _CHURN)
"""The statements that make them, in an order in which they can be made."""

"""What is in a ledger, in a few numbers: decisions, latency by version, and whether anything is missing.

Everything comes from narrow columns, file footers and manifests: no passage text is read.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import date
from typing import Final, cast

import duckdb

from ledger.catalog import doubtful_keys
from ledger.location import parse_location
from ledger.query import plain
from ledger.sandbox import explained
from ledger.spool import Spool, ledger_id
from ledger.views import connect_to, narrowed, read_catalog

Record = dict[str, object]

# One scan for all: each object is opened once, which on S3 is what costs. Then few groups are added up three ways; the
# latencies of each travel as a list, 8 bytes a row. Percentiles of all three groupings at once took twice the time.
_TRACES: Final = """
with counted as materialized (
    select decision, reason, code_version, left(config_digest, 12) as config, batch_id, count(*) as traces,
        list(latency_ms) as latencies,
        min(recorded_at) as first_recorded_at, max(recorded_at) as last_recorded_at,
        count(*) filter (coalesce(level, 'full') = 'full') as full_traces,
        count(*) filter (level = 'min') as min_traces,
        count(*) filter (deadline_hit) as deadline_hits, count(error) as errors,
        count(*) filter (len(truncated_fields) > 0) as truncated,
        sum(case when redactions is not null then list_sum(map_values(redactions)) end) as redactions
    from traces group by all
), timed as (
    select decision, code_version, config, percentiles(latency_ms) as ms
    from (select decision, code_version, config, unnest(latencies) as latency_ms from counted) group by all
), totals as (
    select grouping_id(decision, reason, code_version) as grouped, decision, reason, code_version, config,
        coalesce(sum(traces), 0)::bigint as traces, count(distinct batch_id) as batches,
        count(distinct code_version) as code_versions, min(first_recorded_at) as first_recorded_at,
        max(last_recorded_at) as last_recorded_at,
        coalesce(sum(full_traces), 0)::bigint as full_traces,
        coalesce(sum(min_traces), 0)::bigint as min_traces,
        coalesce(sum(deadline_hits), 0)::bigint as deadline_hits,
        coalesce(sum(errors), 0)::bigint as errors,
        coalesce(sum(truncated), 0)::bigint as truncated,
        coalesce(sum(redactions), 0)::bigint as redactions
    from counted
    group by grouping sets ((), (decision, reason), (decision, code_version, config))
)
select * from totals left join timed using (decision, code_version, config)
order by traces desc, decision, reason, code_version, config
"""
_IN_ALL, _BY_REASON, _BY_VERSION = 0b111, 0b001, 0b010
_KEPT: Final = (
    "batches",
    "code_versions",
    "first_recorded_at",
    "last_recorded_at",
    "full_traces",
    "min_traces",
    "deadline_hits",
    "errors",
    "truncated",
    "redactions",
)
_COMMITTED: Final = """
select coalesce(sum(rows) filter (state = 'live'), 0)::bigint as live,
    coalesce(sum(rows) filter (state = 'missing'), 0)::bigint as missing
from manifests
"""
# A batch whose chunks are all there has them from 0 on without a gap; what was compacted tells no chunk.
_GAPS: Final = """
select batch_id, max(chunk) + 1 as chunks, max(chunk) + 1 - count(distinct chunk) as absent
from stored.objects
where state = 'live' and chunk is not null and batch_id not in (
    select unnest(batch_ids) from stored.rewritten
) and not starts_with(batch_id, 'service-')
group by batch_id having absent > 0 order by batch_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSummary:
    """The numbers of a ledger; each list is records of plain values, biggest or oldest first.

    Attributes:
        ledger: where it is.
        objects: counts of objects: `live`, `bytes`, `missing`, `orphans`, `replaced`, and the newest `checkpoint`.
        rows: `traces` shown; `stored` rows in the objects and `doubles` among them; rows that manifests and checkpoint
            promise: `committed` in live objects, `missing` in those that are gone. `complete` where nothing differs.
        gaps: batches whose chunk numbers have holes: their `chunks`, and how many are `absent`.
        kept: what the traces are: batches, times, levels, deadline hits, errors, truncated ones, redactions.
        decisions: traces by decision and reason.
        latency: percentiles of latency in milliseconds by code version, configuration and decision.
        spool: what waits in this REDO_HOME; `None` where there is no spool to look at.
    """

    ledger: str
    objects: Record
    rows: Record
    gaps: list[Record]
    kept: Record
    decisions: list[Record]
    latency: list[Record]
    spool: Record | None


def summarize(uri: str, *, since: date | None = None, spool: Spool | None = None) -> LedgerSummary:
    """Read the numbers.

    Args:
        uri: where the ledger is.
        since: the first day to look at; `None` looks at all.
        spool: what waits to be delivered.

    Raises:
        ConfigError: the URI cannot be used.
        StoreError: the ledger or the spool cannot be read.
    """
    catalog = narrowed(read_catalog(uri), since=since)
    with closing(connect_to(uri, catalog)) as connection, explained(uri):
        traces = records(connection, _TRACES)
        in_all = next(record for record in traces if record["grouped"] == _IN_ALL)
        shown = int(str(in_all["traces"]))
        # Where no row can stand twice the view has them all, and counting would open each object once more.
        stored = count(connection, "select count(*) from stored.rows") if doubtful_keys(catalog) else shown
        promised = records(connection, _COMMITTED)[0]
        gaps = records(connection, _GAPS)
    complete = stored == promised["live"] and not catalog.missing and not gaps
    return LedgerSummary(
        ledger=str(parse_location(uri)),
        objects={
            "live": len(catalog.live),
            "bytes": sum(info.bytes for key in catalog.live if (info := catalog.sizes.get(key))),
            "missing": len(catalog.missing),
            "orphans": len(catalog.orphans),
            "replaced": len(catalog.replaced_present),
            "checkpoint": None if catalog.checkpoint is None else catalog.checkpoint.number,
        },
        rows={
            "traces": shown,
            "stored": stored,
            "doubles": stored - shown,
            "committed": promised["live"],
            "missing": promised["missing"],
            "complete": complete,
        },
        gaps=gaps,
        kept={name: in_all[name] for name in _KEPT},
        decisions=[_decision(record, shown) for record in traces if record["grouped"] == _BY_REASON],
        latency=sorted(
            (_latency(record) for record in traces if record["grouped"] == _BY_VERSION),
            key=lambda found: (str(found["code_version"]), str(found["config"]), str(found["decision"])),
        ),
        spool=None if spool is None else spool_summary(spool, uri),
    )


def _decision(record: Record, traces: int) -> Record:
    count = int(str(record["traces"]))
    return {
        "decision": record["decision"],
        "reason": record["reason"],
        "traces": count,
        "share": round(count / traces, 6),
    }


def _latency(record: Record) -> Record:
    names = ("code_version", "config", "decision")
    times = cast("Record", record["ms"])
    return {name: record[name] for name in names} | times | {"deadline_hits": record["deadline_hits"]}


def spool_summary(spool: Spool, uri: str) -> Record:
    """What waits in a spool: entries and bytes in all and for this ledger, the oldest, and what is in quarantine."""
    usage, here = spool.usage(), ledger_id(str(parse_location(uri)))
    age = None if usage.oldest_us is None else max(0.0, spool.clock.utc_now().timestamp() - usage.oldest_us / 1e6)
    return {
        "folder": str(spool.folder),
        "entries": usage.entries,
        "for_this_ledger": sum(entry.ledger_id == here for entry in spool.waiting()),
        "bytes": usage.bytes,
        "oldest_s": None if age is None else round(age, 1),
        "quarantined": [
            {"name": entry.name, "kind": str(entry.kind), "key": entry.key, "rows": entry.rows, "reason": entry.reason}
            for entry in spool.quarantined()
        ],
    }


def count(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    """The one number that a statement returns."""
    return int(connection.execute(sql).fetchall()[0][0])


def records(connection: duckdb.DuckDBPyConnection, sql: str, parameters: list[object] | None = None) -> list[Record]:
    """What a statement returns, one record a row, in values that JSON holds."""
    connection.execute(sql, parameters)  # none is None: any, even an empty list, imports pandas
    names = [column[0] for column in connection.description]
    return [dict(zip(names, map(plain, row), strict=True)) for row in connection.fetchall()]

"""Two reports: who contradicts whom, and what changed between two versions or batches."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import date
from typing import Final

import duckdb

from core.errors import InputError
from ledger.sandbox import explained
from ledger.summary import Record, records
from ledger.views import connect

_KINDS: Final = """
select kind, count(*) as findings, count(distinct trace_id) as traces, round(avg(score), 3) as mean_score,
    count(*) filter (loser is not null) as decided
from conflicts group by kind order by findings desc, kind
"""
# A source counts once a finding that it takes part in; rows of level min know no source.
_SOURCES: Final = """
with sides as (
    select kind, left_source as source, loser, 'left' as side from conflicts
    union all
    select kind, right_source, loser, 'right' from conflicts
)
select source, count(*) as disputes, count(*) filter (loser = side) as lost,
    count(*) filter (loser is not null and loser <> side) as won, count(*) filter (loser is null) as undecided
from sides where kind <> 'ambiguity' and source is not null
group by source order by lost desc, disputes desc, source limit $1
"""
_EXAMPLES: Final = """
select * from conflicts
where $2::varchar is null or kind = $2
order by score desc, trace_id, left_passage_id, right_passage_id limit $1
"""
_HOW_MANY: Final = """
select count(*) filter (is_version(code_version, config_digest, batch_id, $1)) as a,
    count(*) filter (is_version(code_version, config_digest, batch_id, $2)) as b
from decisions
"""
_VERSIONS: Final = """
select distinct unnest([code_version, batch_id, left(config_digest, 12)]) as version
from decisions order by jaro_winkler_similarity(version, $1) desc, version limit 5
"""
_COMPARED: Final = "from compare_versions($1, $2)"
_DECISIONS: Final = """
select decision_a, decision_b, count(*) as queries from found group by all order by queries desc, decision_a, decision_b
"""
_CHURN: Final = """
select count(*) as queries,
    count(*) filter (churn = 'same') as same,
    count(*) filter (churn = 'reordered') as reordered,
    count(*) filter (churn = 'changed') as changed,
    count(*) filter (first_changed) as first_changed,
    round(avg(jaccard), 4) as mean_jaccard,
    round(quantile_cont(latency_change_ms, 0.5), 3) as median_latency_change_ms
from found
"""
_CHANGED: Final = "from found where churn <> 'same' order by jaccard, query_id limit $1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictReport:
    """Disputes of a ledger.

    Attributes:
        kinds: findings and traces by kind, and in how many one side is the loser.
        sources: sources by how many contradictions they lost: less support than the other side, or left out while the
            other was selected.
        examples: the surest findings, with both sentences and the places of the disputed values.
    """

    kinds: list[Record]
    sources: list[Record]
    examples: list[Record]


def report_conflicts(
    uri: str, *, kind: str | None = None, sources: int = 10, examples: int = 3, since: date | None = None
) -> ConflictReport:
    """Read the disputes.

    Args:
        uri: where the ledger is.
        kind: the kind of the examples: numeric, date, entity, polarity or ambiguity; `None` takes any.
        sources: how many sources to list.
        examples: how many examples to show.
        since: the first day to look at; `None` looks at all.

    Raises:
        ConfigError, StoreError: the ledger cannot be read.
    """
    with closing(connect(uri, since=since)) as connection, explained(uri):
        return ConflictReport(
            kinds=records(connection, _KINDS),
            sources=records(connection, _SOURCES, [sources]),
            examples=records(connection, _EXAMPLES, [examples, kind]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffReport:
    """What changed from A to B.

    Attributes:
        a, b: how the two were named.
        measures: shares and latencies of both, over all their traces.
        churn: of the queries that both have: how many selections are the same, reordered or changed.
        decisions: those queries by who answered in A and in B.
        changed: queries with another selection, the most different first.
    """

    a: str
    b: str
    measures: list[Record]
    churn: Record
    decisions: list[Record]
    changed: list[Record]


def report_diff(uri: str, a: str, b: str, *, limit: int = 20, since: date | None = None) -> DiffReport:
    """Compare two versions.

    Args:
        uri: where the ledger is.
        a: a code version, a batch id, or the first 6 or more characters of a configuration's digest.
        b: the other one.
        limit: how many changed queries to list.
        since: the first day to look at; `None` looks at all.

    Raises:
        InputError: the ledger has no trace of one of them.
        ConfigError, StoreError: the ledger cannot be read.
    """
    with closing(connect(uri, since=since)) as connection, explained(uri):
        found = records(connection, _HOW_MANY, [a, b])[0]
        for wanted, traces in ((a, found["a"]), (b, found["b"])):
            if not traces:
                raise InputError(_unknown(connection, wanted))
        measures = records(connection, _COMPARED, [a, b])
        connection.execute("create temp table found as from churn($1, $2)", [a, b])
        return DiffReport(
            a=a,
            b=b,
            measures=measures,
            churn=records(connection, _CHURN)[0],
            decisions=records(connection, _DECISIONS),
            changed=records(connection, _CHANGED, [limit]),
        )


def _unknown(connection: duckdb.DuckDBPyConnection, wanted: str) -> str:
    near = ", ".join(str(record["version"]) for record in records(connection, _VERSIONS, [wanted]))
    listed = f"; it has {near}" if near else ", which is empty"
    return f"no trace of a code version, batch or configuration {wanted!r} in the ledger{listed}"

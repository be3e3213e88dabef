"""The views of a ledger as SQL. What they stand on is in the schema `stored`, made by `ledger.views`.

stored.nothing        no row of every column that the schema has today
stored.rows           every row of the objects that are read
stored.doubles        which of those rows are second ones, by file and place; there is none in most ledgers
stored.objects        the objects, as the catalog told of them
stored.manifest_rows  what their manifests say
stored.rewritten      the same of objects that have none, from the checkpoint
"""

from __future__ import annotations

from typing import Final

VIEWS: Final = ("traces", "latest_traces", "documents", "conflicts", "stages", "decisions", "manifests")
"""What a user's SQL may read."""

OBJECTS: Final = """
create table stored.objects (
    key varchar, file varchar, state varchar, rewritten boolean, dt date, batch_id varchar, chunk integer, bytes bigint,
    modified_at timestamptz
)
"""
REWRITTEN: Final = """
create table stored.rewritten (
    object_key varchar, rows bigint, bytes bigint, sha256 varchar, schema_version integer, batch_ids varchar[],
    first_recorded_at varchar, last_recorded_at varchar
)
"""

OBJECTS_AS_JSON: Final = """
[{"key": "varchar", "file": "varchar", "state": "varchar", "rewritten": "boolean", "dt": "date", "batch_id": "varchar",
  "chunk": "integer", "bytes": "bigint", "modified_at": "timestamptz"}]
"""
REWRITTEN_AS_JSON: Final = """
[{"key": "varchar", "rows": "bigint", "bytes": "bigint", "sha256": "varchar", "schema_version": "integer",
  "batch_ids": ["varchar"], "first_recorded_at": "varchar", "last_recorded_at": "varchar"}]
"""
INSERT: Final = "insert into stored.{name} select unnest(from_json({rows}, {structure}), max_depth := 2)"
"""From a JSON array of objects, whose fields stand in the order of the table's columns, and its structure."""

NO_ROWS: Final = """
create or replace view stored.rows as
select *, null::varchar as filename, null::bigint as file_row_number from stored.nothing
"""
# The empty table brings the columns that older files do not have yet; the casts drop what newer ones have in addition.
ROWS: Final = """
create or replace view stored.rows as
select {columns}, filename, file_row_number
from (
    select * from stored.nothing
    union all by name
    select * from read_parquet({files}, union_by_name = true, hive_partitioning = true, hive_types = {{'dt': date}},
        filename = true, file_row_number = true)
)
"""
# An id stands in two objects only where names leave a doubt. Finding those few rows reads one narrow column; a window
# over whole rows would hold every passage text in memory. A rewritten row goes first: what was removed from it must not
# come back with the other.
DOUBLES: Final = """
create table stored.doubles as
with ids as (
    select trace_id, filename, file_row_number from read_parquet({files}, filename = true, file_row_number = true)
)
select filename, file_row_number from (
    select filename, file_row_number, row_number() over (
        partition by trace_id order by not coalesce(rewritten, false), filename, file_row_number
    ) as place
    from ids left join stored.objects on file = filename
    where trace_id in (select trace_id from ids group by trace_id having count(*) > 1)
) where place > 1
"""
TRACES: Final = "create view traces as select * exclude (filename, file_row_number) from stored.rows"
TRACES_WITHOUT_DOUBLES: Final = TRACES + " anti join stored.doubles using (filename, file_row_number)"

NO_MANIFESTS: Final = """
create or replace view stored.manifest_rows as select
    null::varchar as writer, null::bigint as "sequence", null::boolean as spooled, null::varchar as committed_at,
    null::struct("key" varchar, rows bigint, bytes bigint, sha256 varchar, schema_version integer, batch_ids varchar[],
        first_recorded_at varchar, last_recorded_at varchar) as object,
    null::struct("key" varchar, sha256 varchar) as previous
where false
"""
MANIFESTS: Final = """
create or replace view stored.manifest_rows as
select * from read_json({files}, format = 'newline_delimited', columns = {{
    writer: 'varchar', sequence: 'bigint', spooled: 'boolean', committed_at: 'varchar',
    object: 'struct("key" varchar, rows bigint, bytes bigint, sha256 varchar, schema_version integer,
        batch_ids varchar[], first_recorded_at varchar, last_recorded_at varchar)',
    previous: 'struct("key" varchar, sha256 varchar)'
}})
"""

_LATEST: Final = """
create view latest_traces as
select * from traces
where trace_id in (
    select arg_max(trace_id, (recorded_at, attempt, trace_id)) from traces group by query_id, query_sha256
)
"""
_NESTED: Final = """
create view {name} as
select trace_id, batch_id, query_id, dt, code_version, selection_arm, unnest({name}, max_depth := 2) from traces
"""
# `loser` looks the two passages up in the documents; who does not ask for it, or for the sources, does not read those.
_CONFLICTS: Final = """
create view conflicts as
select * exclude (left_document, right_document),
    left_document.source as left_source,
    right_document.source as right_source,
    case
        when kind = 'ambiguity' then null
        when left_document.selected and not right_document.selected then 'right'
        when right_document.selected and not left_document.selected then 'left'
        when left_document.support < right_document.support then 'left'
        when right_document.support < left_document.support then 'right'
    end as loser
from (
    select trace_id, batch_id, query_id, dt, code_version, selection_arm, unnest(conflict),
        list_filter(documents, lambda found: found.id = conflict.left_passage_id)[1] as left_document,
        list_filter(documents, lambda found: found.id = conflict.right_passage_id)[1] as right_document
    from (select *, unnest(conflicts) as conflict from traces)
)
"""
_DECISIONS: Final = """
create view decisions as
select trace_id, batch_id, query_id, dt, recorded_at, decision, reason, guard_decision, guard_reason, shadow, error,
    flags, rollout_percentage, bucket, phase, breaker_state, latency_ms, budget_ms, deadline_hit, code_version,
    config_digest
from traces
"""
_MANIFESTS: Final = """
create view manifests as
select object_key, coalesce(state, 'missing') as state, coalesce(rewritten, writer is null) as rewritten, dt, batch_ids,
    rows, said.bytes as bytes, sha256, schema_version, first_recorded_at::timestamptz as first_recorded_at,
    last_recorded_at::timestamptz as last_recorded_at, writer, "sequence", spooled,
    committed_at::timestamptz as committed_at, previous_key, previous_sha256
from (
    select unnest({'object_key': object."key", 'rows': object.rows, 'bytes': object.bytes, 'sha256': object.sha256,
        'schema_version': object.schema_version, 'batch_ids': object.batch_ids,
        'first_recorded_at': object.first_recorded_at, 'last_recorded_at': object.last_recorded_at}),
        writer, "sequence", spooled, committed_at, previous."key" as previous_key, previous.sha256 as previous_sha256
    from stored.manifest_rows
    union all by name
    from stored.rewritten
) said
left join stored.objects on objects."key" = object_key
"""

ON_TRACES: Final = (
    _LATEST,
    *(_NESTED.format(name=name) for name in ("documents", "stages")),
    _CONFLICTS,
    _DECISIONS,
    _MANIFESTS,
)
"""The views that stand on `traces` and on the tables, in an order in which they can be made."""


def quoted(text: str) -> str:
    """The text as a string literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def glob_escaped(path: str) -> str:
    """The path as a pattern that matches only itself."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in path)

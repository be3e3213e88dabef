"""Traces of one chunk as the bytes of one Parquet file, and the key that the file gets.

The same traces of the same run give the same bytes and the same key, so a task that is run again writes nothing twice.
Each trace becomes a row (`ledger.rows`), with its secrets masked and no longer than it may be, and the rows become
columns, nested ones as flat child columns with offsets: no element is ever a dict.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import accumulate, chain
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from core.digest import canonical_json, content_digest, text_digest
from core.errors import BatchError
from core.model import Selection
from core.trace import Arm, QueryResult, input_digest, trace_id
from ledger.level import Level
from ledger.policy import TracePolicy
from ledger.rows import (
    SIZES,
    TABLES,
    Evaluation,
    Row,
    Shared,
    Table,
    Texts,
    conflicts_table,
    documents_table,
    evaluations_table,
    length_of,
    stages_table,
)
from ledger.schema import FILE_SCHEMA, SCHEMA_VERSION
from ledger.truncation import shorten

__all__ = ["Evaluation", "RunIdentity", "TracePolicy", "encode_traces", "keyed_hash", "object_key", "trace_ids"]

_BATCH_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")

# Texts repeat from query to query, and a dictionary stores each once. Arrow gives a dictionary up at 1 MiB; a chunk's
# texts are more than that. What never repeats is smaller, and written faster, without one.
_DICTIONARY_BYTES = 32 * 1024 * 1024
_NO_DICTIONARY: Final = frozenset({"trace_id", "query_id", "input_digest", "query_text", "query_sha256", "error"})
_ZSTD_LEVEL = 3

_EMPTY: Final[Mapping[str, Sequence[Evaluation]]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunIdentity:
    """What all traces of one attempt at one chunk share.

    Attributes:
        batch_id: id of the batch.
        flow_run_id: id of the Prefect flow run; `None` outside one.
        attempt: which attempt of the task this is, from 1.
        started_at: when the run started.
        config_digest: SHA-256 of the configuration that the run uses.
        code_version: version of the code that runs.
        model_versions: version of each part that can be replaced, by its name.
        flags: the flags of the run, by name.
        rollout_percentage: share of keys that get REDO, 0 to 100; `None` where no rollout is on.
        hash_key: secret that session and user ids are hashed with. The plain ids never reach the ledger.
        phase: phase of the rollout; `None` where none is on.
        phase_attempt: which attempt at that phase, from 1.
        breaker_state: state of the orchestrator's breaker when the chunk was begun: closed, open or half_open.
        pipeline: what the pipeline is told, as JSON can hold it: what a replay needs beside the row.
    """

    batch_id: str
    flow_run_id: str | None
    attempt: int
    started_at: datetime
    config_digest: str
    code_version: str
    model_versions: Mapping[str, str]
    flags: Mapping[str, object]
    rollout_percentage: float | None
    hash_key: bytes = field(repr=False)
    phase: str | None = None
    phase_attempt: int | None = None
    breaker_state: str | None = None
    pipeline: Mapping[str, object] | None = None


def keyed_hash(value: str, *, key: bytes) -> str:
    """HMAC-SHA256 of an id, as 64 hexadecimal digits: the same person can be followed, and not be named."""
    return hmac.digest(key, value.encode(), "sha256").hex()


def trace_ids(results: Sequence[QueryResult], *, run: RunIdentity) -> tuple[str, ...]:
    """Ids of the traces, in the order of the results."""
    return tuple(trace_id(run.batch_id, result.query, config_digest=run.config_digest) for result in results)


def object_key(batch_id: str, chunk_index: int, trace_ids: Sequence[str], dt: date) -> str:
    """Key of a chunk's object: from what it holds, never from when it is written.

    A batch that is resumed keeps the `dt` of its first run; only then does a retried task meet its own object.

    Args:
        batch_id: id of the batch, of letters, digits, dot, underscore and hyphen.
        chunk_index: place of the chunk in the batch, from 0.
        trace_ids: ids of the chunk's traces in their order.
        dt: the day that the batch belongs to.

    Raises:
        BatchError: the batch id has other characters and could lead out of the folder.
    """
    if not _BATCH_ID.fullmatch(batch_id):
        raise BatchError(f"batch id {batch_id!r}: expected 1 to 100 letters, digits, '.', '_' or '-'")
    digest = content_digest(list(trace_ids))[:16]
    return f"traces/dt={dt.isoformat()}/{batch_id}-{chunk_index:05d}-{digest}.parquet"


def encode_traces(
    results: Sequence[QueryResult],
    *,
    run: RunIdentity,
    recorded_at: datetime,
    policy: TracePolicy | None = None,
    evaluations: Mapping[str, Sequence[Evaluation]] | None = None,
) -> bytes:
    """Build a Parquet file in memory, with one row a result.

    `documents` and `conflicts` describe the selection of one arm, named in `selection_arm`: REDO's where it ran.

    Args:
        results: the chunk's results, in their order.
        run: what they share.
        recorded_at: when the rows are written.
        policy: what of a trace is kept; without one all of it, with what `TracePolicy()` masks and how long it may be.
        evaluations: scores of the answers, by query id.

    Returns:
        The file's bytes; the same arguments give the same bytes.

    Raises:
        ValueError: the policy's level is off: nothing is to be encoded then.
    """
    rows = trace_rows(results, run=run, recorded_at=recorded_at, policy=policy, evaluations=evaluations)
    arrays = _arrays(rows)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(arrays, schema=FILE_SCHEMA), sink, **WRITE_OPTIONS)
    return bytes(sink.getvalue())


def trace_rows(
    results: Sequence[QueryResult],
    *,
    run: RunIdentity,
    recorded_at: datetime,
    policy: TracePolicy | None = None,
    evaluations: Mapping[str, Sequence[Evaluation]] | None = None,
) -> list[Row]:
    """The rows that `encode_traces` writes, masked and shortened; arguments and errors as there."""
    policy = policy or TracePolicy()
    if policy.level is Level.OFF:
        raise ValueError("level off: there is nothing to encode")
    texts = policy.texts
    shared = Shared(_shared_columns(run, recorded_at, texts))
    scores = evaluations or _EMPTY
    return [
        shorten(
            _row(result, identity, shared, run.hash_key, policy, texts, scores.get(result.query.query_id)),
            policy.max_trace_bytes,
        )
        for result, identity in zip(results, trace_ids(results, run=run), strict=True)
    ]


def _shared_columns(run: RunIdentity, recorded_at: datetime, texts: Texts) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "batch_id": run.batch_id,
        "flow_run_id": run.flow_run_id,
        "attempt": run.attempt,
        "config_digest": run.config_digest,
        "code_version": run.code_version,
        "model_versions": dict(sorted(run.model_versions.items())),
        "recorded_at": recorded_at,
        "started_at": run.started_at,
        "flags": {name: canonical_json(value).decode() for name, value in sorted(run.flags.items())},
        "rollout_percentage": None if run.rollout_percentage is None else float(run.rollout_percentage),
        "phase": run.phase,
        "phase_attempt": run.phase_attempt,
        "breaker_state": run.breaker_state,
    }
    if run.pipeline is not None:
        columns["extra_json"] = canonical_json({"pipeline": _masked_value(dict(run.pipeline), texts)}).decode()
    return columns


def _masked_value(value: object, texts: Texts) -> object:
    if isinstance(value, str):
        return texts.masked(str(value), {})
    if isinstance(value, Mapping):
        return {str(name): _masked_value(part, texts) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked_value(part, texts) for part in value]
    return value


def _row(
    result: QueryResult,
    identity: str,
    shared: Shared,
    hash_key: bytes,
    policy: TracePolicy,
    texts: Texts,
    evaluations: Sequence[Evaluation] | None,
) -> Row:
    trace, query = result.trace, result.trace.query
    arm, selection = _described_selection(result)
    level = policy.level_of(trace, selection, identity)
    counts: dict[str, int] = {}
    tables = {
        "documents": documents_table(trace, selection, texts=texts if level is Level.FULL else None, counts=counts),
        "conflicts": conflicts_table(trace, selection, texts=texts, counts=counts),
        "stages": stages_table(trace),
    }
    if evaluations:
        tables["evaluations"] = evaluations_table(evaluations, texts=texts, counts=counts)
    columns = {
        "trace_id": identity,
        "query_id": query.query_id,
        "input_digest": input_digest(query),
        "latency_ms": float(trace.latency_ms),
        "budget_ms": float(trace.budget_ms),
        "deadline_hit": trace.deadline_hit,
        "query_text": texts.masked(query.text, counts),
        "query_sha256": text_digest(query.text),
        "session_hash": None if query.session_id is None else keyed_hash(query.session_id, key=hash_key),
        "user_hash": None if query.user_id is None else keyed_hash(query.user_id, key=hash_key),
        "decision": str(trace.decision),
        "reason": str(trace.reason),
        "guard_decision": str(trace.guard.decision),
        "guard_reason": str(trace.guard.reason),
        "shadow": trace.guard.shadow,
        "bucket": trace.guard.bucket,
        "error": None if trace.error is None else texts.masked(trace.error, counts),
        "selection_arm": str(arm),
        "legacy_selection": None if trace.legacy is None else trace.legacy.passage_ids,
        "level": str(level),
        "redactions": dict(sorted(counts.items())) or None,
    }
    return Row(shared, {name: value for name, value in columns.items() if value is not None}, tables)


def _described_selection(result: QueryResult) -> tuple[Arm, Selection]:
    trace = result.trace
    if trace.redo is not None:
        return Arm.REDO, trace.redo
    return Arm.LEGACY, result.selection if trace.legacy is None else trace.legacy


# --- rows as columns -----------------------------------------------------------------------------------------------


def _arrays(rows: Sequence[Row]) -> list[pa.Array]:
    uniform = bool(rows) and all(row.shared is rows[0].shared for row in rows)
    shared = rows[0].shared.columns if uniform else {}
    own = [row.columns if uniform else {**row.shared.columns, **row.columns} for row in rows]
    present = set[str]().union(*own)

    def array(name: str, kind: pa.DataType) -> pa.Array:
        if name in TABLES:
            return _table_array([row.tables.get(name) for row in rows], kind)
        if name in SIZES:
            return pa.array([row.get(name) for row in rows], type=kind)
        if name in shared:
            return _repeated(shared[name], len(rows), kind)
        if name not in present:
            return pa.nulls(len(rows), kind)
        values = [columns.get(name) for columns in own]
        return pa.array(map(_entries, values) if pa.types.is_map(kind) else values, type=kind)

    return [array(column.name, column.type) for column in FILE_SCHEMA]


def _repeated(value: object, length: int, kind: pa.DataType) -> pa.Array:
    if not pa.types.is_map(kind):
        return pa.array([value] * length, type=kind)
    return pa.array([_entries(value)], type=kind).take(pa.array([0] * length, type=pa.int32()))


def _entries(value: object) -> object:
    """A map as Arrow takes it."""
    return list(value.items()) if isinstance(value, Mapping) else value


def _table_array(tables: Sequence[Table | None], kind: pa.ListType) -> pa.Array:
    lengths = [0 if table is None else length_of(table) for table in tables]
    ends = list(accumulate(lengths, initial=0))
    # A null offset makes a null list; the end of the last one is no offset of a list.
    offsets = [None if table is None else start for table, start in zip(tables, ends, strict=False)] + ends[-1:]
    filled = [table for table in tables if table]
    fields = list(kind.value_type)
    spread: dict[tuple[bool, ...], pa.Array] = {}
    children = [_child_array(filled, child, ends[-1], spread) for child in fields]
    structs = pa.StructArray.from_arrays(children, fields=fields)
    return pa.ListArray.from_arrays(pa.array(offsets, type=pa.int32()), structs, type=kind)


def _child_array(
    tables: Sequence[Table], child: pa.Field, length: int, spread: dict[tuple[bool, ...], pa.Array]
) -> pa.Array:
    """One field of all elements. `spread` keeps how the values lie among the nulls, where some rows do not have it."""
    name = child.name
    having = tuple([name in table for table in tables])
    if not any(having):
        return pa.nulls(length, child.type)
    values = pa.array(list(chain.from_iterable([table[name] for table in tables if name in table])), type=child.type)
    if all(having):
        return values
    if having not in spread:
        spread[having] = _places(tables, having)
    return values.take(spread[having])


def _places(tables: Sequence[Table], having: Sequence[bool]) -> pa.Array:
    """For each element the place of its value among those of the rows that have one, null in the other rows."""
    places: list[int | None] = []
    at = 0
    for table, has in zip(tables, having, strict=True):
        length = length_of(table)
        places.extend(range(at, at + length) if has else [None] * length)
        at += length if has else 0
    return pa.array(places, type=pa.int32())


def _dictionary_columns() -> list[str]:
    """The paths of texts that repeat, as Parquet writes them."""
    return [path for field in FILE_SCHEMA for path, kind in _leaves(field.name, field.type) if _repeats(path, kind)]


def _repeats(path: str, kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind)) and path not in _NO_DICTIONARY


def _leaves(path: str, kind: pa.DataType) -> list[tuple[str, pa.DataType]]:
    if pa.types.is_map(kind):
        return [(f"{path}.key_value.key", kind.key_type), (f"{path}.key_value.value", kind.item_type)]
    if pa.types.is_list(kind):
        return _leaves(f"{path}.list.element", kind.value_type)
    if pa.types.is_struct(kind):
        return [leaf for child in kind for leaf in _leaves(f"{path}.{child.name}", child.type)]
    return [(path, kind)]


WRITE_OPTIONS: Final[Mapping[str, Any]] = {
    "compression": "zstd",
    "compression_level": _ZSTD_LEVEL,
    "use_dictionary": _dictionary_columns(),
    "dictionary_pagesize_limit": _DICTIONARY_BYTES,
    # Least and greatest passage text help no reader and cost room.
    "write_statistics": [column.name for column in FILE_SCHEMA if not pa.types.is_nested(column.type)],
    "store_schema": False,
}
"""How the files of the ledger are written, for those that write rows anew as well."""

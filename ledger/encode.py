"""Traces of one chunk as the bytes of one Parquet file, and the key that the file gets.

The same traces of the same run give the same bytes and the same key, so a task that is run again writes nothing twice.
Each trace becomes a row (`ledger.rows`), with its secrets masked and no longer than it may be, and the rows become
columns (`ledger.row_columns`), nested ones as flat child columns with offsets: no element is ever a dict.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from core.digest import canonical_json, content_digest, text_digest
from core.errors import BatchError
from core.model import Selection
from core.trace import Arm, Identity, QueryResult, identify
from ledger.level import Level
from ledger.policy import TracePolicy
from ledger.row_columns import columns_of
from ledger.rows import (
    Evaluation,
    Row,
    Shared,
    Texts,
    conflicts_table,
    documents_table,
    evaluations_table,
    stages_table,
)
from ledger.schema import FILE_SCHEMA, SCHEMA_VERSION
from ledger.truncation import shorten

__all__ = [
    "CHUNK_OPTIONS",
    "WRITE_OPTIONS",
    "Evaluation",
    "RunIdentity",
    "TracePolicy",
    "encode_traces",
    "identities",
    "keyed_hash",
    "object_key",
]

_BATCH_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")

# Texts repeat from query to query, and a dictionary stores each once. Arrow gives a dictionary up at 1 MiB; a chunk's
# texts are more than that. What never repeats is smaller, and written faster, without one.
_DICTIONARY_BYTES = 32 * 1024 * 1024
_NO_DICTIONARY: Final = frozenset({"trace_id", "query_id", "input_digest", "query_text", "query_sha256", "error"})
_ZSTD_LEVEL = 3
_CHUNK_ZSTD_LEVEL = 1
_LOOKED_UP: Final = ("trace_id", "query_id", "batch_id", "recorded_at")  # what somebody looks for in single chunks

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


def identities(results: Sequence[QueryResult], *, run: RunIdentity) -> tuple[Identity, ...]:
    """Identities of the traces, in the order of the results."""
    return tuple(identify(run.batch_id, result.query, config_digest=run.config_digest) for result in results)


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
    ids: Sequence[Identity] | None = None,
) -> bytes:
    """Build a Parquet file in memory, with one row a result.

    `documents` and `conflicts` describe the selection of one arm, named in `selection_arm`: REDO's where it ran.

    Args:
        results: the chunk's results, in their order.
        run: what they share.
        recorded_at: when the rows are written.
        policy: what of a trace is kept; without one all of it, with what `TracePolicy()` masks and how long it may be.
        evaluations: scores of the answers, by query id.
        ids: what `identities` says of the results, where the caller knows it already.

    Returns:
        The file's bytes; the same arguments give the same bytes.

    Raises:
        ValueError: the policy's level is off: nothing is to be encoded then.
    """
    policy = policy or TracePolicy()
    shared = _shared(run, recorded_at, policy)
    rows = _rows(results, ids or identities(results, run=run), run, shared, policy, evaluations or _EMPTY)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(columns_of(rows, shared), schema=FILE_SCHEMA), sink, **CHUNK_OPTIONS)
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
    shared = _shared(run, recorded_at, policy)
    return list(_rows(results, identities(results, run=run), run, shared, policy, evaluations or _EMPTY))


def _rows(
    results: Sequence[QueryResult],
    ids: Sequence[Identity],
    run: RunIdentity,
    shared: Shared,
    policy: TracePolicy,
    evaluations: Mapping[str, Sequence[Evaluation]],
) -> Iterator[Row]:
    for result, identity in zip(results, ids, strict=True):
        row = _row(result, identity, shared, run.hash_key, policy, evaluations.get(result.query.query_id))
        yield shorten(row, policy.max_trace_bytes)


def _shared(run: RunIdentity, recorded_at: datetime, policy: TracePolicy) -> Shared:
    if policy.level is Level.OFF:
        raise ValueError("level off: there is nothing to encode")
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
        columns["extra_json"] = canonical_json({"pipeline": _masked_value(dict(run.pipeline), policy.texts)}).decode()
    return Shared(columns)


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
    identity: Identity,
    shared: Shared,
    hash_key: bytes,
    policy: TracePolicy,
    evaluations: Sequence[Evaluation] | None,
) -> Row:
    trace, query, texts = result.trace, result.trace.query, policy.texts
    arm, selection = _described_selection(result)
    level = policy.level_of(trace, selection, identity.trace_id)
    counts: dict[str, int] = {}
    tables = {
        "documents": documents_table(trace, selection, texts=texts if level is Level.FULL else None, counts=counts),
        "conflicts": conflicts_table(trace, selection, texts=texts, counts=counts),
        "stages": stages_table(trace),
    }
    if evaluations:
        tables["evaluations"] = evaluations_table(evaluations, texts=texts, counts=counts)
    columns: dict[str, Any] = {
        "trace_id": identity.trace_id,
        "query_id": query.query_id,
        "input_digest": identity.input_digest,
        "latency_ms": float(trace.latency_ms),
        "budget_ms": float(trace.budget_ms),
        "deadline_hit": trace.deadline_hit,
        "query_text": texts.masked(query.text, counts),
        "query_sha256": text_digest(query.text),
        "decision": str(trace.decision),
        "reason": str(trace.reason),
        "guard_decision": str(trace.guard.decision),
        "guard_reason": str(trace.guard.reason),
        "shadow": trace.guard.shadow,
        "selection_arm": str(arm),
        "level": str(level),
    }
    if query.session_id is not None:
        columns["session_hash"] = keyed_hash(query.session_id, key=hash_key)
    if query.user_id is not None:
        columns["user_hash"] = keyed_hash(query.user_id, key=hash_key)
    if trace.guard.bucket is not None:
        columns["bucket"] = trace.guard.bucket
    if trace.error is not None:
        columns["error"] = texts.masked(trace.error, counts)
    if trace.legacy is not None:
        columns["legacy_selection"] = trace.legacy.passage_ids
    if counts:
        columns["redactions"] = dict(sorted(counts.items()))
    return Row(shared, columns, tables)


def _described_selection(result: QueryResult) -> tuple[Arm, Selection]:
    trace = result.trace
    if trace.redo is not None:
        return Arm.REDO, trace.redo
    return Arm.LEGACY, result.selection if trace.legacy is None else trace.legacy


# --- how files are written ----------------------------------------------------------------------------------------


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
"""How the files are written that stay: by those who write the rows of many chunks anew."""

CHUNK_OPTIONS: Final[Mapping[str, Any]] = {
    **WRITE_OPTIONS,
    "compression_level": _CHUNK_ZSTD_LEVEL,
    "write_statistics": list(_LOOKED_UP),
}
"""How a chunk's file is written, which a run waits for and a compaction replaces: in less time, at about the size."""

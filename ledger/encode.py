"""Traces of one chunk as the bytes of one Parquet file, and the key that the file gets.

The same traces of the same run give the same bytes and the same key, so a task that is run again writes nothing twice.
Columns are built one by one, nested ones as flat child columns with offsets: no row is ever a dict.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq

from core.digest import canonical_json, content_digest, text_digest
from core.errors import BatchError
from core.model import Ambiguity, Claim, Contradiction, Evidence, Exclusion, Passage, ScoredPassage, Selection
from core.trace import Arm, QueryResult, Trace, input_digest, passage_digest, trace_id
from ledger.schema import FILE_SCHEMA, SCHEMA_VERSION

_BATCH_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")

# Texts repeat from query to query, and a dictionary stores each once. Arrow gives a dictionary up at 1 MiB; a chunk's
# texts are more than that.
_DICTIONARY_BYTES = 32 * 1024 * 1024
_ZSTD_LEVEL = 3

_Row = tuple[object, ...]


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


def encode_traces(results: Sequence[QueryResult], *, run: RunIdentity, recorded_at: datetime) -> bytes:
    """Build a Parquet file in memory, with one row a result, at content level full.

    `documents` and `conflicts` describe the selection of one arm, named in `selection_arm`: REDO's where it ran.

    Args:
        results: the chunk's results, in their order.
        run: what they share.
        recorded_at: when the rows are written.

    Returns:
        The file's bytes; the same arguments give the same bytes.
    """
    columns = _columns(results, run=run, recorded_at=recorded_at)
    arrays = [_array(columns.get(column.name, (None,) * len(results)), column.type) for column in FILE_SCHEMA]
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_arrays(arrays, schema=FILE_SCHEMA),
        sink,
        compression="zstd",
        compression_level=_ZSTD_LEVEL,
        dictionary_pagesize_limit=_DICTIONARY_BYTES,
        # Least and greatest passage text help no reader and cost room.
        write_statistics=[column.name for column in FILE_SCHEMA if not pa.types.is_nested(column.type)],
        store_schema=False,
    )
    return bytes(sink.getvalue())


def _columns(results: Sequence[QueryResult], *, run: RunIdentity, recorded_at: datetime) -> dict[str, Sequence[object]]:
    """All columns that this level fills; a name that is missing here is null in every row."""
    traces = [result.trace for result in results]
    described = [_described_selection(result) for result in results]
    shared: dict[str, object] = {
        "schema_version": SCHEMA_VERSION,
        "batch_id": run.batch_id,
        "flow_run_id": run.flow_run_id,
        "attempt": run.attempt,
        "config_digest": run.config_digest,
        "code_version": run.code_version,
        "model_versions": sorted(run.model_versions.items()),
        "recorded_at": recorded_at,
        "started_at": run.started_at,
        "flags": [(name, canonical_json(value).decode()) for name, value in sorted(run.flags.items())],
        "rollout_percentage": run.rollout_percentage,
    }
    digests: dict[str, str] = {}
    return {name: (value,) * len(results) for name, value in shared.items()} | {
        "trace_id": trace_ids(results, run=run),
        "query_id": [trace.query.query_id for trace in traces],
        "input_digest": [input_digest(trace.query) for trace in traces],
        "latency_ms": [trace.latency_ms for trace in traces],
        "budget_ms": [trace.budget_ms for trace in traces],
        "deadline_hit": [trace.deadline_hit for trace in traces],
        "query_text": [trace.query.text for trace in traces],
        "query_sha256": [text_digest(trace.query.text) for trace in traces],
        "session_hash": [_hash_or_none(trace.query.session_id, run) for trace in traces],
        "user_hash": [_hash_or_none(trace.query.user_id, run) for trace in traces],
        "decision": [trace.decision for trace in traces],
        "reason": [trace.reason for trace in traces],
        "guard_decision": [trace.guard.decision for trace in traces],
        "guard_reason": [trace.guard.reason for trace in traces],
        "shadow": [trace.guard.shadow for trace in traces],
        "bucket": [trace.guard.bucket for trace in traces],
        "error": [_storable(trace.error) for trace in traces],
        "selection_arm": [arm for arm, _ in described],
        "documents": [
            _document_rows(trace, selection, digests) for trace, (_, selection) in zip(traces, described, strict=True)
        ],
        "conflicts": [_conflict_rows(selection) for _, selection in described],
        "stages": [_stage_rows(trace) for trace in traces],
        "legacy_selection": [None if trace.legacy is None else trace.legacy.passage_ids for trace in traces],
    }


def _described_selection(result: QueryResult) -> tuple[Arm, Selection]:
    trace = result.trace
    if trace.redo is not None:
        return Arm.REDO, trace.redo
    return Arm.LEGACY, result.selection if trace.legacy is None else trace.legacy


def _hash_or_none(value: str | None, run: RunIdentity) -> str | None:
    return None if value is None else keyed_hash(value, key=run.hash_key)


def _storable(message: str | None) -> str | None:
    """An exception can carry text that is no valid UTF-8; it must not cost the chunk its ledger."""
    return None if message is None else message.encode(errors="backslashreplace").decode()


def _document_rows(trace: Trace, selection: Selection, digests: dict[str, str]) -> list[_Row]:
    placed = {item.passage.passage_id: (rank, item) for rank, item in enumerate(selection.evidence, start=1)}
    left_out = {item.passage_id: item for item in selection.exclusions}
    rows: list[_Row] = []
    for rank, scored in enumerate(trace.ranking.items, start=1):
        passage = scored.passage
        rank_out, evidence = placed.get(passage.passage_id, (None, None))
        rows.append(
            (
                *_retrieved(rank, scored),
                rank_out,
                evidence is not None,
                *_excluded(left_out.get(passage.passage_id)),
                *_standing(evidence),
                _digest(passage, digests),
                passage.text,
                *_score_parts(evidence),
            )
        )
    return rows


def _retrieved(rank: int, scored: ScoredPassage) -> _Row:
    passage = scored.passage
    return (passage.passage_id, scored.score, passage.source, passage.published_at, rank)


def _excluded(exclusion: Exclusion | None) -> _Row:
    return (None, None) if exclusion is None else (exclusion.reason, exclusion.because_of)


def _standing(evidence: Evidence | None) -> _Row:
    if evidence is None:
        return (None, None, None, None, None)
    return (evidence.support, evidence.conflict_group, evidence.disputed, evidence.disputed_by, evidence.tokens)


def _score_parts(evidence: Evidence | None) -> _Row:
    if evidence is None:
        return (None, None, None, None, None)
    parts = evidence.score_parts
    return (evidence.score, parts.relevance, parts.support, parts.contradiction, parts.recency)


def _digest(passage: Passage, digests: dict[str, str]) -> str:
    """Digest of the passage's text, computed once a chunk."""
    known = digests.get(passage.text)
    if known is None:
        known = digests[passage.text] = passage_digest(passage)
    return known


def _conflict_rows(selection: Selection) -> list[_Row]:
    findings: tuple[Contradiction | Ambiguity, ...] = (*selection.contradictions, *selection.ambiguities)
    return [_kind_row(item) + _claim_row(item.left) + _claim_row(item.right) for item in findings]


def _kind_row(finding: Contradiction | Ambiguity) -> _Row:
    if isinstance(finding, Ambiguity):
        return ("ambiguity", finding.score, finding.stage, finding.name)
    return (finding.kind, finding.score, finding.stage, None)


def _claim_row(claim: Claim) -> _Row:
    sentence, value = claim.sentence_span, claim.value_span
    return (claim.passage_id, claim.sentence, sentence.start, sentence.end, claim.value, value.start, value.end)


def _stage_rows(trace: Trace) -> list[_Row]:
    return [
        (stage.name, stage.arm, stage.latency_ms, stage.items_in, stage.items_out, stage.complete)
        for stage in trace.stages
    ]


def _array(values: Sequence[object], kind: pa.DataType) -> pa.Array:
    """One column. A list of structs comes in as rows of tuples, in the order of the struct's fields."""
    if not (pa.types.is_list(kind) and pa.types.is_struct(kind.value_type)) or all(value is None for value in values):
        return pa.array(values, type=kind)
    offsets = [0]
    rows: list[_Row] = []
    for value in cast("Sequence[Sequence[_Row]]", values):
        rows.extend(value)
        offsets.append(len(rows))
    fields = list(kind.value_type)
    children = zip(*rows, strict=True) if rows else [()] * len(fields)
    arrays = [pa.array(child, type=column.type) for child, column in zip(children, fields, strict=True)]
    structs = pa.StructArray.from_arrays(arrays, fields=fields)
    return pa.ListArray.from_arrays(pa.array(offsets, type=pa.int32()), structs, type=kind)

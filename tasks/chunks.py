"""The work on one chunk: choose evidence for its queries, and keep its traces for the ledger.

It may be done again at any time: a chunk that is done is not computed again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from core.clock import Clock
from core.errors import ConfigError
from core.fallbacks import FlagView, get_fallback_manager
from core.flags import bucket_key
from core.metrics import add_results
from core.model import Query
from core.output import conflict_record, output_record
from core.pipeline import Pipeline
from core.records import parse_query
from core.trace import Identity, QueryResult, identify
from ledger.encode import keyed_hash
from tasks.run_folder import RunFolder, read_json, read_rows, write_json, write_rows
from tasks.run_spec import RunSpec
from tasks.settings import Settings
from tasks.trace_keeper import TraceKeeper
from tasks.wiring import build_pipeline, hash_key, metrics_recorder

Report = dict[str, object]


def work_on_chunk(
    folder: RunFolder, number: int, settings: Settings, *, clock: Clock, flow_run_id: str | None, attempt: int
) -> Report:
    """Choose evidence for the queries of a chunk, write its part of the output and its decisions, and spool its traces.

    Returns:
        The chunk's counts, as they stand in `done.json`; `refused` says why its traces are lost, where they are.
    """
    chunk = folder.chunk(number)
    if chunk.done.exists():
        return {**read_json(chunk.done), "resumed": True}
    spec = RunSpec.load(folder.spec)
    keeper = None if spec.ledger is None else TraceKeeper.of(spec, settings, flow_run_id=flow_run_id, attempt=attempt)
    pipeline = build_pipeline(None if spec.index is None else Path(spec.index), spec.pipeline_config)
    queries = [parse_query(row) for row in read_rows(chunk.queries)]
    breaker = get_fallback_manager().orchestrator_status
    results = _run_guarded(pipeline, queries, spec)

    key = _hash_key(settings)
    ids = [identify(spec.batch_id, result.query, config_digest=spec.config_digest) for result in results]
    write_rows(chunk.output, map(output_record, results))
    write_rows(chunk.conflicts, (record for result in results if (record := conflict_record(result)) is not None))
    write_rows(chunk.decisions, (_decision_row(*found, key) for found in zip(results, ids, strict=True)))
    report = _report(number, results)
    if keeper is not None:
        report |= keeper.keep(results, ids, folder, number, breaker=breaker.value, now=clock.utc_now())
    write_json(chunk.done, report)
    recorder = metrics_recorder()
    recorder.add(add_results(results))
    recorder.flush_if_due()
    return {**report, "resumed": False}


def _hash_key(settings: Settings) -> bytes | None:
    """The secret that ids are hashed with; where its file is broken the rows for the gates go without."""
    try:
        return hash_key(settings)
    except ConfigError:
        return None


def _run_guarded(pipeline: Pipeline, queries: Sequence[Query], spec: RunSpec) -> list[QueryResult]:
    """Let the guard decide for each query, run the chunk, and tell the guard how REDO did.

    The flags are those that the run began with; kill switch, health and breakers are what was known at most a refresh
    interval ago. Reading them anew for each chunk cost more than the chunk where a Prefect API has them.
    """
    manager, view = get_fallback_manager(), FlagView(spec.run_flags)
    guarded = [manager.admit(query, shadow=spec.shadow, view=view) for query in queries]
    try:
        results = pipeline.run(queries, [item.decision for item in guarded])
    except BaseException:
        for item in guarded:
            item.ignore()
        raise
    for item, result in zip(guarded, results, strict=True):
        item.report(result)
    return results


def _decision_row(result: QueryResult, identity: Identity, key: bytes | None) -> dict[str, object]:
    """What the summary, the evaluation and the gates need of one query."""
    trace, bucketed_by = result.trace, bucket_key(result.query)
    return {
        "query_id": result.query.query_id,
        "trace_id": identity.trace_id,
        "decision": result.decision.value,
        "reason": result.reason.value,
        "guard_decision": trace.guard.decision.value,
        "guard_reason": trace.guard.reason.value,
        "bucket": trace.guard.bucket,
        "shadow": trace.guard.shadow,
        "key_hash": None if bucketed_by is None or key is None else keyed_hash(bucketed_by, key=key),
        "latency_ms": trace.latency_ms,
        "deadline_hit": trace.deadline_hit,
        "error": trace.error,
        "evidence": len(result.selection.evidence),
        "legacy": None if trace.legacy is None else trace.legacy.passage_ids,
        "redo": None if trace.redo is None else trace.redo.passage_ids,
        "contradictions": []
        if trace.redo is None
        else [(found.left.passage_id, found.right.passage_id, found.kind.value) for found in trace.redo.contradictions],
        "ambiguities": 0 if trace.redo is None else len(trace.redo.ambiguities),
    }


def _report(number: int, results: list[QueryResult]) -> Report:
    latencies = sorted(result.trace.latency_ms for result in results)
    return {
        "chunk": number,
        "queries": len(results),
        "decisions": dict(Counter(result.decision.value for result in results)),
        "slowest_ms": latencies[-1],
        "ledger_key": None,
        "refused": None,
    }

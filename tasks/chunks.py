"""The work on one chunk: choose evidence for its queries, and hand its traces to the ledger.

Both functions may be called again at any time: a chunk that is done is not computed again, and traces that the ledger
has acknowledged are not sent again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from core.clock import Clock
from core.errors import StoreError
from core.fallbacks import FlagView, get_fallback_manager
from core.metrics import Metrics, add_results
from core.model import Query
from core.output import conflict_record, output_record
from core.pipeline import Pipeline
from core.records import parse_query
from core.trace import QueryResult, trace_id
from ledger.encode import RunIdentity, encode_traces, object_key, trace_ids
from tasks.run_folder import ChunkFolder, RunFolder, read_json, read_rows, write_json, write_rows, write_whole
from tasks.run_spec import RunSpec
from tasks.settings import Settings
from tasks.wiring import build_pipeline, hash_key, ledger_store, metrics_recorder

Report = dict[str, object]


def work_on_chunk(
    folder: RunFolder, number: int, settings: Settings, *, clock: Clock, flow_run_id: str | None, attempt: int
) -> Report:
    """Choose evidence for the queries of a chunk, and write its part of the output, its decisions and its traces.

    Returns:
        The chunk's counts, as they stand in `done.json`.
    """
    chunk = folder.chunk(number)
    if chunk.done.exists():
        return {**read_json(chunk.done), "resumed": True}
    spec = RunSpec.load(folder.spec)
    pipeline = build_pipeline(None if spec.index is None else Path(spec.index), spec.pipeline_config)
    queries = [parse_query(row) for row in read_rows(chunk.queries)]
    results = _run_guarded(pipeline, queries, spec)

    write_rows(chunk.output, map(output_record, results))
    write_rows(chunk.conflicts, (record for result in results if (record := conflict_record(result)) is not None))
    write_rows(chunk.decisions, (_decision_row(result, spec) for result in results))
    report = _report(number, results)
    if spec.ledger is not None:
        run = RunIdentity(
            batch_id=spec.batch_id,
            flow_run_id=flow_run_id,
            attempt=attempt,
            started_at=spec.started,
            config_digest=spec.config_digest,
            code_version=spec.code_version,
            model_versions=spec.versions,
            flags=spec.flags,
            rollout_percentage=spec.run_flags.rollout_percentage,
            hash_key=hash_key(settings),
        )
        write_whole(chunk.traces, [encode_traces(results, run=run, recorded_at=clock.utc_now())])
        report["ledger_key"] = object_key(spec.batch_id, number, trace_ids(results, run=run), spec.started.date())
    write_json(chunk.done, report)
    recorder = metrics_recorder()
    recorder.add(add_results(results))
    recorder.flush()
    return {**report, "resumed": False}


def _run_guarded(pipeline: Pipeline, queries: Sequence[Query], spec: RunSpec) -> list[QueryResult]:
    """Let the guard decide for each query, run the chunk, and tell the guard how REDO did.

    The flags are those that the run began with; kill switch, health and breakers are read anew.
    """
    manager, view = get_fallback_manager(), FlagView(spec.run_flags)
    manager.refresh()
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


def store_traces(folder: RunFolder, number: int) -> int:
    """Hand the chunk's traces to the ledger; returns how many rows the ledger has of it.

    Raises:
        StoreError: the ledger did not take them; they stay in the run's folder.
    """
    chunk = folder.chunk(number)
    if not chunk.traces.exists():
        return int(read_json(chunk.stored)["rows"]) if chunk.stored.exists() else 0
    spec, report = RunSpec.load(folder.spec), read_json(chunk.done)
    try:
        with get_fallback_manager().safe_ledger_execution(enabled=True) as execution:
            created = execution.allowed and _append(spec, report, chunk)
    except StoreError:
        metrics_recorder().add(Metrics(ledger_failures=1))
        raise
    if not execution.allowed:
        raise StoreError(f"the ledger is not tried: {execution.reason.value}; the traces stay in the run's folder")
    write_json(chunk.stored, {"key": report["ledger_key"], "rows": report["queries"], "created": created})
    chunk.traces.unlink(missing_ok=True)
    return int(report["queries"])


def _append(spec: RunSpec, report: Report, chunk: ChunkFolder) -> bool:
    return ledger_store(str(spec.ledger)).append(str(report["ledger_key"]), chunk.traces.read_bytes())


def _decision_row(result: QueryResult, spec: RunSpec) -> dict[str, object]:
    """What the summary and the evaluation need of one query."""
    trace = result.trace
    return {
        "query_id": result.query.query_id,
        "trace_id": trace_id(spec.batch_id, result.query, config_digest=spec.config_digest),
        "decision": result.decision.value,
        "reason": result.reason.value,
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
    }

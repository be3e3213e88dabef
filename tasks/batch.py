"""The Prefect tasks of a batch. Each fetches its inputs, makes one call, and returns small plain data."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging import get_run_logger
from prefect.runtime import flow_run, task_run
from prefect.tasks import Task, exponential_backoff

from core.errors import TransientStoreError
from core.pipeline import RetrieverKind
from tasks.chunks import Report, work_on_chunk
from tasks.delivery import deliver_waiting, store_traces
from tasks.loading import load_batch
from tasks.run_folder import RunFolder
from tasks.run_spec import RunRequest, RunSpec
from tasks.settings import load_settings
from tasks.summary import Summary, finish_run, notes_of
from tasks.wiring import CLOCK, metrics_recorder

_RETRIES = 3
_WAITING_LIMIT_S = 20.0
"""So long a run cares for what others have left; the flow that maintains the ledger has more time."""
_COMPUTING = Lock()
"""Python computes one chunk at a time; two at once would only make each other's queries late."""


def may_succeed_later(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed attempt is worth another: only for what the store says may pass, never for bad input."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, TransientStoreError | ConnectionError | TimeoutError)


_RETRY: dict[str, Any] = {
    "retries": _RETRIES,
    "retry_delay_seconds": exponential_backoff(backoff_factor=1),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": may_succeed_later,
    "cache_policy": NO_CACHE,  # a chunk's own files say whether it is done
    "persist_result": False,
}


@task(name="load-batch", **_RETRY)
def load(request: RunRequest) -> RunSpec:
    """Read and check the input, build the passage index, lay out the chunks."""
    settings = load_settings()
    if settings.fault is not None:
        get_run_logger().warning("a drill, no outage: REDO_FAULT makes the orchestrator fail: %s", settings.fault)
    if settings.retriever is RetrieverKind.HYBRID and request.passages is not None:
        get_run_logger().info("vectors of passages that are new here are computed first: a minute for some thousands")
    spec = load_batch(request, settings, clock=CLOCK)
    quarantined = sum(spec.quarantined.values())
    message = "batch %s: %d queries in %d chunks, %d records quarantined, flags %s"
    get_run_logger().info(message, spec.batch_id, spec.queries, spec.chunks, quarantined, spec.flags)
    for note in notes_of(spec, request):
        get_run_logger().warning("%s", note)
    return spec


@task(name="run-chunk", task_run_name="chunk-{number:05d}", **_RETRY)
def run_chunk(folder: Path, number: int) -> Report:
    """Choose evidence for the queries of one chunk."""
    attempt = task_run.run_count or 1
    with _COMPUTING:
        report = work_on_chunk(
            RunFolder(folder), number, load_settings(), clock=CLOCK, flow_run_id=flow_run.id, attempt=attempt
        )
    before = " done before" if report["resumed"] else ""
    message = "chunk %d: %d queries%s, decisions %s, slowest %.1f ms"
    get_run_logger().info(message, number, report["queries"], before, report["decisions"], report["slowest_ms"])
    return report


@task(name="store-traces", task_run_name="traces-{number:05d}", **_RETRY)
def store_chunk(folder: Path, number: int, report: Report) -> int:
    """Hand the traces of a finished chunk to the ledger."""
    del report  # taken so that Prefect waits for the chunk
    return store_traces(RunFolder(folder), number)


@task(name="send-waiting", cache_policy=NO_CACHE, persist_result=False)
def send_waiting(*, probe: bool) -> None:
    """Hand over what waits in the spool, whichever run put it there. A ledger that fails fails no run."""
    sent = deliver_waiting(probe=probe, limit_s=_WAITING_LIMIT_S)
    if sent.rows:
        get_run_logger().info("the ledger has taken %d traces that waited", sent.rows)
    for item in sent.set_aside:
        get_run_logger().error("traces are in quarantine: %s: %s", item.name, item.reason)
    for error in sent.errors:
        get_run_logger().warning("traces wait in the spool: %s", error)


@task(name="finish-batch", **_RETRY)
def finish(folder: Path, request: RunRequest, resumed: int, ledger_error: str | None) -> Summary:
    """Put the output together and count."""
    metrics_recorder().flush()
    return finish_run(RunFolder(folder), request, resumed=resumed, ledger_error=ledger_error)

"""Run REDO over a batch: load, work on the chunks, store their traces, sum up.

A run with the batch id of an unfinished run takes it up: finished chunks are neither computed nor written again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, TypeAlias

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import AfterValidator, BeforeValidator, Field

from core.errors import RedoError
from core.flags import FlagValue
from tasks.artifacts import publish
from tasks.batch import finish, load, run_chunk, send_waiting, store_chunk
from tasks.breaker_events import tell_breaker_changes
from tasks.delivery import anything_waits
from tasks.ledger_events import tell_ledger
from tasks.run_folder import RunFolder
from tasks.run_spec import RunRequest
from tasks.settings import load_settings
from tasks.wiring import metrics_recorder


class ChunksFailedError(RedoError):
    """Some chunks could not be worked on. The others are kept; a run with the same batch id takes the batch up."""


# What a parameter is stands in the docstring: Prefect shows that text in the run form, and no other.

_OrEmpty = BeforeValidator(lambda text: text or None)
"""An empty text is none: a field of the run form is empty after it was cleared."""

OptionalText: TypeAlias = Annotated[str | None, _OrEmpty]
"""A text, or none."""


def _given(queries: str) -> str:
    """Refuse no file, when the run begins: the deployment's own value is empty until somebody has set one."""
    if not queries.strip():
        raise ValueError("no file of queries: fill it in, or set REDO_QUERIES and deploy again")
    return queries


_THREADS = 2
"""While one works on a chunk, the other hands the last chunk's traces to the ledger."""


def _name_of_this_run() -> str:
    """The batch's id: what a person looks for in the list of runs."""
    return str(flow_run.parameters.get("batch_id") or _id_of_this_run())


@flow(
    name="run-batch",
    flow_run_name=_name_of_this_run,
    task_runner=ThreadPoolTaskRunner(max_workers=_THREADS),  # type: ignore[arg-type] # Prefect's own runner is too narrow
    persist_result=False,
)
def run_batch(  # noqa: PLR0913, PLR0917 - the parameters of a flow are its run form
    queries: Annotated[str, AfterValidator(_given)],
    passages: OptionalText = None,
    labels: OptionalText = None,
    batch_id: Annotated[str | None, Field(max_length=100), _OrEmpty] = None,
    output: OptionalText = None,
    ledger: OptionalText = None,
    chunk_size: Annotated[int | None, Field(ge=1, le=500)] = None,
    shadow: bool = False,  # noqa: FBT001, FBT002 - a toggle of the run form
    flags: dict[str, FlagValue] | None = None,
) -> dict[str, Any]:
    """Choose evidence for every query of a batch.

    Args:
        queries: File of queries: .jsonl, .csv or .parquet; a path of the worker, or s3://.
        passages: File of passages to search: .jsonl or .parquet. Empty: the queries bring candidates.
        labels: File of labels, to measure the quality of both arms. Empty: it is not measured.
        batch_id: Names the batch. The id of an unfinished batch takes it up. Empty: one is made from the time.
        output: Where the output goes: .jsonl or .parquet, a path or s3://. Empty: the run's folder.
        ledger: Where traces go: a path or s3://. Empty: the configured ledger.
        chunk_size: Queries of one task run, 1 to 500. Empty: as configured.
        shadow: Compute both selections, serve the legacy one, and trace both. In a step of the rollout that
            asks for it a run without flags of its own is in shadow anyhow.
        flags: Flags for this run only, as JSON: {"orchestrator.redo_enabled": true, "rollout_percentage": 50}. They
            change nothing for other runs; set-flags does.

    Returns:
        The summary: the object that `redo run --json` prints.

    Raises:
        InputError: the batch cannot be run as given.
        ChunksFailedError: chunks are missing; the same batch id takes the batch up.
    """
    request = RunRequest(
        batch_id=batch_id or _id_of_this_run(),
        queries=queries,
        passages=passages,
        labels=labels,
        output=output,
        ledger=ledger,
        chunk_size=chunk_size,
        shadow=shadow,
        flags=flags or {},
    )
    folder = RunFolder.of(load_settings().home_folder, request.batch_id)
    with folder.held():
        return _run(request, folder)


def _run(request: RunRequest, folder: RunFolder) -> dict[str, Any]:
    taken_up = folder.spec.exists()
    spec = load(request)
    # Whoever takes a batch up wants its traces delivered: the ledger is tried, though it may have failed a moment ago.
    waiting = [send_waiting.submit(probe=True)] if taken_up and spec.ledger is not None and anything_waits() else []
    store = store_chunk.with_options(retries=load_settings().store_retries)
    reports, stored = [], []
    for number in range(spec.chunks):  # in turn, because the threads take first what was submitted first
        report = run_chunk.submit(folder.path, number)
        reports.append(report)
        if spec.ledger is not None:
            stored.append(store.submit(folder.path, number, report, wait_for=waiting))  # type: ignore[call-overload] # a future
    try:
        resumed = sum(bool(report["resumed"]) for report in _results(reports))
    finally:
        metrics_recorder().flush()
    error = _ledger_error(stored)
    if error is None and spec.ledger is not None and anything_waits():
        send_waiting(probe=False)
    summary = finish(folder.path, request, resumed, error)
    publish(folder, summary)
    tell_ledger(summary)
    tell_breaker_changes()
    get_run_logger().info("batch %s: %s", spec.batch_id, summary.decisions)
    return summary.as_dict()


def _id_of_this_run() -> str:
    """An id that stays the same when Prefect retries the flow run."""
    started: datetime | None = flow_run.scheduled_start_time
    day = f"{started:%Y%m%d-%H%M%S}" if started else "run"
    return f"{day}-{str(flow_run.id)[:8]}"


def _results(futures: Sequence[PrefectFuture[Any]]) -> list[Any]:
    """What the chunks returned, once all have ended."""
    for future in futures:
        future.wait()
    failed = [number for number, future in enumerate(futures) if not future.state.is_completed()]
    if failed:
        error = futures[failed[0]].result(raise_on_failure=False)
        raise ChunksFailedError(
            f"{len(failed)} of {len(futures)} chunks failed, the first is {failed[0]}: {error}; "
            "a run with the same batch id takes up what is missing"
        )
    return [future.result() for future in futures]


def _ledger_error(stored: Sequence[PrefectFuture[Any]]) -> str | None:
    """Why traces are pending. It costs no answer: they stay in the spool, and whoever comes next sends them."""
    for future in stored:
        future.wait()
    failed = [future for future in stored if not future.state.is_completed()]
    if not failed:
        return None
    error = str(failed[0].result(raise_on_failure=False))
    get_run_logger().error("the ledger did not take the traces of %d chunks: %s", len(failed), error)
    return error

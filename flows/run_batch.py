"""Run REDO over a batch: load, work on the chunks, store their traces, sum up.

A run with the batch id of an unfinished run takes it up: finished chunks are neither computed nor written again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from core.errors import RedoError
from core.flags import FlagValue
from tasks.artifacts import publish
from tasks.batch import finish, load, run_chunk, store_chunk
from tasks.run_folder import RunFolder
from tasks.run_spec import RunRequest
from tasks.settings import load_settings


class ChunksFailedError(RedoError):
    """Some chunks could not be worked on. The others are kept; a run with the same batch id takes the batch up."""


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
    queries: Annotated[str, Field(description="Queries: JSONL, CSV or Parquet, a path or s3://.")],
    passages: Annotated[
        str | None, Field(description="Passages to search: JSONL or Parquet. Without them queries bring candidates.")
    ] = None,
    labels: Annotated[str | None, Field(description="Labels, to measure the quality of both arms.")] = None,
    batch_id: Annotated[
        str | None, Field(description="Names the batch; an unfinished one is taken up. By default of this run.")
    ] = None,
    output: Annotated[
        str | None, Field(description="Where the output goes: .jsonl or .parquet, a path or s3://.")
    ] = None,
    ledger: Annotated[str | None, Field(description="Where traces go; the configured ledger by default.")] = None,
    chunk_size: Annotated[int | None, Field(description="Queries of one task run.", ge=1, le=500)] = None,
    shadow: Annotated[  # noqa: FBT002 - a toggle of the run form
        bool, Field(description="Compute both selections, serve legacy, trace both.")
    ] = False,
    flags: Annotated[dict[str, FlagValue] | None, Field(description="Flags for this run only, by name.")] = None,
) -> dict[str, Any]:
    """Choose evidence for every query of a batch.

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
    spec = load(request)
    store = store_chunk.with_options(retries=load_settings().store_retries)
    reports, stored = [], []
    for number in range(spec.chunks):  # in turn, because the threads take first what was submitted first
        report = run_chunk.submit(folder.path, number)
        reports.append(report)
        if spec.ledger is not None:
            stored.append(store.submit(folder.path, number, report))  # type: ignore[call-overload] # a future of it
    resumed = sum(bool(report["resumed"]) for report in _results(reports))
    summary = finish(folder.path, request, resumed, _ledger_error(stored))
    publish(folder, summary)
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
    """Why traces are pending. It costs no answer: they stay in the run's folder, and the next run sends them."""
    for future in stored:
        future.wait()
    failed = [future for future in stored if not future.state.is_completed()]
    if not failed:
        return None
    error = str(failed[0].result(raise_on_failure=False))
    get_run_logger().error("the ledger did not take the traces of %d chunks: %s", len(failed), error)
    return error

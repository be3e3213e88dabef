"""One question at a time through the guard and the pipeline, for many callers at once.

Python computes one thing at a time, so more threads make no answer earlier. Two workers answer; the second one goes on
while the first waits for a call that hangs. A question that finds no worker in time is answered by
the legacy selection, which needs a fraction of the work, from workers of its own: while REDO hangs, or is asked more
than it can do, answers are plainer, not later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Final

from core.errors import RedoError
from core.fallbacks import RedoFallbackManager
from core.metrics import Metrics, add_results
from core.model import Decision, FallbackDecision, Query, Reason
from core.pipeline import Pipeline
from core.trace import QueryResult

_WORKERS: Final = 2


class NoAnswerError(RedoError):
    """Not even the legacy selection could be made in time."""


def workers(name: str) -> Executor:
    """Two threads."""
    return ThreadPoolExecutor(_WORKERS, thread_name_prefix=name)


class Answers:
    """Answers questions. Callers of one event loop share one.

    Args:
        manager: decides who answers, and is told how REDO did.
        pipeline: chooses the evidence. As `tasks.wiring` makes it, it gives up a stage that hangs.
        count: is given the counts of each answer.
        record: is given each answer for its trace, with the versions of the parts that made it.
        patience_s: seconds that a question waits for a worker before legacy answers it.
        redo_workers: run the guard and the pipeline.
        legacy_workers: make the legacy selections of those who could not wait.
    """

    def __init__(
        self,
        manager: RedoFallbackManager,
        pipeline: Pipeline,
        *,
        count: Callable[[Metrics], object],
        patience_s: float,
        record: Callable[[QueryResult, Mapping[str, str]], object] = lambda *_: None,
        redo_workers: Executor | None = None,
        legacy_workers: Executor | None = None,
    ) -> None:
        self._manager = manager
        self._pipeline = pipeline
        self._count = count
        self._patience_s = patience_s
        self._record = record
        self._redo_workers = redo_workers or workers("redo-chat")
        self._legacy_workers = legacy_workers or workers("redo-chat-legacy")

    async def answer(self, query: Query) -> QueryResult:
        """Choose evidence for a question.

        Raises:
            NoAnswerError: no worker was free for a legacy selection either.
        """
        result = await _begun_within(self._patience_s, self._redo_workers, lambda: self._guarded(query))
        if result is None:
            timeout_s = self._manager.config.fallback_timeout_seconds
            result = await _begun_within(timeout_s, self._legacy_workers, lambda: self._without_redo(query))
        if result is None:
            raise NoAnswerError("too many questions are waiting; try again")
        return result

    def use(self, pipeline: Pipeline) -> None:
        """Choose evidence by this pipeline from now on; the index may have been built anew."""
        self._pipeline = pipeline

    def close(self) -> None:
        """Begin no further work. What is under way ends by itself."""
        for pool in (self._redo_workers, self._legacy_workers):
            pool.shutdown(wait=False, cancel_futures=True)

    def _guarded(self, query: Query) -> QueryResult:
        """Let the guard decide, run the pipeline, and tell the guard how REDO did."""
        guarded, pipeline = self._manager.admit(query), self._pipeline
        try:
            (result,) = pipeline.run([query], [guarded.decision])
        except BaseException:
            guarded.ignore()
            raise
        guarded.report(result)
        self._count(add_results([result]))
        self._record(result, pipeline.versions)
        return result

    def _without_redo(self, query: Query) -> QueryResult:
        """Make the legacy selection, for the guard's reason or for want of a worker."""
        decision = self._manager.decide(query)
        if decision.runs_redo:
            decision = FallbackDecision(Decision.FALLBACK, Reason.BULKHEAD_FULL, decision.bucket)
        pipeline = self._pipeline
        (result,) = pipeline.run([query], [decision])
        self._count(add_results([result]))
        self._record(result, pipeline.versions)
        return result


async def _begun_within(seconds: float, pool: Executor, work: Callable[[], QueryResult]) -> QueryResult | None:
    """The result of work that a worker has begun in time, however long it takes; nothing where none was free."""
    future = pool.submit(work)
    result = asyncio.wrap_future(future)
    await asyncio.wait({result}, timeout=seconds)
    return None if future.cancel() else await result

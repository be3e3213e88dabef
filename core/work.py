"""One query on its way through the pipeline: what it has so far, what went wrong, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from core.clock import Deadline
from core.errors import RedoError
from core.model import Decision, FallbackDecision, Query, Ranking, Reason, Selection
from core.trace import Arm, QueryResult, StageRecord, Trace

Result = TypeVar("Result")


class InvalidResultError(RedoError):
    """A stage returned something that its port does not allow; counts as a failure of REDO."""


@dataclass
class Work:
    """One query on its way. Only the pipeline changes it; it never leaves the pipeline."""

    query: Query
    guard: FallbackDecision
    deadline: Deadline
    stages: list[StageRecord] = field(default_factory=list)
    ranking: Ranking = field(default_factory=lambda: Ranking(()))
    legacy: Selection | None = None
    redo: Selection | None = None
    failure: Reason | None = None
    error: str | None = None

    @property
    def wants_redo(self) -> bool:
        """Whether REDO is to work on it, and nothing has gone wrong so far."""
        return self.guard.runs_redo and self.failure is None

    def fail(self, reason: Reason, error: Exception | None = None) -> None:
        """Keep why there is no REDO selection."""
        self.redo = None
        self.failure = reason
        self.error = reason.value if error is None else f"{type(error).__name__}: {error}"

    def record(
        self, name: str, arm: Arm, seconds: float, items_in: int, items_out: int, *, complete: bool = True
    ) -> None:
        """Add a stage to the trace."""
        self.stages.append(StageRecord(name, arm, seconds * 1e3, items_in, items_out, complete))

    def result(self) -> QueryResult:
        """Who answers in the end, and the trace."""
        decision, reason, served = self._served()
        trace = Trace(
            query=self.query,
            guard=self.guard,
            decision=decision,
            reason=reason,
            ranking=self.ranking,
            legacy=self.legacy,
            redo=self.redo,
            budget_ms=self.deadline.budget_s * 1e3,
            latency_ms=self.deadline.spent_s * 1e3,
            deadline_hit=self.deadline.expired or any(not stage.complete for stage in self.stages),
            stages=tuple(self.stages),
            error=self.error,
        )
        return QueryResult(self.query, decision, reason, served, trace)

    def _served(self) -> tuple[Decision, Reason, Selection]:
        legacy = self.legacy or Selection()
        if self.failure is Reason.RETRIEVER_ERROR:
            return Decision.FALLBACK, self.failure, legacy
        if self.guard.decision is not Decision.REDO:
            return self.guard.decision, self.guard.reason, legacy
        if self.redo is None:
            return Decision.FALLBACK, self.failure or Reason.ORCHESTRATOR_ERROR, legacy
        return Decision.REDO, self.guard.reason, self.redo


def run_isolated(
    stage: Callable[[Sequence[Work]], Sequence[Result]], chunk: Sequence[Work]
) -> list[tuple[Result | Exception, float]]:
    """Run a stage on a whole chunk; if it raises, on each query alone, so that one bad query costs only itself.

    Returns, for each query, its result or its exception, and the seconds of its own time that the stage took.
    """
    if not chunk:
        return []
    before = [work.deadline.spent_s for work in chunk]
    results: list[Result | Exception]
    try:
        results = list(_checked(stage(chunk), len(chunk)))
    except Exception as error:  # noqa: BLE001 - a stage may raise anything; each query is then tried alone
        results = [error] if len(chunk) == 1 else [run_isolated(stage, [work])[0][0] for work in chunk]
    return [
        (result, work.deadline.spent_s - before_s)
        for result, work, before_s in zip(results, chunk, before, strict=True)
    ]


def _checked(results: Sequence[Result], count: int) -> Sequence[Result]:
    if len(results) != count:
        message = f"the stage returned {len(results)} results for {count} queries"
        raise InvalidResultError(message)
    return results


def check_selection(selection: Selection, ranking: Ranking) -> None:
    """Make sure that each passage of the ranking is selected or left out, exactly once.

    Raises:
        InvalidResultError: passages are missing, doubled or unknown.
    """
    accounted = [*selection.passage_ids, *(exclusion.passage_id for exclusion in selection.exclusions)]
    if sorted(accounted) != sorted(item.passage.passage_id for item in ranking.items):
        message = "the selection does not account for each passage of the ranking exactly once"
        raise InvalidResultError(message)

"""One query on its way through the pipeline: what it has so far, what went wrong, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from core.bulkhead import Bulkhead, BulkheadFullError, CallTimeoutError
from core.clock import Deadline
from core.errors import RedoError
from core.model import Decision, Detection, FallbackDecision, Query, Ranking, Reason, Selection
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
    redo_ranking: Ranking | None = None
    detection: Detection = field(default_factory=Detection)
    legacy: Selection | None = None
    redo: Selection | None = None
    failure: Reason | None = None
    error: str | None = None

    @property
    def wants_redo(self) -> bool:
        """Whether REDO is to work on it, and nothing has gone wrong so far."""
        return self.guard.runs_redo and self.failure is None

    @property
    def chosen_from(self) -> Ranking:
        """What REDO chooses from: its own ranking where it has one, else the one that legacy has too."""
        return self.ranking if self.redo_ranking is None else self.redo_ranking

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
            ranking=self.ranking if self.redo is None else self.chosen_from,
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


@dataclass(frozen=True, slots=True)
class CallLimit:
    """How long a stage may work on one query without an answer.

    Attributes:
        bulkhead: runs the stage in a thread, and gives it up.
        timeout_s: seconds on one query after which the stage is taken to hang.
    """

    bulkhead: Bulkhead
    timeout_s: float

    def call(self, stage: Callable[[Sequence[Work]], Sequence[Result]], chunk: Sequence[Work]) -> Sequence[Result]:
        """Call the stage; give it up when it has worked on one query for too long.

        A stage that does not count its time with the queries' deadlines is given up when all of them together would
        be out of time.

        Raises:
            CallTimeoutError: it was given up.
            BulkheadFullError: it was not called, because too many calls hang.
        """
        longest_s = self.timeout_s + sum(max(0.0, work.deadline.remaining_s) for work in chunk)

        def hangs() -> bool:
            return any(work.deadline.stretch_s > self.timeout_s for work in chunk)

        return self.bulkhead.call(lambda: stage(chunk), timeout_s=longest_s, hangs=hangs)


def run_isolated(
    stage: Callable[[Sequence[Work]], Sequence[Result]],
    chunk: Sequence[Work],
    *,
    gives: type[Result],
    limit: CallLimit | None = None,
) -> list[tuple[Result | Exception, float]]:
    """Run a stage on a whole chunk so that one bad query costs only itself.

    If it raises, it is run on each query alone. If it hangs, the query that it hangs on is given up, and it is run
    again on the others. A result that is no `gives` is an error of its query.

    Returns, for each query, its result or its exception, and the seconds of its own time that the stage took.
    """
    before = [work.deadline.spent_s for work in chunk]
    results = _results(stage, chunk, gives=gives, limit=limit)
    return [
        (results[place], work.deadline.spent_s - before_s)
        for place, (work, before_s) in enumerate(zip(chunk, before, strict=True))
    ]


def _results(
    stage: Callable[[Sequence[Work]], Sequence[Result]],
    chunk: Sequence[Work],
    *,
    gives: type[Result],
    limit: CallLimit | None,
) -> list[Result | Exception]:
    if not chunk:
        return []
    before = [work.deadline.spent_s for work in chunk]
    try:
        answers = stage(chunk) if limit is None else limit.call(stage, chunk)
        return [_checked(answer, gives) for answer in _counted(answers, len(chunk))]
    except CallTimeoutError as error:
        hung = [work.deadline.stretch_s > 0 for work in chunk]
        for work in chunk:  # the stage goes on in its thread, and would count on
            work.deadline = work.deadline.after(work.deadline.spent_s)
        if any(hung) and not all(hung):
            others = [work for work, hangs in zip(chunk, hung, strict=True) if not hangs]
            rest = iter(_results(stage, others, gives=gives, limit=limit))
            return [error if hangs else next(rest) for hangs in hung]
        failure: Exception = error
    except BulkheadFullError as error:
        return [error] * len(chunk)
    except Exception as error:  # noqa: BLE001 - a stage may raise anything; each query is then tried alone
        failure = error
    if len(chunk) == 1:
        return [failure]
    for work, before_s in zip(chunk, before, strict=True):  # nobody pays for an attempt that another query spoiled
        work.deadline = work.deadline.after(before_s)
    return [_results(stage, [work], gives=gives, limit=limit)[0] for work in chunk]


def _checked(result: Result, gives: type[Result]) -> Result | Exception:
    if isinstance(result, gives):
        return result
    return InvalidResultError(f"the stage returned {type(result).__name__}, expected {gives.__name__}")


def _counted(results: Sequence[Result], count: int) -> Sequence[Result]:
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
    retrieved = {item.passage.passage_id for item in ranking.items}
    if len(accounted) != len(retrieved) or set(accounted) != retrieved:
        message = "the selection does not account for each passage of the ranking exactly once"
        raise InvalidResultError(message)

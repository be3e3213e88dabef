"""What a caller holds while REDO or the ledger works for it, so that success and failure are counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

from core.breaker import Outcome, Permit
from core.bulkhead import BulkheadFullError, CallTimeoutError
from core.model import FallbackDecision, Reason
from core.trace import QueryResult

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Executed(Generic[Result]):
    """What a call gave, who gave it, and why.

    Attributes:
        result: what the primary returned, or the fallback.
        decision: `REDO` where it was the primary; else the reason why not.
        error: what the primary raised, where it did.
    """

    result: Result
    decision: FallbackDecision
    error: Exception | None = None


def reason_of(error: Exception) -> Reason:
    """Why the fallback answers after such an error."""
    if isinstance(error, CallTimeoutError):
        return Reason.TIMEOUT
    return Reason.BULKHEAD_FULL if isinstance(error, BulkheadFullError) else Reason.ORCHESTRATOR_ERROR


class SafeExecution:
    """A `with` block around work that a breaker guards. It counts how the block ends, and lets every exception through.

    Nothing is counted where the work may not be done; the caller looks at `allowed` and leaves it. A caller who finds a
    result invalid without an exception says so with `failed`.

    Args:
        enter: says why, or why not; with a permit where the work may be done and a breaker counts it.
        leave: counts how the block ended; called where there is a permit.

    Attributes:
        allowed: whether the work may be done.
        reason: why, or why not.
    """

    __slots__ = ("_enter", "_failed", "_leave", "_permit", "allowed", "reason")

    def __init__(
        self,
        enter: Callable[[], tuple[bool, Reason, Permit | None]],
        leave: Callable[[Permit, BaseException | str | None], None],
    ) -> None:
        self._enter: Final = enter
        self._leave: Final = leave
        self._permit: Permit | None = None
        self._failed: str | None = None
        self.allowed = False
        self.reason = Reason.FLAG_OFF

    def failed(self, why: str) -> None:
        """Count the block as a failure though it ends without an exception."""
        self._failed = why

    def __enter__(self) -> Self:
        self._failed = None
        self.allowed, self.reason, self._permit = self._enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        permit, self._permit = self._permit, None
        if permit is not None:
            self._leave(permit, self._failed if error is None else error)


_SAYS_NOTHING: Final = frozenset({Reason.RETRIEVER_ERROR, Reason.BULKHEAD_FULL})


class GuardedQuery:
    """The decision for one query, and the right to let REDO work on it: for chunks, whose results come all at once.

    Whoever has one reports the result, or ignores it. What is told after the first time is dropped.

    Args:
        decision: who shall answer.
        permit: what the breaker gave, where it was asked.
        slow_call_s: a valid selection that took longer is slow.
        leave: counts the outcome, with what went wrong.
    """

    __slots__ = ("_leave", "_permit", "_slow_call_s", "decision")

    def __init__(
        self,
        decision: FallbackDecision,
        permit: Permit | None,
        *,
        slow_call_s: float,
        leave: Callable[[Permit, Outcome, str | None], None],
    ) -> None:
        self.decision: Final = decision
        self._permit: Final = permit
        self._slow_call_s: Final = slow_call_s
        self._leave: Final = leave

    def report(self, result: QueryResult) -> None:
        """Count how REDO did on the query, by the query's own time, not that of its chunk.

        No selection for lack of time is slow. No ranking says nothing, for legacy would not have had one either. Any
        other lack of a selection is a failure.
        """
        if self._permit is None:
            return
        trace = result.trace
        if trace.redo is not None:
            outcome = Outcome.SLOW if trace.latency_ms > self._slow_call_s * 1e3 else Outcome.SUCCESS
        elif result.reason in _SAYS_NOTHING:
            outcome = Outcome.IGNORE
        elif trace.error == Reason.DEADLINE_EXCEEDED.value:
            outcome = Outcome.SLOW
        else:
            outcome = Outcome.FAILURE
        self._leave(self._permit, outcome, trace.error)

    def ignore(self) -> None:
        """Count nothing: the query was not worked on. The right to be the probe goes back."""
        if self._permit is not None:
            self._leave(self._permit, Outcome.IGNORE, None)

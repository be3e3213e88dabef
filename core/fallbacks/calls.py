"""Calls of REDO that end in an answer whatever happens: the primary's in time, else the fallback's."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

from core.breaker import Outcome, Permit
from core.bulkhead import Bulkhead
from core.errors import CircuitOpenError
from core.fallbacks.decision import stopped
from core.fallbacks.execution import Executed, SafeExecution, reason_of
from core.fallbacks.guarded_component import GuardedComponent
from core.fallbacks.health import described
from core.model import FallbackDecision, Reason

_Result = TypeVar("_Result")


class GuardedCalls:
    """Makes calls under a decision, a breaker and a time limit.

    Args:
        guarded: the component that is called.
        bulkhead: runs the calls that have a time limit.
        decide: says whether calls may be made, where the caller brings no decision.
    """

    def __init__(
        self, guarded: GuardedComponent, *, bulkhead: Bulkhead, decide: Callable[[], FallbackDecision]
    ) -> None:
        self._guarded = guarded
        self._bulkhead = bulkhead
        self._decide = decide

    def block(self, decision: FallbackDecision | None) -> SafeExecution:
        """Guard a block; it asks for a decision when it begins, where there is none."""

        def enter() -> tuple[bool, Reason, Permit | None]:
            decided = decision or self._decide()
            if not decided.runs_redo:
                return False, decided.reason, None
            allowed, permit = self._guarded.enter()
            return allowed, decided.reason if allowed else Reason.BREAKER_OPEN, permit

        return SafeExecution(enter, self._guarded.leave)

    def call(
        self,
        primary: Callable[[], _Result],
        fallback: Callable[[], _Result],
        *,
        timeout_s: float,
        decision: FallbackDecision | None,
    ) -> Executed[_Result]:
        """Call the primary, and the fallback where that may not be, raises, or takes too long.

        With an infinite limit the primary runs in the caller's own thread. What the fallback raises passes through, and
        so does a BaseException of the primary.
        """
        decided = decision or self._decide()
        error: Exception | None = None
        block = self.block(decided)
        try:
            with block:
                if block.allowed:
                    is_limited = timeout_s < math.inf
                    result = self._bulkhead.call(primary, timeout_s=timeout_s) if is_limited else primary()
                    return Executed(result, decided)
        except Exception as raised:  # noqa: BLE001 - whatever it is must not cost the answer
            error = raised
        reason = block.reason if error is None else reason_of(error)
        return Executed(fallback(), _fallen_back(decided, reason), error)

    async def acall(
        self,
        primary: Callable[[], Awaitable[_Result]],
        fallback: Callable[[], _Result | Awaitable[_Result]],
        *,
        timeout_s: float,
        decision: FallbackDecision | None,
    ) -> Executed[_Result]:
        """As `call`, for a coroutine function; the fallback may be one too. Cancellation passes through.

        What needs the shared state happens in a thread, not in the event loop.
        """
        decided = await asyncio.to_thread(self._decide) if decision is None else decision
        begun = False

        async def attempt() -> _Result:
            nonlocal begun
            begun = True
            return await (self._bulkhead.acall(primary, timeout_s=timeout_s) if timeout_s < math.inf else primary())

        error: Exception | None = None
        reason = decided.reason
        if decided.runs_redo:
            breaker, epoch = self._guarded.breaker, self._guarded.breaker.state.epoch
            try:
                result = await (breaker.acall(attempt) if self._guarded.is_obeyed else attempt())
                return Executed(result, decided)
            except CircuitOpenError as raised:
                error, reason = (raised, reason_of(raised)) if begun else (None, Reason.BREAKER_OPEN)
            except Exception as raised:  # noqa: BLE001 - whatever it is must not cost the answer
                error, reason = raised, reason_of(raised)
            if error is not None and self._guarded.is_obeyed and breaker.outcome_of(error) is Outcome.FAILURE:
                await asyncio.to_thread(self._guarded.note, described(error), epoch_before=epoch)
        answer = fallback()
        result = await answer if inspect.isawaitable(answer) else answer
        return Executed(result, _fallen_back(decided, reason), error)


def _fallen_back(decided: FallbackDecision, reason: Reason) -> FallbackDecision:
    """The decision after the fallback had to answer; where it was to answer anyway, what was decided."""
    return stopped(reason, decided.bucket, shadow=decided.shadow) if decided.runs_redo else decided

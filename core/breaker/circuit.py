"""The breaker that guards calls: a thin thread-safe object over the algebra and the shared state."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Final, ParamSpec, Self, TypeVar

from core.breaker.algebra import Admission, BreakerConfig, BreakerState, Mode, Outcome, Status, admit, close, set_mode
from core.breaker.replica import Need, Replica
from core.clock import Clock
from core.errors import CircuitOpenError, InputError, RecordError
from core.ports import StateStore

_Args = ParamSpec("_Args")
_Result = TypeVar("_Result")

# Errors of the caller's own: the component was asked wrongly, which says nothing about its health.
CALLER_ERRORS: Final[tuple[type[Exception], ...]] = (InputError, RecordError)


class RejectReason(StrEnum):
    """Why a call may not pass."""

    OPEN = "open"
    PROBING = "probing"
    FORCED_OPEN = "forced_open"
    STORE_UNAVAILABLE = "store_unavailable"  # it is time for a probe, but nobody can tell whether another one runs


_REJECTIONS: Final = {
    Admission.OPEN: RejectReason.OPEN,
    Admission.PROBING: RejectReason.PROBING,
    Admission.PROBE: RejectReason.PROBING,  # it was not fast enough
    Admission.FORCED_OPEN: RejectReason.FORCED_OPEN,
}


def _passes_all(state: BreakerState) -> bool:
    """Whether calls pass whatever the time is: the usual case, answered without reading the wall clock."""
    return state.status is Status.CLOSED and state.mode is not Mode.FORCED_OPEN


@dataclass(frozen=True, slots=True)
class Rejected:
    """A call may not pass. `retry_after_s` is the time until one may, where it is known."""

    reason: RejectReason
    retry_after_s: float | None = None


class Permit:
    """The right to make one call. Its result is told once; whatever is told later is dropped.

    As a context manager it tells the result itself: an Exception is a failure (or ignored, see
    `CircuitBreaker.outcome_of`), any other BaseException passes through and is ignored, the rest is a success, or slow.
    """

    __slots__ = ("_breaker", "_started_at", "epoch", "is_settled", "probe")

    def __init__(self, breaker: CircuitBreaker, *, epoch: int, probe: bool, started_at: float) -> None:
        self._breaker = breaker
        self._started_at = started_at
        self.epoch = epoch
        self.probe = probe
        self.is_settled = False

    def success(self) -> None:
        """It gave a valid result in time."""
        self._breaker.settle(self, Outcome.SUCCESS)

    def failure(self) -> None:
        """It raised, took longer than its timeout, or gave an invalid result."""
        self._breaker.settle(self, Outcome.FAILURE)

    def slow(self) -> None:
        """It gave a valid result, too late."""
        self._breaker.settle(self, Outcome.SLOW)

    def ignore(self) -> None:
        """It says nothing about the component. A probe gives its lease back."""
        self._breaker.settle(self, Outcome.IGNORE)

    def returned(self) -> Outcome:
        """Say whether a valid result that comes now is a success or slow."""
        return self._breaker.outcome_after(self._started_at)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        outcome = self.returned() if error is None else self._breaker.outcome_of(error)
        self._breaker.settle(self, outcome)


class CircuitBreaker:
    """Guards the calls to one component. Threads share one; processes share its state through the store.

    Nothing that the store does is raised on a call's way: see `core.breaker.replica` for what is shared and when, and
    what holds while the store is down. `call` and `acall` wrap a function; `acquire` is what lies beneath.

    Args:
        name: name of the stored value, as `core.state.check_name` wants it.
        store: where the shared state is.
        clock: tells the time.
        random: returns a number from 0 to 1, for the jitter of repeated waits.
        owner: names this process in leases and in the history: host and process id, say.
        config: the settings.
        refresh_s: after how many seconds the shared state is read again. The thread that finds it due reads it; with
            `math.inf` none does, and somebody calls `refresh`: a background thread, or the batch between two chunks.
        exclude: exceptions that are the caller's own fault and are ignored.
    """

    def __init__(
        self,
        name: str,
        *,
        store: StateStore,
        clock: Clock,
        random: Callable[[], float],
        owner: str,
        config: BreakerConfig | None = None,
        refresh_s: float = 1.0,
        exclude: tuple[type[Exception], ...] = CALLER_ERRORS,
    ) -> None:
        self.name = name
        self.config = config or BreakerConfig()
        self._clock = clock
        self._exclude = exclude
        self._settle_lock = threading.Lock()
        self._replica = Replica(
            name,
            store=store,
            config=self.config,
            clock=clock,
            random=random,
            owner=owner,
            refresh_s=refresh_s,
        )

    # --- what people and health checks ask and order

    @property
    def state(self) -> BreakerState:
        """The state as this process knows it, without asking the store."""
        return self._replica.view

    @property
    def is_stale(self) -> bool:
        """Whether the store did not answer last time, so that `state` may be old."""
        return self._replica.is_stale

    def refresh(self) -> BreakerState:
        """Exchange changes with the store now, and return the state."""
        self._replica.refresh()
        return self._replica.view

    def peek(self) -> Rejected | None:
        """Say whether a call would be rejected now. Takes nothing: of several callers who see `None` one may probe."""
        self._refresh_if_due()
        view = self._replica.view
        if _passes_all(view):
            return None
        now = self._replica.wall_time()
        admission = admit(view, self.config, now)
        return None if admission in {Admission.PASS, Admission.PROBE} else self._rejected(admission, now)

    def set_mode(self, mode: Mode, *, actor: str, reason: str) -> BreakerState:
        """Set the mode for all processes. Raises StoreError where the store does not answer."""
        return self._replica.change(
            lambda state: set_mode(state, mode, actor=actor, reason=reason), actor=actor, reason=reason
        )

    def reset(self, *, actor: str, reason: str) -> BreakerState:
        """Close it for all processes and forget failures and waits; the mode stays. Raises as `set_mode` does."""
        return self._replica.change(close, actor=actor, reason=reason)

    # --- calls

    def acquire(self) -> Permit | Rejected:
        """Ask whether a call may be made now. Whoever gets a permit must settle it, or use it in a `with` block."""
        self._refresh_if_due()
        view = self._replica.view
        if _passes_all(view):
            return self._permit(view, probe=False)
        now = self._replica.wall_time()
        admission = admit(view, self.config, now)
        if admission is Admission.PASS:
            return self._permit(view, probe=False)
        if admission is not Admission.PROBE:
            return self._rejected(admission, now)
        leased = self._replica.take_lease()
        if leased is not None:
            return self._permit(leased, probe=True)
        view = self._replica.view
        admission = admit(view, self.config, now)
        if admission is Admission.PASS or view.mode is Mode.METRICS_ONLY:
            return self._permit(view, probe=False)
        return self._rejected(admission, now)

    def call(self, fn: Callable[_Args, _Result], *args: _Args.args, **kwargs: _Args.kwargs) -> _Result:
        """Make a call if it may pass, and count how it ends. No lock is held while it runs.

        Raises:
            CircuitOpenError: it may not pass.
            BaseException: what the call raises, unchanged.
        """
        with self._permitted(self.acquire()):
            return fn(*args, **kwargs)

    async def acall(
        self, fn: Callable[_Args, Awaitable[_Result]], *args: _Args.args, **kwargs: _Args.kwargs
    ) -> _Result:
        """As `call`, for a coroutine function. What needs the store happens in a thread, not in the event loop.

        Cancellation passes through as any BaseException does, and is ignored.
        """
        permit = self._permitted(await self._acquire_async())
        try:
            result = await fn(*args, **kwargs)
        except Exception as error:
            await self._settle_async(permit, self.outcome_of(error))
            raise
        except BaseException:
            permit.ignore()  # here, not in a thread: nothing more can be awaited on the way out
            raise
        await self._settle_async(permit, permit.returned())
        return result

    def outcome_of(self, error: BaseException) -> Outcome:
        """Say what an exception tells about the component: a failure, or nothing."""
        blames_caller = isinstance(error, self._exclude) or not isinstance(error, Exception)
        return Outcome.IGNORE if blames_caller else Outcome.FAILURE

    def outcome_after(self, started_at: float) -> Outcome:
        """Say whether a valid result of a call that began at `started_at`, of the clock's `now`, is slow."""
        return Outcome.SLOW if self._clock.now() - started_at > self.config.slow_call_s else Outcome.SUCCESS

    def settle(self, permit: Permit, outcome: Outcome) -> None:
        """Count how a permitted call ended, once. `Permit` has a method for each outcome."""
        if not self._claims(permit):
            return
        self._refresh_if_due()
        need = self._replica.record(epoch=permit.epoch, probe=permit.probe, outcome=outcome)
        if need is not Need.NOTHING:
            self._replica.sync(wait=need is Need.NOW)

    def _claims(self, permit: Permit) -> bool:
        with self._settle_lock:  # a call that was abandoned may end while its failure is being told
            if permit.is_settled:
                return False
            permit.is_settled = True
            return True

    def _refresh_if_due(self) -> None:
        if self._clock.now() >= self._replica.due_at:
            self._replica.refresh(wait=False)

    def _permit(self, view: BreakerState, *, probe: bool) -> Permit:
        return Permit(self, epoch=view.epoch, probe=probe, started_at=self._clock.now())

    def _permitted(self, answer: Permit | Rejected) -> Permit:
        if isinstance(answer, Rejected):
            raise CircuitOpenError(self.name, answer.reason.value, answer.retry_after_s)
        return answer

    def _rejected(self, admission: Admission, now: float) -> Rejected:
        view = self._replica.view
        if admission is Admission.FORCED_OPEN:
            return Rejected(RejectReason.FORCED_OPEN)
        if admission is Admission.PROBE and self._replica.is_stale:
            return Rejected(RejectReason.STORE_UNAVAILABLE)
        until = view.lease.until if view.lease else view.open_until
        return Rejected(_REJECTIONS[admission], max(0.0, until - now))

    async def _acquire_async(self) -> Permit | Rejected:
        now = self._replica.wall_time()
        may_need_store = admit(self._replica.view, self.config, now) is Admission.PROBE
        if not may_need_store and self._clock.now() < self._replica.due_at:
            return self.acquire()
        answers: list[Permit | Rejected] = []
        gone = threading.Event()

        def give_back() -> None:
            if answers and isinstance(answers[0], Permit):
                answers[0].ignore()

        def acquire() -> Permit | Rejected:
            answers.append(self.acquire())
            if gone.is_set():
                give_back()
            return answers[0]

        try:
            return await asyncio.to_thread(acquire)
        except BaseException:
            gone.set()  # before the look: whichever of the two comes last finds the permit
            give_back()
            raise

    async def _settle_async(self, permit: Permit, outcome: Outcome) -> None:
        if not self._claims(permit):
            return
        need = self._replica.record(epoch=permit.epoch, probe=permit.probe, outcome=outcome)
        if need is not Need.NOTHING:
            await asyncio.to_thread(self._replica.sync, wait=need is Need.NOW)

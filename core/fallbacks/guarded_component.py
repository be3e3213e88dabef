"""One component that a breaker guards: who may call it, how the calls end, and what went wrong last."""

from __future__ import annotations

from collections.abc import Callable

from core.breaker import CircuitBreaker, Mode, Outcome, Permit, Rejected, Status
from core.clock import Clock
from core.fallbacks.health import Component, ErrorNote, described


class GuardedComponent:
    """A component and its breaker.

    Args:
        component: which one.
        breaker: guards it.
        obeyed: whether the breaker takes part at all; where it does not, every call passes and none counts.
        clock: tells the time of errors.
        freshen: sees to it that what is known of the shared state is not too old, the breaker's state included.
        share: tells the other processes the error that opened the breaker.

    Attributes:
        component, breaker: as given.
        last_error: the last error that this process has seen.
    """

    def __init__(
        self,
        component: Component,
        breaker: CircuitBreaker,
        *,
        obeyed: bool,
        clock: Clock,
        freshen: Callable[[], None],
        share: Callable[[Component, str], None],
    ) -> None:
        self.component = component
        self.breaker = breaker
        self.last_error: ErrorNote | None = None
        self.is_obeyed = obeyed
        self._clock = clock
        self._freshen = freshen
        self._share = share

    @property
    def is_let_through(self) -> bool:
        """Whether calls pass as they do to a healthy component. False while one alone may probe."""
        state = self.breaker.state
        if not self.is_obeyed or state.mode in {Mode.DISABLED, Mode.METRICS_ONLY}:
            return True
        return state.status is Status.CLOSED and state.mode is Mode.AUTOMATIC

    def rejects(self) -> bool:
        """Whether a call would be rejected now, by what is known. Takes nothing."""
        if not self.is_obeyed:
            return False
        state = self.breaker.state
        if state.status is Status.CLOSED and state.mode is Mode.AUTOMATIC:  # nearly always: no clock is needed
            return False
        return self.breaker.peek() is not None

    def enter(self) -> tuple[bool, Permit | None]:
        """Ask whether a call may be made; with a permit where its end is to be told."""
        if not self.is_obeyed:
            return True, None
        self._freshen()
        answer = self.breaker.acquire()
        return (False, None) if isinstance(answer, Rejected) else (True, answer)

    def leave(self, permit: Permit, error: BaseException | str | None) -> None:
        """Count how a call ended: by its time where nothing went wrong, else by the error; a text is a failure."""
        if error is None:
            self.settle(permit, permit.returned(), None)
        elif isinstance(error, str):
            self.settle(permit, Outcome.FAILURE, error)
        else:
            self.settle(permit, self.breaker.outcome_of(error), described(error))

    def settle(self, permit: Permit, outcome: Outcome, error: str | None) -> None:
        """Count an outcome, and note the error of a failure. One that opens the breaker is told to all processes."""
        epoch = self.breaker.state.epoch
        self.breaker.settle(permit, outcome)
        if outcome is Outcome.FAILURE:
            self.note(error, epoch_before=epoch)

    def note(self, error: str | None, *, epoch_before: int) -> None:
        """Note the error of a failure that was counted; `epoch_before` is the breaker's epoch before it was."""
        text = described(error or "no reason given")
        self.last_error = ErrorNote(text, self._clock.utc_now())
        state = self.breaker.state
        if state.status is Status.OPEN and state.epoch != epoch_before:
            self._share(self.component, text)

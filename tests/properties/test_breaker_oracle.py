"""The breaker against another one: interlock-cb, configured for the same rules, must let the same calls through.

Both mean the same by these: failures in a row that open it, the rate of slow calls over a minute that opens it, one
probe at a time after the wait, twice the wait up to a limit after each probe that fails, calls from before a change
that count no more, exceptions that are no Exception. What only one of them has stays out: leases that end, modes, both
opening rules in one breaker, and failures among calls that are measured for slowness.
"""

from __future__ import annotations

import contextvars
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from interlock import CircuitBreaker as Interlock
from interlock import CircuitOpenError as InterlockOpenError
from interlock import Config, WindowType

from core.adapters.manual_clock import ManualClock
from core.adapters.memory_state import MemoryStateStore
from core.breaker import BreakerConfig, CircuitBreaker, Permit, Rejected, RejectReason

SLOW_S = 1.0
NEVER_S = 1e9


class Interruption(BaseException):
    """Ends a call without saying anything about it, as a cancellation does."""


@dataclass(frozen=True)
class InterlockClock:
    """The clock of the test as interlock wants it."""

    clock: ManualClock

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self.clock.now()


@dataclass(frozen=True)
class Call:
    """One call under way in both breakers. Interlock keeps blocks in a context, so each call has its own."""

    permit: Permit
    context: contextvars.Context


class TwoBreakers(RuleBasedStateMachine):
    """Both breakers see the same calls, and do the same with them."""

    ours_config: BreakerConfig
    theirs_config: Config

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.ours = CircuitBreaker(
            "breaker-test",
            store=MemoryStateStore(clock=self.clock),
            clock=self.clock,
            random=lambda: 0.0,
            owner="here",
            config=self.ours_config,
        )
        self.theirs = Interlock(name="test", config=self.theirs_config, clock=InterlockClock(self.clock))
        self.calls: list[Call] = []

    @rule()
    def begin(self) -> None:
        """Begin a call: both let it through, or neither does."""
        answer = self.ours.acquire()
        context = contextvars.copy_context()
        if isinstance(answer, Rejected):
            with pytest.raises(InterlockOpenError) as refused:
                context.run(self.theirs.__enter__)
            if refused.value.retry_after is not None:
                assert answer.retry_after_s == refused.value.retry_after
        else:
            context.run(self.theirs.__enter__)
            self.calls.append(Call(answer, context))

    def finish(self, which: int, error: BaseException | None) -> None:
        """End any call that is under way, however old it is."""
        call = self.calls.pop(which % len(self.calls))
        kind = None if error is None else type(error)
        call.permit.__exit__(kind, error, None)
        call.context.run(self.theirs.__exit__, kind, error, None)

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 9))
    def succeed(self, which: int) -> None:
        """Let a call end well."""
        self.finish(which, None)

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 9))
    def interrupt(self, which: int) -> None:
        """Let a call be interrupted."""
        self.finish(which, Interruption())

    @rule(seconds=st.sampled_from([1, 2, 4, 8, 16]) | st.integers(54, 61))
    def wait(self, seconds: int) -> None:
        """Let time pass: often about as much as the window of slow calls."""
        self.clock.advance(seconds)

    @rule(early_s=st.sampled_from([0, 0, 1]))
    def wait_for_the_probe(self, early_s: int) -> None:
        """Let time pass until an open breaker lets a call through, or until just before that."""
        refused = self.ours.peek()
        if refused is not None and refused.reason is RejectReason.OPEN and refused.retry_after_s is not None:
            self.clock.advance(max(0.0, refused.retry_after_s - early_s))

    @rule()
    def reset(self) -> None:
        """Close both."""
        self.ours.reset(actor="ann", reason="a test")
        self.theirs.reset()

    @invariant()
    def both_are_in_the_same_state(self) -> None:
        """Closed, open or half-open."""
        assert self.ours.state.status.value == self.theirs.state.value


class FailuresMachine(TwoBreakers):
    """Failures in a row. Interlock opens when all of the last three calls failed."""

    ours_config = BreakerConfig(
        fail_max=3,
        reset_timeout_s=8.0,
        reset_timeout_max_s=20.0,
        slow_call_s=NEVER_S,
        lease_s=NEVER_S,
    )
    theirs_config = Config(
        failure_rate_threshold=1.0,
        minimum_number_of_calls=3,
        window_size=3,
        slow_call_duration_threshold=NEVER_S,
        permitted_calls_in_half_open=1,
        wait_duration_in_open=8.0,
        wait_duration_backoff_multiplier=2.0,
        wait_duration_in_open_max=20.0,
    )

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 9))
    def fail(self, which: int) -> None:
        """Let a call fail."""
        self.finish(which, RuntimeError("it broke"))

    @rule(times=st.integers(1, 4))
    def fail_at_once(self, times: int) -> None:
        """Make calls that fail at once: without it long runs of failures would be rare."""
        for _ in range(times):
            count = len(self.calls)
            self.begin()
            if len(self.calls) > count:
                self.fail(count)


class SlowCallsMachine(TwoBreakers):
    """The rate of slow calls over the last minute; interlock counts in seconds too."""

    ours_config = BreakerConfig(
        reset_timeout_s=8.0,
        reset_timeout_max_s=20.0,
        slow_call_s=SLOW_S - 0.5,
        slow_min_calls=4,
        slow_call_rate=0.5,
        lease_s=NEVER_S,
    )
    theirs_config = Config(
        slow_call_duration_threshold=SLOW_S - 0.5,
        slow_call_rate_threshold=0.5,
        minimum_number_of_calls=4,
        window_type=WindowType.TIME_BASED,
        window_size=60,
        permitted_calls_in_half_open=1,
        wait_duration_in_open=8.0,
        wait_duration_backoff_multiplier=2.0,
        wait_duration_in_open_max=20.0,
    )

    @rule(is_slow=st.booleans(), times=st.integers(1, 4))
    def call(self, is_slow: bool, times: int) -> None:  # noqa: FBT001 - drawn
        """Make calls that take no time, or too long."""
        for _ in range(times):
            count = len(self.calls)
            self.begin()
            if len(self.calls) > count:
                self.clock.advance(SLOW_S if is_slow else 0.0)
                self.succeed(count)


TestFailures = FailuresMachine.TestCase
TestFailures.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestSlowCalls = SlowCallsMachine.TestCase
TestSlowCalls.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)

"""The breaker against a model of it: any calls, results, orders and clock changes, over several processes.

The model knows no epochs, versions or leases to be swapped. It is one object that sees everything in order, counts how
often it has changed, and remembers for each call how often it had changed when the call began.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from core.adapters.manual_clock import ManualClock
from core.adapters.memory_state import MemoryStateStore
from core.breaker import (
    BreakerConfig,
    BreakerState,
    Cause,
    CircuitBreaker,
    Lease,
    Mode,
    Outcome,
    Permit,
    Rejected,
    RejectReason,
    Status,
)
from core.breaker.algebra import admit, record, take_lease
from core.breaker.replica import Streak, reconcile
from core.errors import TransientStoreError
from core.state import Versioned

NAME = "breaker-test"
PROCESSES = 3
outcomes = st.sampled_from(Outcome)

# Small numbers, so that every rule comes into play; whole seconds, so that sums are exact. The window is as long as in
# production: its buckets are one second each.
CONFIG = BreakerConfig(
    reset_timeout_s=8.0,
    reset_timeout_max_s=32.0,
    slow_window_s=60.0,
    slow_min_calls=4,
    lease_s=4.0,
    clock_skew_s=16.0,
)


@dataclass
class Call:
    """One call under way: the permit of the breaker, and what the model noted when it began."""

    permit: Permit
    process: int
    changes: int
    is_probe: bool


@dataclass
class Model:
    """The rules of the breaker as one would tell them."""

    clock: ManualClock
    is_open: bool = False
    by_slow_calls: bool = False
    mode: Mode = Mode.AUTOMATIC
    changes: int = 0
    failures: int = 0
    wait_s: float = 0.0
    opened_at: float = 0.0
    probing_since: float | None = None
    is_half_open: bool = False
    slow_calls: list[list[tuple[float, bool]]] = field(default_factory=lambda: [[] for _ in range(PROCESSES)])

    @property
    def wall(self) -> float:
        """Seconds since 1970."""
        return self.clock.utc_now().timestamp()

    def has_passed(self, since: float, seconds: float) -> bool:
        """Whether a time is over, or the clock has been set back too far for it to be believed."""
        return self.wall >= since + seconds or self.wall < since - CONFIG.clock_skew_s

    def change(self) -> None:
        """Note that calls under way count no more."""
        self.changes += 1
        self.slow_calls = [[] for _ in range(PROCESSES)]

    def ask(self) -> str:
        """Say what a call gets: pass, probe, open, probing or forced_open."""
        if self.mode is Mode.FORCED_OPEN:
            return "forced_open"
        if self.mode is Mode.DISABLED or not (self.is_open or self.is_half_open):
            return "pass"
        refusal = "open"
        if self.is_half_open:
            free = self.probing_since is None or self.has_passed(self.probing_since, CONFIG.lease_s)
            refusal = "probing"
        else:
            free = self.has_passed(self.opened_at, self.wait_s)
        if free:
            self.is_open, self.is_half_open, self.probing_since = False, True, self.wall
            self.change()
            return "probe"
        return "pass" if self.mode is Mode.METRICS_ONLY else refusal

    def trip(self, *, by_slow_calls: bool) -> None:
        """Open: for 8 s at first, then for twice as long as last time, at most 32 s."""
        self.wait_s = min(self.wait_s * 2, 32.0) if self.wait_s else 8.0
        self.is_open, self.is_half_open, self.by_slow_calls = True, False, by_slow_calls
        self.opened_at = self.wall
        self.change()

    def close(self) -> None:
        """Close and forget."""
        self.is_open = self.is_half_open = False
        self.failures, self.wait_s, self.probing_since = 0, 0.0, None
        self.change()

    def end(self, call: Call, outcome: Outcome) -> None:
        """Let a call's result count."""
        if call.changes != self.changes or self.mode in {Mode.DISABLED, Mode.FORCED_OPEN}:
            return
        if self.is_half_open:
            if call.is_probe:
                self.end_probe(outcome)
            return
        if self.is_open or outcome is Outcome.IGNORE:
            return
        calls = self.slow_calls[call.process]
        calls.append((self.clock.now(), outcome is Outcome.SLOW))
        recent = [slow for at, slow in calls if int(at) > int(self.clock.now()) - 60]
        if outcome is Outcome.FAILURE:
            self.failures += 1
            if self.failures == 3:
                self.trip(by_slow_calls=False)
                return
        else:
            self.failures = 0
        if len(recent) >= 4 and sum(recent) * 2 >= len(recent):
            self.trip(by_slow_calls=True)

    def end_probe(self, outcome: Outcome) -> None:
        """Close, open again, or let another call probe."""
        if outcome is Outcome.IGNORE:
            self.probing_since = None
        elif outcome is Outcome.FAILURE:
            self.trip(by_slow_calls=False)
        elif outcome is Outcome.SLOW and self.by_slow_calls:
            self.trip(by_slow_calls=True)
        else:
            self.close()


class BreakerMachine(RuleBasedStateMachine):
    """Several processes do what comes to mind; breaker and model must agree on everything that can be seen."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.store = MemoryStateStore(clock=self.clock)
        self.model = Model(self.clock)
        self.breakers = [self.started(number) for number in range(PROCESSES)]
        self.calls: list[Call] = []

    def started(self, number: int) -> CircuitBreaker:
        """Start a process. It looks before each answer, so that the order of events is the same for all."""
        return CircuitBreaker(
            NAME,
            store=self.store,
            clock=self.clock,
            random=lambda: 0.0,
            owner=f"process-{number}",
            config=CONFIG,
            refresh_s=0.0,
        )

    @initialize(mode=st.sampled_from([Mode.AUTOMATIC, Mode.AUTOMATIC, Mode.METRICS_ONLY]))
    def begin(self, mode: Mode) -> None:
        """Begin in a mode in which results count."""
        if mode is not Mode.AUTOMATIC:
            self.order(0, mode)

    @rule(process=st.integers(0, PROCESSES - 1))
    def ask(self, process: int) -> None:
        """Ask for a permit: the answer is the model's."""
        expected = self.model.ask()
        answer = self.breakers[process].acquire()
        if isinstance(answer, Rejected):
            assert answer.reason.value == expected
            assert (answer.reason is RejectReason.FORCED_OPEN) == (answer.retry_after_s is None)
        else:
            assert answer.probe == (expected == "probe")
            assert expected in {"pass", "probe"}
            self.calls.append(Call(answer, process, self.model.changes, answer.probe))

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 9), outcome=outcomes)
    def end(self, which: int, outcome: Outcome) -> None:
        """End any call that is under way, however old it is."""
        call = self.calls.pop(which % len(self.calls))
        self.model.end(call, outcome)
        self.breakers[call.process].settle(call.permit, outcome)

    @rule(process=st.integers(0, PROCESSES - 1), outcome=outcomes, times=st.integers(1, 4))
    def call(self, process: int, outcome: Outcome, times: int) -> None:
        """Make calls that end at once: without it long runs of one outcome would be rare."""
        for _ in range(times):
            count = len(self.calls)
            self.ask(process)
            if len(self.calls) > count:
                self.end(count, outcome)

    @rule(seconds=st.sampled_from([1, 2, 4, 8, 16, 32, 60]))
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([-1000, -17, -16, -4, 4, 1000]))
    def set_clock(self, seconds: int) -> None:
        """Set the wall clock, forwards or back."""
        self.clock.set_utc(self.clock.utc_now() + timedelta(seconds=seconds))

    @rule(process=st.integers(0, PROCESSES - 1), mode=st.sampled_from(Mode))
    def order(self, process: int, mode: Mode) -> None:
        """Set the mode."""
        self.model.mode = mode
        self.model.probing_since = None
        self.model.change()
        self.breakers[process].set_mode(mode, actor="ann", reason="a test")

    @rule(process=st.integers(0, PROCESSES - 1))
    def reset(self, process: int) -> None:
        """Reset."""
        self.model.close()
        self.breakers[process].reset(actor="ann", reason="a test")

    @rule(process=st.integers(0, PROCESSES - 1))
    def restart(self, process: int) -> None:
        """Kill a process and start it again: its calls never end, and it has forgotten its slow calls."""
        self.calls = [call for call in self.calls if call.process != process]
        self.model.slow_calls[process] = []
        self.breakers[process] = self.started(process)

    @invariant()
    def all_agree(self) -> None:
        """Every process, once it has looked, sees the same, and it is what the model sees."""
        states = {breaker.refresh() for breaker in self.breakers}
        assert len(states) == 1
        (state,) = states
        status = Status.HALF_OPEN if self.model.is_half_open else Status.OPEN if self.model.is_open else Status.CLOSED
        assert (state.status, state.mode) == (status, self.model.mode)
        if status is Status.CLOSED:
            assert state.failures == self.model.failures
        if status is Status.OPEN:
            assert (state.opened_at, state.open_until - state.opened_at) == (self.model.opened_at, self.model.wait_s)
            assert state.cause is (Cause.SLOW_CALLS if self.model.by_slow_calls else Cause.FAILURES)
        assert (state.lease is not None) == (status is Status.HALF_OPEN and self.model.probing_since is not None)

    @invariant()
    def one_probe_counts(self) -> None:
        """Of all calls under way at most one can close or open it again."""
        state = self.breakers[0].refresh()
        assert sum(call.permit.probe and call.permit.epoch == state.epoch for call in self.calls) <= 1


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


class FlakyStore(MemoryStateStore):
    """A store that is down now and then."""

    is_down = False

    def load(self, name: str) -> Versioned | None:
        """Load, unless it is down."""
        if self.is_down:
            raise TransientStoreError("the store is down")
        return super().load(name)

    def swap(
        self, name: str, *, expected_version: int, value: Mapping[str, object], actor: str, reason: str
    ) -> Versioned:
        """Swap, unless it is down."""
        if self.is_down:
            raise TransientStoreError("the store is down")
        return super().swap(name, expected_version=expected_version, value=value, actor=actor, reason=reason)


class LazyMachine(RuleBasedStateMachine):
    """Processes that look now and then, on a store that is down now and then. What must hold is less, but must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.store = FlakyStore(clock=self.clock)
        self.breakers = [
            CircuitBreaker(
                NAME,
                store=self.store,
                clock=self.clock,
                random=lambda: 0.0,
                owner=f"process-{number}",
                config=CONFIG,
                refresh_s=refresh_s,
            )
            for number, refresh_s in enumerate((1.0, 5.0, math.inf))
        ]
        self.permits: list[Permit] = []
        self.epoch = 0

    @rule(process=st.integers(0, PROCESSES - 1), keeps=st.booleans(), outcome=outcomes, times=st.integers(1, 4))
    def call(self, process: int, keeps: bool, outcome: Outcome, times: int) -> None:  # noqa: FBT001 - drawn
        """Make calls; some end at once, some go on."""
        for _ in range(times):
            rejected = self.breakers[process].peek()
            answer = self.breakers[process].acquire()
            if isinstance(answer, Rejected):
                continue
            assert rejected is None
            if keeps:
                self.permits.append(answer)
            else:
                self.breakers[process].settle(answer, outcome)

    @precondition(lambda self: self.permits)
    @rule(which=st.integers(0, 9), outcome=outcomes)
    def end(self, which: int, outcome: Outcome) -> None:
        """End any call that is under way."""
        permit = self.permits.pop(which % len(self.permits))
        getattr(permit, outcome.value)()

    @rule(seconds=st.sampled_from([1, 5, 8, 32]))
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    @rule(is_down=st.booleans())
    def set_store(self, is_down: bool) -> None:  # noqa: FBT001 - drawn
        """Bring the store down or up."""
        self.store.is_down = is_down

    @rule(process=st.integers(0, PROCESSES - 1))
    def refresh(self, process: int) -> None:
        """Let a process look."""
        self.breakers[process].refresh()

    def stored(self) -> BreakerState:
        """What all processes would see now, were the store up."""
        versioned = MemoryStateStore.load(self.store, NAME)
        return BreakerState() if versioned is None else BreakerState.from_dict(versioned.value)

    @invariant()
    def one_probe_counts(self) -> None:
        """At most one call under way holds the lease that is stored, and the epoch never falls."""
        stored = self.stored()
        assert sum(permit.probe and permit.epoch == stored.epoch for permit in self.permits) <= 1
        assert stored.epoch >= self.epoch
        self.epoch = stored.epoch

    def teardown(self) -> None:
        """In the end, with the store up, everybody sees what is stored, and nothing is left to be written."""
        self.store.is_down = False
        for breaker in self.breakers:
            breaker.refresh()
        assert {breaker.refresh() for breaker in self.breakers} == {self.stored()}


TestLazyMachine = LazyMachine.TestCase
TestLazyMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


# --- properties of the pure functions -----------------------------------------------------------------------------

times = st.integers(0, 10**6).map(float)
states = st.builds(
    BreakerState,
    status=st.sampled_from(Status),
    mode=st.sampled_from(Mode),
    epoch=st.integers(0, 5),
    failures=st.integers(0, 2),
    trips=st.integers(0, 2000),
    cause=st.none() | st.sampled_from(Cause),
    opened_at=times,
    open_until=times,
    lease=st.none() | st.builds(Lease, holder=st.sampled_from("ab"), granted_at=times, until=times),
)


@given(state=states)
def test_state_survives_being_stored(state: BreakerState) -> None:
    """Every state comes back from its stored form."""
    assert BreakerState.from_dict(state.to_dict()) == state


@given(
    state=states, epoch=st.integers(0, 5), flags=st.tuples(st.booleans(), st.booleans()), outcome=outcomes, now=times
)
def test_result_of_another_epoch_changes_nothing(
    state: BreakerState, epoch: int, flags: tuple[bool, bool], outcome: Outcome, now: float
) -> None:
    """Only a call of the present epoch counts; a change of status begins the next epoch, and nothing else does."""
    probe, slow = flags
    after = record(state, CONFIG, epoch=epoch, probe=probe, outcome=outcome, too_many_slow=slow, now=now, random=0.5)
    if epoch != state.epoch:
        assert after is state
    assert after.epoch == state.epoch + (after.status is not state.status)
    assert after.mode is state.mode


@given(state=states, outcome=outcomes, now=times, random=st.floats(0.0, 1.0, exclude_max=True))
def test_wait_is_never_longer_than_the_limit(state: BreakerState, outcome: Outcome, now: float, random: float) -> None:
    """However often it has opened, the wait lies between nine tenths of the first limit and the last one."""
    after = record(
        state,
        CONFIG,
        epoch=state.epoch,
        probe=state.status is Status.HALF_OPEN,
        outcome=outcome,
        too_many_slow=False,
        now=now,
        random=random,
    )
    if after.status is Status.OPEN and state.status is not Status.OPEN:
        assert 0.9 * 8.0 <= after.open_until - after.opened_at <= 32.0


@given(state=states, now=times)
def test_breaker_never_sticks(state: BreakerState, now: float) -> None:
    """Whatever times it holds, once they have passed a call may pass or probe, unless somebody forced it open."""
    latest = max([state.open_until, *([state.lease.until] if state.lease else []), now])
    answer = admit(state, CONFIG, latest)
    assert (answer.value in {"pass", "probe"}) == (state.mode is not Mode.FORCED_OPEN)


@given(state=states, now=times)
def test_lease_keeps_all_others_out(state: BreakerState, now: float) -> None:
    """Right after one call has taken the lease no other may probe."""
    leased = take_lease(state, CONFIG, holder="one", now=now)
    assert admit(leased, CONFIG, now).value != "probe"


@given(calls=st.lists(outcomes.filter(lambda outcome: outcome is not Outcome.IGNORE)), cut=st.integers(0, 20))
def test_streaks_can_be_joined_anywhere(calls: list[Outcome], cut: int) -> None:
    """Counting in two pieces and joining them is counting at once, on top of any run before."""

    def counted(piece: list[Outcome]) -> Streak:
        streak = Streak()
        for outcome in piece:
            streak = streak.and_then(outcome)
        return streak

    whole = counted(calls)
    assert counted(calls[:cut]).followed_by(counted(calls[cut:])) == whole
    expected = 2
    for outcome in calls:
        expected = expected + 1 if outcome is Outcome.FAILURE else 0
    assert whole.on(2) == expected


@given(base=states, stored=states, local=states, failures=st.integers(0, 3))
def test_reconciling_takes_a_change_of_one_side(
    base: BreakerState, stored: BreakerState, local: BreakerState, failures: int
) -> None:
    """Theirs if they changed anything but the run of failures, else ours; without any change nothing happens."""
    join: Callable[..., BreakerState] = reconcile
    times_ = {"now": 0.0, "random": 0.0}
    theirs = join(base, local, stored, Streak(ended=True, failures=failures), CONFIG, **times_)
    if stored.epoch != base.epoch or stored.mode is not base.mode or stored.status is not base.status:
        assert theirs == stored
    ours = join(base, local, base, Streak(), CONFIG, **times_)
    if local.epoch != base.epoch or local.status is not base.status:
        assert ours == local
    assert join(base, base, base, Streak(), CONFIG, **times_) == base


@pytest.mark.parametrize("status", [Status.OPEN, Status.HALF_OPEN])
def test_clock_far_in_the_future_does_not_keep_it_open(status: Status) -> None:
    """A machine whose clock was wrong by years cannot shut the others out once its clock is right."""
    wrong = 1e12
    lease = Lease("one", wrong, wrong + 4) if status is Status.HALF_OPEN else None
    state = BreakerState(status=status, trips=1, opened_at=wrong, open_until=wrong + 8, lease=lease)
    assert admit(state, CONFIG, 1e9).value == "probe"

"""The breaker: when it opens and closes, whom it lets through, and what it shares with other processes."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest

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
from core.errors import (
    CircuitOpenError,
    ConfigError,
    InputError,
    RecordError,
    StateConflict,
    StoreError,
    TransientStoreError,
)
from core.state import Versioned

NAME = "breaker-test"
WHO: dict[str, Any] = {"actor": "ann", "reason": "a test"}


class CountingStore(MemoryStateStore):
    """A store that counts its calls, fails while it is told to, and lets things happen while it is asked."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock=clock)
        self.is_down = False
        self.loads = 0
        self.swaps = 0
        self.meanwhile: list[Callable[[], object]] = []

    def let_happen(self) -> None:
        """Do what shall happen during this call, once."""
        events, self.meanwhile = self.meanwhile, []
        for event in events:
            event()

    def load(self, name: str) -> Versioned | None:
        """Load, unless it is down."""
        self.loads += 1
        self.let_happen()
        if self.is_down:
            raise TransientStoreError("the store is down")
        return super().load(name)

    def swap(
        self, name: str, *, expected_version: int, value: Mapping[str, object], actor: str, reason: str
    ) -> Versioned:
        """Swap, unless it is down."""
        self.swaps += 1
        if self.is_down:
            raise TransientStoreError("the store is down")
        return super().swap(name, expected_version=expected_version, value=value, actor=actor, reason=reason)

    @property
    def writes(self) -> int:
        """How many versions have been written."""
        newest = super().load(NAME)
        return newest.version if newest else 0


@pytest.fixture
def clock() -> ManualClock:
    """A clock that the test moves."""
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> CountingStore:
    """The store that the breakers of a test share."""
    return CountingStore(clock)


Make = Callable[..., CircuitBreaker]


@pytest.fixture
def make(clock: ManualClock, store: CountingStore) -> Make:
    """Make a breaker, as another process would: of its own, on the shared store. It always looks before it answers."""

    def made(owner: str = "one", **options: Any) -> CircuitBreaker:
        defaults: dict[str, Any] = {"random": lambda: 0.0, "refresh_s": 0.0}
        return CircuitBreaker(NAME, store=store, clock=clock, owner=owner, **defaults | options)

    return made


@pytest.fixture
def breaker(make: Make) -> CircuitBreaker:
    """One breaker."""
    return make()


def permit_of(breaker: CircuitBreaker) -> Permit:
    """Get a permit where one must be given."""
    answer = breaker.acquire()
    assert isinstance(answer, Permit), answer
    return answer


def rejection_of(breaker: CircuitBreaker) -> Rejected:
    """Get the rejection where one must be given."""
    answer = breaker.acquire()
    assert isinstance(answer, Rejected)
    return answer


def status_of(breaker: CircuitBreaker) -> Status:
    """Read the status, in a way from which no type checker concludes that it stays so."""
    return breaker.state.status


def fail(breaker: CircuitBreaker, times: int = 1) -> None:
    """Let calls fail."""
    for _ in range(times):
        permit_of(breaker).failure()


def open_and_wait(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """Open it, and let its first wait pass."""
    fail(breaker, 3)
    clock.advance(60.0)


class TestClosed:
    """While it is closed."""

    def test_opens_after_three_failures_in_a_row(self, breaker: CircuitBreaker) -> None:
        """Two failures leave it closed, the third opens it for 60 s."""
        fail(breaker, 2)
        assert status_of(breaker) is Status.CLOSED
        fail(breaker)
        assert (breaker.state.status, breaker.state.cause) == (Status.OPEN, Cause.FAILURES)
        assert rejection_of(breaker) == Rejected(RejectReason.OPEN, 60.0)

    @pytest.mark.parametrize("good", [Outcome.SUCCESS, Outcome.SLOW])
    def test_valid_result_ends_the_run_of_failures(self, breaker: CircuitBreaker, good: Outcome) -> None:
        """A success, also a slow one, lets the count begin again."""
        fail(breaker, 2)
        breaker.settle(permit_of(breaker), good)
        assert breaker.state.failures == 0
        fail(breaker, 2)
        assert status_of(breaker) is Status.CLOSED

    def test_ignored_outcome_neither_ends_nor_lengthens_the_run(self, breaker: CircuitBreaker) -> None:
        """After two failures and an ignored call it takes one more failure."""
        fail(breaker, 2)
        permit_of(breaker).ignore()
        assert (breaker.state.status, breaker.state.failures) == (Status.CLOSED, 2)
        fail(breaker)
        assert status_of(breaker) is Status.OPEN

    def test_number_of_failures_is_a_setting(self, make: Make) -> None:
        """With `fail_max` 1 the first failure opens it."""
        breaker = make(config=BreakerConfig(fail_max=1))
        fail(breaker)
        assert status_of(breaker) is Status.OPEN

    def test_result_is_told_once(self, breaker: CircuitBreaker) -> None:
        """What is told of a call after its first outcome is dropped: a late result of an abandoned call."""
        fail(breaker, 2)
        permit = permit_of(breaker)
        permit.ignore()
        permit.failure()
        permit.success()
        assert (breaker.state.status, breaker.state.failures) == (Status.CLOSED, 2)


class TestSlowCalls:
    """The rate of slow calls."""

    def run(self, breaker: CircuitBreaker, slow: int, fast: int) -> None:
        """Make slow calls, then fast ones."""
        for _ in range(slow):
            permit_of(breaker).slow()
        for _ in range(fast):
            permit_of(breaker).success()

    def test_opens_when_half_of_twenty_calls_are_slow(self, breaker: CircuitBreaker) -> None:
        """10 slow calls of 19 are too few calls; the 20th makes it 10 of 20."""
        self.run(breaker, slow=10, fast=9)
        assert status_of(breaker) is Status.CLOSED
        self.run(breaker, slow=0, fast=1)
        assert (breaker.state.status, breaker.state.cause) == (Status.OPEN, Cause.SLOW_CALLS)

    def test_stays_closed_below_half(self, breaker: CircuitBreaker) -> None:
        """9 slow calls of 20 do not open it."""
        self.run(breaker, slow=9, fast=11)
        assert status_of(breaker) is Status.CLOSED

    def test_failures_count_as_calls(self, breaker: CircuitBreaker) -> None:
        """A failure is a call that was not slow."""
        self.run(breaker, slow=9, fast=8)
        fail(breaker, 2)
        assert status_of(breaker) is Status.CLOSED
        self.run(breaker, slow=1, fast=0)
        assert breaker.state.cause is Cause.SLOW_CALLS

    def test_ignored_calls_are_no_calls(self, breaker: CircuitBreaker) -> None:
        """Ignored outcomes neither fill the window nor thin it out."""
        self.run(breaker, slow=19, fast=0)
        for _ in range(50):
            permit_of(breaker).ignore()
        assert status_of(breaker) is Status.CLOSED
        self.run(breaker, slow=1, fast=0)
        assert status_of(breaker) is Status.OPEN

    def test_old_calls_are_forgotten(self, breaker: CircuitBreaker, clock: ManualClock) -> None:
        """A call counts for at most 60 s."""
        self.run(breaker, slow=19, fast=0)
        clock.advance(60.0)
        self.run(breaker, slow=1, fast=0)
        assert status_of(breaker) is Status.CLOSED

    def test_old_slow_calls_do_not_weigh_on_new_ones(self, breaker: CircuitBreaker, clock: ManualClock) -> None:
        """After 60 s one slow call among 20 is one, whatever was before."""
        self.run(breaker, slow=19, fast=0)
        clock.advance(60.0)
        self.run(breaker, slow=1, fast=19)
        assert breaker.state.status is Status.CLOSED

    def test_calls_from_before_a_change_are_no_calls(self, breaker: CircuitBreaker) -> None:
        """Slow results that come in after a reset do not fill the window."""
        early = [permit_of(breaker) for _ in range(19)]
        breaker.reset(**WHO)
        for permit in early:
            permit.slow()
        self.run(breaker, slow=1, fast=0)
        assert breaker.state.status is Status.CLOSED

    def test_failure_that_also_makes_the_rate_opens_it_once(self, breaker: CircuitBreaker) -> None:
        """The third failure in a row is the 20th call, 17 of them slow: it opened because of the failures."""
        self.run(breaker, slow=17, fast=0)
        fail(breaker, 3)
        assert (breaker.state.cause, breaker.state.trips) == (Cause.FAILURES, 1)

    def test_recent_calls_are_remembered(self, breaker: CircuitBreaker, clock: ManualClock) -> None:
        """A call counts for at least 59 s, also when the wall clock is set back meanwhile."""
        self.run(breaker, slow=19, fast=0)
        clock.advance(59.0)
        clock.set_utc(clock.utc_now() - timedelta(days=1))
        self.run(breaker, slow=1, fast=0)
        assert status_of(breaker) is Status.OPEN

    def test_slow_probe_opens_again_what_slow_calls_opened(self, breaker: CircuitBreaker, clock: ManualClock) -> None:
        """It is still slow, so nothing is better."""
        self.run(breaker, slow=20, fast=0)
        clock.advance(60.0)
        permit_of(breaker).slow()
        assert (breaker.state.status, breaker.state.cause) == (Status.OPEN, Cause.SLOW_CALLS)

    def test_slow_probe_closes_what_failures_opened(self, breaker: CircuitBreaker, clock: ManualClock) -> None:
        """It answers again; whether it is too slow is for the rate to say."""
        open_and_wait(breaker, clock)
        permit_of(breaker).slow()
        assert status_of(breaker) is Status.CLOSED

    def test_window_begins_anew_after_closing(self, breaker: CircuitBreaker, clock: ManualClock) -> None:
        """Slow calls from before it opened do not open it again."""
        self.run(breaker, slow=19, fast=0)
        breaker.reset(**WHO)
        clock.advance(1.0)
        self.run(breaker, slow=1, fast=0)
        assert status_of(breaker) is Status.CLOSED


class TestOpenAndHalfOpen:
    """While it is open, and the way back."""

    def test_half_open_lets_one_call_through(self, breaker: CircuitBreaker, clock: ManualClock) -> None:
        """After the wait the first call is a probe; the others are rejected until it ends."""
        open_and_wait(breaker, clock)
        probe = permit_of(breaker)
        assert probe.probe
        assert status_of(breaker) is Status.HALF_OPEN
        assert rejection_of(breaker) == Rejected(RejectReason.PROBING, 10.0)

    def test_no_call_passes_before_the_wait_is_over(self, breaker: CircuitBreaker, clock: ManualClock) -> None:
        """The wait is 60 s to the last moment."""
        fail(breaker, 3)
        clock.advance(59.5)
        assert rejection_of(breaker) == Rejected(RejectReason.OPEN, 0.5)

    def test_success_of_the_probe_closes_it(self, breaker: CircuitBreaker, clock: ManualClock) -> None:
        """Closed, nothing counted, and the next wait is short again."""
        open_and_wait(breaker, clock)
        permit_of(breaker).success()
        assert (breaker.state.status, breaker.state.failures, breaker.state.trips) == (Status.CLOSED, 0, 0)
        fail(breaker, 3)
        assert rejection_of(breaker).retry_after_s == 60.0

    def test_each_failed_probe_doubles_the_wait_up_to_600_s(self, breaker: CircuitBreaker, clock: ManualClock) -> None:
        """60, 120, 240, 480, then 600 s and no more."""
        fail(breaker, 3)
        waits = []
        for _ in range(7):
            wait = rejection_of(breaker).retry_after_s
            assert wait is not None
            waits.append(wait)
            clock.advance(wait)
            permit_of(breaker).failure()
        assert waits == [60.0, 120.0, 240.0, 480.0, 600.0, 600.0, 600.0]

    def test_jitter_shortens_repeated_waits_only(self, make: Make, clock: ManualClock) -> None:
        """The first wait is 60 s on the dot; later ones are up to a tenth shorter, never longer."""
        breaker = make(random=lambda: 0.5)
        open_and_wait(breaker, clock)
        assert breaker.state.open_until - breaker.state.opened_at == 60.0
        permit_of(breaker).failure()
        assert breaker.state.open_until - breaker.state.opened_at == pytest.approx(120.0 * 0.95)

    def test_ignored_probe_gives_its_lease_back(self, breaker: CircuitBreaker, clock: ManualClock) -> None:
        """A probe that says nothing leaves it half-open, and the next call probes at once."""
        open_and_wait(breaker, clock)
        permit_of(breaker).ignore()
        assert (breaker.state.status, breaker.state.lease) == (Status.HALF_OPEN, None)
        assert permit_of(breaker).probe

    def test_probe_that_never_ends_loses_its_lease(self, breaker: CircuitBreaker, clock: ManualClock) -> None:
        """After 10 s another call probes, and what the first one says then changes nothing."""
        open_and_wait(breaker, clock)
        lost = permit_of(breaker)
        clock.advance(10.0)
        probe = permit_of(breaker)
        lost.success()
        assert status_of(breaker) is Status.HALF_OPEN
        probe.failure()
        assert status_of(breaker) is Status.OPEN

    def test_result_from_before_a_change_changes_nothing(self, breaker: CircuitBreaker, clock: ManualClock) -> None:
        """Calls that began while it was closed can neither close it, nor open it again, nor count after it closed."""
        early = [permit_of(breaker) for _ in range(5)]
        fail(breaker, 3)
        opened = breaker.state
        early[0].success()
        early[1].failure()
        assert breaker.state == opened
        clock.advance(60.0)
        probe = permit_of(breaker)
        early[2].success()
        assert status_of(breaker) is Status.HALF_OPEN
        probe.success()
        early[3].failure()
        assert breaker.state.failures == 0

    def test_peek_takes_nothing(self, breaker: CircuitBreaker, clock: ManualClock) -> None:
        """Looking tells what a call would get, and leaves the probe to whoever calls."""
        assert breaker.peek() is None
        fail(breaker, 3)
        assert breaker.peek() == Rejected(RejectReason.OPEN, 60.0)
        clock.advance(60.0)
        assert breaker.peek() is None
        assert breaker.peek() is None
        assert permit_of(breaker).probe
        assert breaker.peek() == Rejected(RejectReason.PROBING, 10.0)


class TestWallClock:
    """The clock that processes agree on can be wrong."""

    def test_clock_set_back_a_little_lengthens_the_wait_a_little(
        self, breaker: CircuitBreaker, clock: ManualClock
    ) -> None:
        """Within the tolerance of 60 s the moment is believed."""
        fail(breaker, 3)
        clock.set_utc(clock.utc_now() - timedelta(seconds=60))
        assert rejection_of(breaker).retry_after_s == 120.0

    def test_clock_set_back_a_lot_does_not_keep_it_open(self, breaker: CircuitBreaker, clock: ManualClock) -> None:
        """A breaker that was opened in the future may probe at once, and works on from there."""
        fail(breaker, 3)
        clock.set_utc(clock.utc_now() - timedelta(days=365))
        permit_of(breaker).failure()
        assert rejection_of(breaker).retry_after_s == 120.0

    def test_lease_granted_in_the_future_has_ended(self, breaker: CircuitBreaker, clock: ManualClock) -> None:
        """Nor does a probe hold its lease for ever after the clock was set back."""
        open_and_wait(breaker, clock)
        permit_of(breaker)
        clock.set_utc(clock.utc_now() - timedelta(hours=1))
        assert permit_of(breaker).probe


class TestModes:
    """What people can order."""

    def test_forced_open_lets_nothing_through_for_ever(self, breaker: CircuitBreaker, clock: ManualClock) -> None:
        """No wait ends it, and calls under way do not count."""
        early = permit_of(breaker)
        breaker.set_mode(Mode.FORCED_OPEN, actor="ann", reason="an incident")
        clock.advance(1e6)
        assert rejection_of(breaker) == breaker.peek() == Rejected(RejectReason.FORCED_OPEN)
        forced = breaker.state
        early.failure()
        assert breaker.state == forced
        assert (forced.mode_actor, forced.mode_reason) == ("ann", "an incident")

    def test_disabled_lets_everything_through_and_counts_nothing(self, breaker: CircuitBreaker) -> None:
        """Neither failures nor slow calls open it."""
        breaker.set_mode(Mode.DISABLED, **WHO)
        before = breaker.state
        fail(breaker, 5)
        for _ in range(30):
            permit_of(breaker).slow()
        assert breaker.state == before

    def test_disabled_lets_calls_through_though_it_is_open(self, breaker: CircuitBreaker) -> None:
        """The status is not obeyed while it is disabled, and is obeyed again afterwards."""
        fail(breaker, 3)
        breaker.set_mode(Mode.DISABLED, **WHO)
        assert not permit_of(breaker).probe
        breaker.set_mode(Mode.AUTOMATIC, **WHO)
        assert rejection_of(breaker).reason is RejectReason.OPEN

    def test_metrics_only_tells_what_it_would_do(self, breaker: CircuitBreaker, clock: ManualClock) -> None:
        """Every call passes; the status opens, probes and closes as if it were obeyed."""
        breaker.set_mode(Mode.METRICS_ONLY, **WHO)
        fail(breaker, 3)
        assert status_of(breaker) is Status.OPEN
        assert not permit_of(breaker).probe
        clock.advance(60.0)
        probe = permit_of(breaker)
        assert probe.probe
        bystander = permit_of(breaker)
        assert not bystander.probe
        bystander.failure()
        assert status_of(breaker) is Status.HALF_OPEN
        probe.success()
        assert status_of(breaker) is Status.CLOSED

    def test_mode_set_during_a_probe_drops_its_result(self, breaker: CircuitBreaker, clock: ManualClock) -> None:
        """Back in automatic mode another probe is needed, and can be made at once."""
        open_and_wait(breaker, clock)
        early = permit_of(breaker)
        breaker.set_mode(Mode.FORCED_OPEN, **WHO)
        breaker.set_mode(Mode.AUTOMATIC, **WHO)
        early.success()
        assert status_of(breaker) is Status.HALF_OPEN
        assert permit_of(breaker).probe

    def test_reset_closes_it_and_leaves_the_mode(self, breaker: CircuitBreaker) -> None:
        """A reset forgets failures and waits, and does not lift what somebody forced."""
        fail(breaker, 3)
        breaker.reset(**WHO)
        assert (breaker.state.status, breaker.state.failures, breaker.state.trips) == (Status.CLOSED, 0, 0)
        breaker.set_mode(Mode.FORCED_OPEN, **WHO)
        breaker.reset(**WHO)
        assert rejection_of(breaker).reason is RejectReason.FORCED_OPEN

    def test_orders_are_in_the_history(self, breaker: CircuitBreaker, store: CountingStore) -> None:
        """Who ordered what, and why, and what the breaker did by itself, as its owner."""
        fail(breaker, 3)
        breaker.set_mode(Mode.DISABLED, actor="ann", reason="an incident")
        told = [(change.actor, change.reason) for change in store.history(NAME, 2)]
        assert told == [("ann", "an incident"), ("one", "opened for 60.0 s: 3 failures in a row")]

    def test_order_that_does_not_arrive_is_an_error(self, breaker: CircuitBreaker, store: CountingStore) -> None:
        """Unlike a query, a person must know that the store did not answer."""
        store.is_down = True
        with pytest.raises(StoreError):
            breaker.set_mode(Mode.FORCED_OPEN, **WHO)


class TestSharing:
    """Several processes, one state."""

    def test_three_failures_in_three_processes_open_it_for_all(self, make: Make) -> None:
        """Failures in a row are counted over all processes."""
        breakers = [make(owner) for owner in ("one", "two", "three")]
        for breaker in breakers:
            fail(breaker)
        assert [rejection_of(breaker).reason for breaker in breakers] == [RejectReason.OPEN] * 3

    def test_success_in_one_process_ends_the_run_of_all(self, make: Make) -> None:
        """A success after failures elsewhere is written once."""
        one, two = make("one"), make("two")
        fail(one, 2)
        permit_of(two).success()
        fail(one)
        assert one.refresh().failures == 1

    def test_one_probe_over_all_processes(self, make: Make, clock: ManualClock) -> None:
        """Of many breakers that find the wait over one gets the lease; its success closes all."""
        breakers = [make(f"process-{number}") for number in range(5)]
        open_and_wait(breakers[0], clock)
        answers = [breaker.acquire() for breaker in breakers]
        permits = [answer for answer in answers if isinstance(answer, Permit)]
        assert len(permits) == 1
        assert breakers[0].state.lease == Lease("process-0", clock.utc_now().timestamp(), 10 + _now(clock))
        permits[0].success()
        assert [breaker.refresh().status for breaker in breakers] == [Status.CLOSED] * 5

    def test_breaker_that_saw_nothing_learns_of_the_opening(self, make: Make, clock: ManualClock) -> None:
        """Within one refresh, here of 5 s, and not before."""
        fast, lazy = make("fast"), make("lazy", refresh_s=5.0)
        permit_of(lazy).success()
        fail(fast, 3)
        permit_of(lazy).success()
        clock.advance(5.0)
        assert rejection_of(lazy).reason is RejectReason.OPEN

    def test_healthy_breaker_writes_nothing(self, breaker: CircuitBreaker, store: CountingStore) -> None:
        """Successes, slow calls and ignored ones leave the store alone."""
        for _ in range(9):
            permit_of(breaker).slow()
        for _ in range(20):
            permit_of(breaker).success()
            permit_of(breaker).ignore()
        assert store.swaps == 0

    def test_state_is_read_once_a_refresh(self, make: Make, store: CountingStore, clock: ManualClock) -> None:
        """Not with every call: 100 calls in a second read the store once."""
        breaker = make(refresh_s=1.0)
        for _ in range(100):
            permit_of(breaker).success()
        assert store.loads == 1
        clock.advance(1.0)
        permit_of(breaker).success()
        assert store.loads == 2

    def test_unsteady_component_writes_twice_a_refresh_at_most(
        self, make: Make, store: CountingStore, clock: ManualClock
    ) -> None:
        """100 failures and successes in turn within a second are one write, and one more with the next refresh."""
        breaker = make(refresh_s=1.0)
        for _ in range(100):
            permit_of(breaker).failure()
            permit_of(breaker).success()
        assert store.writes == 1
        clock.advance(1.0)
        permit_of(breaker).ignore()
        assert store.writes == 2
        assert breaker.state.failures == 0

    def test_failures_that_were_not_written_count_all_the_same(self, make: Make, store: CountingStore) -> None:
        """The process counts exactly, and writes at once when it opens."""
        breaker = make(refresh_s=math.inf)
        fail(breaker, 2)
        assert store.writes == 1
        fail(breaker)
        newest = store.load(NAME)
        assert newest is not None
        assert BreakerState.from_dict(newest.value) == breaker.state
        assert status_of(breaker) is Status.OPEN

    def test_runs_of_failures_are_joined_at_the_refresh(self, make: Make) -> None:
        """Two failures each in two processes that have not looked are four: it opens when they look."""
        one, two = make("one", refresh_s=math.inf), make("two", refresh_s=math.inf)
        fail(one, 2)
        fail(two, 2)
        one.refresh()
        two.refresh()
        assert one.refresh().status is two.state.status is Status.OPEN

    def test_order_beats_what_the_process_was_about_to_do(self, make: Make) -> None:
        """Somebody's order that arrives first holds against an opening of the own accord."""
        one, two = make("one", refresh_s=math.inf), make("two")
        permits = [permit_of(one) for _ in range(3)]
        two.set_mode(Mode.DISABLED, **WHO)
        for permit in permits:
            permit.failure()
        assert one.state == two.state
        assert permit_of(one)

    def test_stored_state_edited_by_hand_is_obeyed(self, make: Make, store: CountingStore) -> None:
        """An edit counts though it leaves out everything else, the epoch too."""
        breaker = make()
        permit = permit_of(breaker)
        store.swap(NAME, expected_version=0, value={"mode": "forced_open", "note": "ann was here"}, **WHO)
        assert rejection_of(breaker).reason is RejectReason.FORCED_OPEN
        permit.failure()
        assert breaker.state.failures == 0

    def test_calls_under_way_do_not_undo_an_opening_by_hand(
        self, make: Make, store: CountingStore, clock: ManualClock
    ) -> None:
        """Somebody who edits the status need not know of epochs."""
        breaker = make()
        permit = permit_of(breaker)
        until = {"opened_at": _now(clock), "open_until": _now(clock) + 1e6}
        store.swap(NAME, expected_version=0, value={"status": "open", **until}, **WHO)
        permit.success()
        assert rejection_of(breaker).reason is RejectReason.OPEN


class TestMeanwhile:
    """What happens while the store is asked."""

    def test_failure_meanwhile_is_counted_with_the_others(
        self, make: Make, store: CountingStore, clock: ManualClock
    ) -> None:
        """Two failures elsewhere and one here during the same reading open it, and the next call writes that."""
        breaker = make(refresh_s=math.inf)
        breaker.refresh()
        other = make("other")
        permit = permit_of(breaker)
        store.meanwhile = [lambda: fail(other, 2), permit.failure]
        breaker.refresh()
        assert status_of(breaker) is Status.OPEN
        assert rejection_of(breaker).reason is RejectReason.OPEN
        assert other.refresh() == breaker.state
        assert breaker.state.opened_at == _now(clock)

    def test_failure_meanwhile_is_kept_though_the_store_fails(self, make: Make, store: CountingStore) -> None:
        """What could not be written is counted together with what came while it was tried."""
        breaker = make(refresh_s=math.inf, config=BreakerConfig(fail_max=9))
        fail(breaker)
        permit_of(breaker).failure()
        permit = permit_of(breaker)

        def meanwhile() -> None:
            permit.failure()
            store.is_down = True

        store.meanwhile = [meanwhile]
        breaker.refresh()
        store.is_down = False
        breaker.refresh()
        newest = store.load(NAME)
        assert newest is not None
        assert newest.value["failures"] == breaker.state.failures == 3

    def test_failure_of_an_epoch_that_ended_meanwhile_is_dropped(self, make: Make, store: CountingStore) -> None:
        """Somebody resets it while it is read; a failure from before counts neither here nor in the store."""
        breaker, other = make(refresh_s=math.inf), make("other")
        breaker.refresh()
        permit = permit_of(breaker)
        store.meanwhile = [permit.failure, lambda: other.reset(**WHO)]
        breaker.refresh()
        breaker.refresh()
        assert other.refresh() == breaker.state
        assert breaker.state.failures == 0

    def test_opening_meanwhile_is_not_undone(self, make: Make, store: CountingStore) -> None:
        """One thread reads the closed state while others fail three times: it opens, here and in the store."""
        breaker = make(refresh_s=math.inf)
        breaker.refresh()
        permits = [permit_of(breaker) for _ in range(3)]
        reading, go_on = threading.Event(), threading.Event()
        store.meanwhile = [reading.set, lambda: go_on.wait(timeout=10)]
        reader = threading.Thread(target=breaker.refresh)
        reader.start()
        assert reading.wait(timeout=10)
        permits[0].failure()
        permits[1].failure()
        opener = threading.Thread(target=permits[2].failure)
        opener.start()
        while status_of(breaker) is not Status.OPEN:  # obeyed before it is written
            assert opener.is_alive()
        go_on.set()
        for thread in (reader, opener):
            thread.join(timeout=10)
        assert status_of(breaker) is Status.OPEN
        assert make("other").refresh() == breaker.state

    def test_nobody_waits_for_a_probe_behind_another_thread(
        self, breaker: CircuitBreaker, store: CountingStore, clock: ManualClock
    ) -> None:
        """While one thread is at the store the others are rejected at once, not after it."""
        open_and_wait(breaker, clock)
        asking, go_on = threading.Event(), threading.Event()
        told: list[bool] = []
        store.meanwhile = [asking.set, lambda: told.append(go_on.wait(timeout=2))]
        answers: list[Permit | Rejected] = []
        prober = threading.Thread(target=lambda: answers.append(breaker.acquire()))
        prober.start()
        assert asking.wait(timeout=10)
        assert rejection_of(breaker).reason is RejectReason.PROBING
        go_on.set()
        prober.join(timeout=10)
        assert told == [True], "the rejection came while the other thread was still at the store"
        assert [type(answer) for answer in answers] == [Permit]

    def test_lease_lost_to_a_faster_process(self, clock: ManualClock) -> None:
        """Another process takes the lease between reading and writing: rejected, without an error."""
        overtaken = OvertakenStore(clock)
        breaker, other = overtaken.breaker("one"), overtaken.breaker("other")
        open_and_wait(breaker, clock)
        overtaken.before_swap = [lambda: permit_of(other)]
        assert rejection_of(breaker).reason is RejectReason.PROBING

    def test_lease_lost_to_a_process_that_already_closed_it(self, clock: ManualClock) -> None:
        """Another process probes with success between reading and writing: the call passes."""
        overtaken = OvertakenStore(clock)
        breaker, other = overtaken.breaker("one"), overtaken.breaker("other")
        open_and_wait(breaker, clock)
        overtaken.before_swap = [lambda: permit_of(other).success()]
        assert not permit_of(breaker).probe

    def test_store_that_fails_before_the_lease_is_written(self, clock: ManualClock) -> None:
        """Nothing is raised, and there is no probe."""
        overtaken = OvertakenStore(clock)
        breaker = overtaken.breaker("one")
        open_and_wait(breaker, clock)

        def break_down() -> None:
            overtaken.is_down = True

        overtaken.before_swap = [break_down]
        assert rejection_of(breaker).reason is RejectReason.STORE_UNAVAILABLE

    def test_failure_elsewhere_between_reading_and_writing_is_not_lost(self, clock: ManualClock) -> None:
        """The third failure in a row comes from another process that was faster: it opens."""
        overtaken = OvertakenStore(clock)
        breaker, other = overtaken.breaker("one"), overtaken.breaker("other")
        fail(breaker)
        permits = [permit_of(breaker), permit_of(other)]
        overtaken.before_swap = [permits[1].failure]
        permits[0].failure()
        assert (status_of(breaker), breaker.state.failures) == (Status.OPEN, 3)
        assert other.refresh() == breaker.state

    def test_races_that_are_always_lost_end(self, clock: ManualClock) -> None:
        """A store that conflicts for ever stops no call: the process counts for itself, and gets no probe."""
        overtaken = OvertakenStore(clock)
        breaker = overtaken.breaker("one")

        def conflict() -> None:
            overtaken.before_swap.append(conflict)
            raise StateConflict(NAME, 0)

        overtaken.before_swap = [conflict]
        open_and_wait(breaker, clock)
        assert status_of(breaker) is Status.OPEN
        assert rejection_of(breaker).reason is RejectReason.PROBING

    def test_metrics_only_passes_without_the_store(
        self, breaker: CircuitBreaker, store: CountingStore, clock: ManualClock
    ) -> None:
        """A lease that is not to be had rejects nobody in this mode."""
        breaker.set_mode(Mode.METRICS_ONLY, **WHO)
        open_and_wait(breaker, clock)
        store.is_down = True
        assert not permit_of(breaker).probe


class OvertakenStore(CountingStore):
    """A store in which something happens between reading and writing."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.clock = clock
        self.before_swap: list[Callable[[], object]] = []

    def breaker(self, owner: str) -> CircuitBreaker:
        """Make a breaker on this store."""
        return CircuitBreaker(NAME, store=self, clock=self.clock, random=lambda: 0.0, owner=owner, refresh_s=0.0)

    def swap(self, name: str, **change: Any) -> Versioned:
        """Let it happen, then swap."""
        if self.before_swap:
            self.before_swap.pop()()
        return super().swap(name, **change)


class TestStoreDown:
    """Nothing that the store does is raised on a call's way."""

    def test_last_good_state_holds(self, make: Make, store: CountingStore) -> None:
        """Closed stays closed, open stays open, and both say that they are stale."""
        healthy, broken = make("one"), make("two")
        permit_of(healthy).success()
        was_stale = healthy.is_stale
        store.is_down = True
        permit_of(healthy).success()
        assert (was_stale, healthy.is_stale) == (False, True)
        fail(broken, 3)
        assert rejection_of(broken).reason is RejectReason.OPEN

    def test_change_made_meanwhile_is_written_when_the_store_is_back(
        self, make: Make, store: CountingStore, clock: ManualClock
    ) -> None:
        """The process obeys its own opening at once, and the others learn of it later."""
        one, two = make("one"), make("two")
        permit_of(one).success()
        store.is_down = True
        fail(one, 3)
        store.is_down = False
        assert two.refresh().status is Status.CLOSED
        clock.advance(30.0)
        assert rejection_of(one).reason is RejectReason.OPEN
        assert not one.is_stale
        assert two.refresh() == one.state

    def test_failures_counted_meanwhile_are_written_when_the_store_is_back(
        self, make: Make, store: CountingStore, clock: ManualClock
    ) -> None:
        """A run of failures survives a store that was down in the middle of it."""
        one, two = make("one"), make("two")
        fail(one)
        store.is_down = True
        fail(one)
        store.is_down = False
        clock.advance(30.0)
        one.refresh()
        assert two.refresh().failures == 2

    def test_no_probe_without_the_store(
        self, breaker: CircuitBreaker, store: CountingStore, clock: ManualClock
    ) -> None:
        """Nobody could tell whether another process probes, so the call is rejected, until the store is back."""
        open_and_wait(breaker, clock)
        store.is_down = True
        assert rejection_of(breaker) == Rejected(RejectReason.STORE_UNAVAILABLE)
        store.is_down = False
        clock.advance(30.0)
        assert permit_of(breaker).probe

    def test_store_that_is_down_is_not_asked_with_every_call(
        self, breaker: CircuitBreaker, store: CountingStore, clock: ManualClock
    ) -> None:
        """Each call would wait for its timeout; instead pauses grow up to 30 s."""
        open_and_wait(breaker, clock)
        store.is_down = True
        before = store.loads
        for _ in range(100):
            rejection_of(breaker)
        assert store.loads == before + 1
        for _ in range(600):
            clock.advance(1.0)
            rejection_of(breaker)
        assert store.loads - before <= 25

    def test_stored_state_that_cannot_be_read_is_a_store_that_fails(
        self, breaker: CircuitBreaker, store: CountingStore
    ) -> None:
        """The last good state holds; an order replaces what is broken."""
        fail(breaker, 3)
        newest = store.load(NAME)
        assert newest is not None
        store.swap(NAME, expected_version=newest.version, value={"status": "ajar"}, **WHO)
        assert rejection_of(breaker).reason is RejectReason.OPEN
        assert breaker.is_stale
        assert breaker.reset(**WHO).status is Status.CLOSED
        assert permit_of(breaker)


class TestCalls:
    """The wrappers around functions."""

    def test_call_returns_what_the_function_returns(self, breaker: CircuitBreaker) -> None:
        """With its arguments, and counted as a success."""
        fail(breaker, 2)
        assert breaker.call(divmod, 7, 2) == (3, 1)
        assert breaker.state.failures == 0

    def test_call_passes_exceptions_on_and_counts_them(self, breaker: CircuitBreaker) -> None:
        """After three of them no call is made any more."""
        calls = []

        def broken() -> None:
            calls.append(1)
            raise ZeroDivisionError("broken")

        for _ in range(3):
            with pytest.raises(ZeroDivisionError, match="broken"):
                breaker.call(broken)
        with pytest.raises(CircuitOpenError, match=r"breaker 'breaker-test': open, next attempt in 60\.0 s"):
            breaker.call(broken)
        assert len(calls) == 3

    @pytest.mark.parametrize("error", [InputError("no text"), RecordError("text", "empty")])
    def test_callers_own_errors_do_not_count(self, breaker: CircuitBreaker, error: Exception) -> None:
        """A bad query says nothing about the component."""
        fail(breaker, 2)
        with pytest.raises(type(error)), breaker.acquire() as _:  # type: ignore[union-attr]
            raise error
        assert (breaker.state.status, breaker.state.failures) == (Status.CLOSED, 2)

    def test_which_errors_do_not_count_is_a_setting(self, make: Make) -> None:
        """`exclude` names them."""
        breaker = make(exclude=(KeyError,))
        assert breaker.outcome_of(KeyError()) is Outcome.IGNORE
        assert breaker.outcome_of(InputError()) is Outcome.FAILURE

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
    def test_base_exceptions_pass_through_and_give_the_lease_back(
        self, breaker: CircuitBreaker, clock: ManualClock, error: type[BaseException]
    ) -> None:
        """They count for nothing, and the next call can probe at once."""
        open_and_wait(breaker, clock)

        def interrupted() -> None:
            raise error

        with pytest.raises(error):
            breaker.call(interrupted)
        assert status_of(breaker) is Status.HALF_OPEN
        assert permit_of(breaker).probe

    def test_late_result_is_slow(self, make: Make, clock: ManualClock) -> None:
        """Valid results after the limit open it; those at the limit are in time."""
        breaker = make(config=BreakerConfig(slow_call_s=0.5))
        for _ in range(20):
            breaker.call(clock.advance, 0.5)
        assert status_of(breaker) is Status.CLOSED
        for _ in range(20):
            breaker.call(clock.advance, 0.75)
        assert breaker.state.cause is Cause.SLOW_CALLS

    def test_limit_of_a_slow_call_is_400_ms(self) -> None:
        """The guide's budget."""
        assert BreakerConfig().slow_call_s == 0.4

    def test_no_lock_is_held_during_a_call(self, breaker: CircuitBreaker) -> None:
        """Other threads call, fail and give orders while a call runs."""
        done = []

        def from_another_thread() -> None:
            breaker.call(int)
            fail(breaker, 3)
            breaker.reset(**WHO)
            done.append(True)

        def running() -> None:
            thread = threading.Thread(target=from_another_thread, daemon=True)
            thread.start()
            thread.join(timeout=10)

        breaker.call(running)
        assert done == [True]

    def test_call_inside_a_call(self, breaker: CircuitBreaker) -> None:
        """Nested calls do not wait for each other."""
        assert breaker.call(lambda: breaker.call(lambda: 7)) == 7

    def test_one_of_many_threads_probes(self, make: Make, clock: ManualClock) -> None:
        """Of 40 threads over two breakers that find the wait over, one is let through."""
        breakers = [make("one"), make("two")]
        open_and_wait(breakers[0], clock)
        barrier = threading.Barrier(40, timeout=10)
        answers: list[Permit | Rejected] = []

        def ask(breaker: CircuitBreaker) -> None:
            barrier.wait()
            answers.append(breaker.acquire())

        threads = [threading.Thread(target=ask, args=(breakers[number % 2],)) for number in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=10)
        assert [isinstance(answer, Permit) for answer in answers].count(True) == 1
        assert len(answers) == 40

    def test_no_failure_of_many_threads_is_lost(self, make: Make, store: CountingStore) -> None:
        """40 failures at once, none seen as a success, are 40 in a row, in the process and in the store."""
        breaker = make(config=BreakerConfig(fail_max=41), refresh_s=0.0)
        permits = [permit_of(breaker) for _ in range(40)]
        threads = [threading.Thread(target=permit.failure) for permit in permits]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=10)
        assert breaker.refresh().failures == 40
        newest = store.load(NAME)
        assert newest is not None
        assert newest.value["failures"] == 40


class TestAsyncCalls:
    """The same for coroutines."""

    def test_acall_returns_what_the_coroutine_returns(self, breaker: CircuitBreaker) -> None:
        """With its arguments, and counted as a success."""
        fail(breaker, 2)

        async def double(number: int) -> int:
            await asyncio.sleep(0)
            return 2 * number

        assert asyncio.run(breaker.acall(double, 21)) == 42
        assert breaker.state.failures == 0

    def test_acall_counts_what_is_raised_inside_the_coroutine(self, breaker: CircuitBreaker) -> None:
        """Three failures after an await open it, and then nothing is awaited."""

        async def broken() -> None:
            await asyncio.sleep(0)
            raise ZeroDivisionError("broken")

        async def scenario() -> None:
            for _ in range(3):
                with pytest.raises(ZeroDivisionError):
                    await breaker.acall(broken)
            with pytest.raises(CircuitOpenError):
                await breaker.acall(broken)

        asyncio.run(scenario())
        assert status_of(breaker) is Status.OPEN

    def test_opening_is_written_at_once(self, make: Make, store: CountingStore) -> None:
        """Other processes learn of it though this one looks at the store no more."""
        breaker = make(refresh_s=math.inf)

        async def broken() -> None:
            raise ZeroDivisionError("broken")

        async def scenario() -> None:
            for _ in range(3):
                with pytest.raises(ZeroDivisionError):
                    await breaker.acall(broken)

        asyncio.run(scenario())
        newest = store.load(NAME)
        assert newest is not None
        assert newest.value["status"] == "open"

    def test_cancelled_probe_gives_its_lease_back(self, breaker: CircuitBreaker, clock: ManualClock) -> None:
        """Cancellation passes through, counts for nothing, and the next call can probe at once."""
        open_and_wait(breaker, clock)

        async def scenario() -> None:
            started = asyncio.Event()

            async def hang() -> None:
                started.set()
                await asyncio.Event().wait()

            task = asyncio.create_task(breaker.acall(hang))
            await started.wait()
            assert status_of(breaker) is Status.HALF_OPEN
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(scenario())
        assert (breaker.state.status, breaker.state.lease) == (Status.HALF_OPEN, None)
        assert permit_of(breaker).probe

    def test_call_cancelled_while_it_takes_the_lease_gives_it_back(self, clock: ManualClock) -> None:
        """The store answers after the caller has gone; nobody keeps the lease."""
        entered, released = threading.Event(), threading.Event()

        class SlowStore(CountingStore):
            def swap(self, name: str, **change: Any) -> Versioned:
                if change["value"]["status"] == "half_open" and not released.is_set():
                    entered.set()
                    released.wait(timeout=10)
                return super().swap(name, **change)

        breaker = CircuitBreaker(
            NAME, store=SlowStore(clock), clock=clock, random=lambda: 0.0, owner="one", refresh_s=0.0
        )
        open_and_wait(breaker, clock)

        async def never() -> None:
            raise AssertionError("the call must not be made")

        async def scenario() -> None:
            task = asyncio.create_task(breaker.acall(never))
            await asyncio.to_thread(entered.wait, 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            released.set()

        asyncio.run(scenario())  # waits for the thread
        assert (breaker.state.status, breaker.state.lease) == (Status.HALF_OPEN, None)

    def test_one_of_many_tasks_probes(self, breaker: CircuitBreaker, clock: ManualClock) -> None:
        """Of 20 tasks that find the wait over one runs its coroutine."""
        open_and_wait(breaker, clock)
        ran = []

        async def scenario() -> list[type]:
            finish = asyncio.Event()

            async def probe() -> bool:
                ran.append(1)
                return await finish.wait()

            waiting = {asyncio.create_task(breaker.acall(probe)) for _ in range(20)}
            rejected: set[asyncio.Task[bool]] = set()
            while len(waiting) > 1:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                rejected |= done
            finish.set()
            last = await asyncio.gather(*waiting)
            return [type(task.exception()) for task in rejected] + [type(result) for result in last]

        results = asyncio.run(scenario())
        assert len(ran) == 1
        assert results == [CircuitOpenError] * 19 + [bool]
        assert status_of(breaker) is Status.CLOSED


class TestValues:
    """Settings and the stored form."""

    def test_state_survives_being_stored(self) -> None:
        """Every field comes back."""
        state = BreakerState(
            status=Status.HALF_OPEN,
            mode=Mode.METRICS_ONLY,
            epoch=7,
            failures=3,
            trips=2,
            cause=Cause.SLOW_CALLS,
            opened_at=1.5e9,
            open_until=1.5e9 + 60,
            lease=Lease("one", 1.5e9, 1.5e9 + 10),
            mode_actor="ann",
            mode_reason="a test",
        )
        assert BreakerState.from_dict(state.to_dict()) == state

    def test_unknown_and_missing_fields_are_no_error(self) -> None:
        """What a newer version or a person left is passed over; what is missing has its default."""
        assert BreakerState.from_dict({"colour": "red", "trips": 2}) == BreakerState(trips=2)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("status", "ajar"),
            ("status", 1),
            ("status", []),
            ("mode", "on"),
            ("cause", True),
            ("epoch", -1),
            ("epoch", 1.5),
            ("failures", "3"),
            ("trips", True),
            ("opened_at", "now"),
            ("open_until", math.nan),
            ("lease", "one"),
            ("lease", {"holder": 1}),
            ("mode_actor", None),
        ],
    )
    def test_field_of_wrong_type_is_named(self, field: str, value: object) -> None:
        """The error says which field, what it holds and what was expected."""
        with pytest.raises(StoreError, match=r"stored breaker, field '\w+': .* is not "):
            BreakerState.from_dict({field: value})

    @pytest.mark.parametrize(
        "setting",
        [
            {"fail_max": 0},
            {"slow_min_calls": 0},
            {"jitter": 1.0},
            {"jitter": -0.1},
            {"slow_call_rate": 0.0},
            {"slow_call_rate": 1.5},
            {"reset_timeout_s": 0.0},
            {"reset_timeout_s": 601.0},
            {"reset_timeout_max_s": math.inf},
            {"slow_call_s": -1.0},
            {"slow_window_s": math.nan},
            {"lease_s": 0.0},
            {"clock_skew_s": -1.0},
        ],
    )
    def test_setting_that_makes_no_sense_is_refused(self, setting: dict[str, Any]) -> None:
        """The error names the setting."""
        with pytest.raises(ConfigError, match=r"breaker setting \w+: .* is not "):
            BreakerConfig(**setting)


def _now(clock: ManualClock) -> float:
    return clock.utc_now().timestamp()

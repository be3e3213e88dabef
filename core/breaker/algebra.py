"""What a breaker knows, and the rules by which it changes: values and pure functions.

    CLOSED     calls pass. Opens after `fail_max` failures in a row, or when too many calls are slow.
    OPEN       no call passes until `open_until`; then the first one to take the lease does, as a probe.
    HALF_OPEN  the probe is under way. Its success closes the breaker; its failure opens it again, for twice as long.

Every change of status or mode begins a new epoch. A call carries the epoch in which it was let through, and its result
counts only while that epoch lasts: a result that began before the breaker changed changes nothing.

Times are seconds since 1970 on the wall clock, because processes must agree on them. That clock can be set back, and
machines differ. So a moment in the future is believed only up to `clock_skew_s`: a breaker that claims to have been
opened later than that is due for a probe at once, and a lease granted later than that has ended.

States and settings are named as in pybreaker, modes as in Resilience4j.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Final, TypeVar

from core.errors import ConfigError, StoreError

_MAX_DOUBLINGS: Final = 30  # keeps 2 ** n in range; every configured maximum is reached long before


class Status(StrEnum):
    """Whether calls pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Mode(StrEnum):
    """Whether the status is obeyed."""

    AUTOMATIC = "automatic"  # it is
    FORCED_OPEN = "forced_open"  # no call passes, no result counts
    DISABLED = "disabled"  # every call passes, no result counts
    METRICS_ONLY = "metrics_only"  # every call passes, results count: the status tells what it would have done


class Outcome(StrEnum):
    """How a call ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    SLOW = "slow"  # valid, but later than `slow_call_s`
    IGNORE = "ignore"  # says nothing about the component: a bad query, a caller that went away


class Cause(StrEnum):
    """Which rule opened the breaker."""

    FAILURES = "failures"
    SLOW_CALLS = "slow_calls"


class Admission(StrEnum):
    """What a breaker says to a call."""

    PASS = "pass"  # noqa: S105 - no password
    PROBE = "probe"  # it may pass if it takes the lease
    OPEN = "open"
    PROBING = "probing"  # another call holds the lease
    FORCED_OPEN = "forced_open"


@dataclass(frozen=True, slots=True)
class BreakerConfig:
    """The settings of a breaker.

    Attributes:
        fail_max: failures in a row that open it.
        reset_timeout_s: how long it stays open the first time.
        reset_timeout_max_s: the longest that it stays open.
        jitter: by how much of itself a repeated wait may be shortened, 0 to 1. Waits are never lengthened, so both
            limits above hold, and the first one is not shortened.
        slow_call_s: a valid result later than this is slow.
        slow_window_s: how far back the rate of slow calls looks.
        slow_call_rate: the share of slow calls that opens it, 0 to 1.
        slow_min_calls: calls that the window must hold before the rate means anything.
        lease_s: how long a probe may take before another call may try. Longer than the timeout of a call.
        clock_skew_s: by how much the wall clocks of two machines may differ, or one be set back, before a moment in the
            future is no longer believed.
    """

    fail_max: int = 3
    reset_timeout_s: float = 60.0
    reset_timeout_max_s: float = 600.0
    jitter: float = 0.1
    slow_call_s: float = 0.4
    slow_window_s: float = 60.0
    slow_call_rate: float = 0.5
    slow_min_calls: int = 20
    lease_s: float = 10.0
    clock_skew_s: float = 60.0

    def __post_init__(self) -> None:
        """Refuse settings that make no sense. Raises ConfigError."""
        _require(self.fail_max >= 1, "fail_max", self.fail_max, "at least 1")
        _require(self.slow_min_calls >= 1, "slow_min_calls", self.slow_min_calls, "at least 1")
        _require(0 <= self.jitter < 1, "jitter", self.jitter, "at least 0 and less than 1")
        _require(0 < self.slow_call_rate <= 1, "slow_call_rate", self.slow_call_rate, "more than 0 and at most 1")
        for name in ("reset_timeout_s", "slow_call_s", "slow_window_s", "lease_s"):
            seconds: float = getattr(self, name)
            _require(0 < seconds < math.inf, name, seconds, "more than 0 seconds")
        _require(0 <= self.clock_skew_s < math.inf, "clock_skew_s", self.clock_skew_s, "at least 0 seconds")
        longest = self.reset_timeout_max_s
        _require(self.reset_timeout_s <= longest < math.inf, "reset_timeout_max_s", longest, "at least reset_timeout_s")


def _require(holds: bool, name: str, value: object, expected: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not holds:
        raise ConfigError(f"breaker setting {name}: {value!r} is not {expected}")


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to be the one probe: who holds it, since when, and until when."""

    holder: str
    granted_at: float
    until: float


@dataclass(frozen=True, slots=True)
class BreakerState:
    """What all processes know of one breaker. Written on changes only, never for a call that merely succeeded.

    Attributes:
        status, mode: see there.
        epoch: goes up with every change of status, mode or probe.
        failures: how many calls in a row have failed, counted while closed.
        trips: how often it has opened since it was last closed; the wait doubles with each.
        cause: what opened it; `None` while closed.
        opened_at, open_until: when it opened, and when a probe may be tried; 0 while closed.
        lease: the probe under way, if there is one.
        mode_actor, mode_reason: who set the mode, and why; empty for the mode that it began with.
    """

    status: Status = Status.CLOSED
    mode: Mode = Mode.AUTOMATIC
    epoch: int = 0
    failures: int = 0
    trips: int = 0
    cause: Cause | None = None
    opened_at: float = 0.0
    open_until: float = 0.0
    lease: Lease | None = None
    mode_actor: str = ""
    mode_reason: str = ""

    def to_dict(self) -> dict[str, object]:
        """The state as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> BreakerState:
        """Read a state. Unknown keys are passed over, missing ones have their defaults: people edit stored states.

        Raises:
            StoreError: a field has a value that it cannot take.
        """
        lease = data.get("lease")
        if lease is not None and not isinstance(lease, Mapping):
            raise _unreadable("lease", lease, "an object or null")
        return cls(
            status=_member(data, "status", Status) or Status.CLOSED,
            mode=_member(data, "mode", Mode) or Mode.AUTOMATIC,
            epoch=_count(data, "epoch"),
            failures=_count(data, "failures"),
            trips=_count(data, "trips"),
            cause=_member(data, "cause", Cause),
            opened_at=_seconds(data, "opened_at"),
            open_until=_seconds(data, "open_until"),
            lease=None
            if lease is None
            else Lease(_text(lease, "holder"), _seconds(lease, "granted_at"), _seconds(lease, "until")),
            mode_actor=_text(data, "mode_actor"),
            mode_reason=_text(data, "mode_reason"),
        )


def _unreadable(field: str, value: object, expected: str) -> StoreError:
    return StoreError(f"stored breaker, field {field!r}: {value!r} is not {expected}")


_Member = TypeVar("_Member", bound=StrEnum)


def _member(data: Mapping[str, object], field: str, kind: type[_Member]) -> _Member | None:
    value = data.get(field)
    if value is None:
        return None
    try:
        return kind(value)  # type: ignore[arg-type]  # what is no text is no member either
    except ValueError:
        raise _unreadable(field, value, f"one of {', '.join(kind)}") from None


def _count(data: Mapping[str, object], field: str) -> int:
    value = data.get(field, 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _unreadable(field, value, "a whole number, at least 0")
    return value


def _seconds(data: Mapping[str, object], field: str) -> float:
    value = data.get(field, 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _unreadable(field, value, "a number of seconds")
    return float(value)


def _text(data: Mapping[str, object], field: str) -> str:
    value = data.get(field, "")
    if not isinstance(value, str):
        raise _unreadable(field, value, "a text")
    return value


# --- what a call may do -------------------------------------------------------------------------------------------


def is_due(state: BreakerState, config: BreakerConfig, now: float) -> bool:
    """Whether the wait of an open breaker is over."""
    return now >= state.open_until or now < state.opened_at - config.clock_skew_s


def has_ended(lease: Lease | None, config: BreakerConfig, now: float) -> bool:
    """Whether no probe is under way, or its holder has had its time: it may have died."""
    return lease is None or now >= lease.until or now < lease.granted_at - config.clock_skew_s


def admit(state: BreakerState, config: BreakerConfig, now: float) -> Admission:
    """Say whether a call may pass now."""
    if state.mode is Mode.FORCED_OPEN:
        return Admission.FORCED_OPEN
    if state.mode is Mode.DISABLED or state.status is Status.CLOSED:
        return Admission.PASS
    is_open = state.status is Status.OPEN
    if is_due(state, config, now) if is_open else has_ended(state.lease, config, now):
        return Admission.PROBE
    if state.mode is Mode.METRICS_ONLY:
        return Admission.PASS
    return Admission.OPEN if is_open else Admission.PROBING


# --- how the state changes ----------------------------------------------------------------------------------------


def take_lease(state: BreakerState, config: BreakerConfig, *, holder: str, now: float) -> BreakerState:
    """Make a call the one probe. It begins an epoch, so that the result of a probe that was given up counts no more."""
    lease = Lease(holder, now, now + config.lease_s)
    return replace(state, status=Status.HALF_OPEN, epoch=state.epoch + 1, lease=lease)


def open_again(state: BreakerState, config: BreakerConfig, *, cause: Cause, now: float, random: float) -> BreakerState:
    """Open it, for twice as long as the last time if it has not been closed since."""
    wait = min(config.reset_timeout_s * 2.0 ** min(state.trips, _MAX_DOUBLINGS), config.reset_timeout_max_s)
    if state.trips:
        wait *= 1.0 - config.jitter * random
    return replace(
        state,
        status=Status.OPEN,
        epoch=state.epoch + 1,
        trips=state.trips + 1,
        cause=cause,
        opened_at=now,
        open_until=now + wait,
        lease=None,
    )


def close(state: BreakerState) -> BreakerState:
    """Close it, and forget failures and waits. The mode stays."""
    return BreakerState(
        epoch=state.epoch + 1, mode=state.mode, mode_actor=state.mode_actor, mode_reason=state.mode_reason
    )


def set_mode(state: BreakerState, mode: Mode, *, actor: str, reason: str) -> BreakerState:
    """Set the mode. The status stays as it is, and is obeyed again when the mode is automatic again.

    Calls under way no longer count, so a probe's lease ends.
    """
    return replace(state, mode=mode, epoch=state.epoch + 1, lease=None, mode_actor=actor, mode_reason=reason)


def with_failures(
    state: BreakerState, config: BreakerConfig, failures: int, *, now: float, random: float
) -> BreakerState:
    """Set the failures in a row, and open a closed breaker where they are enough."""
    counted = replace(state, failures=failures)
    if state.status is Status.CLOSED and failures >= config.fail_max:
        return open_again(counted, config, cause=Cause.FAILURES, now=now, random=random)
    return counted


def record(
    state: BreakerState,
    config: BreakerConfig,
    *,
    epoch: int,
    probe: bool,
    outcome: Outcome,
    too_many_slow: bool,
    now: float,
    random: float,
) -> BreakerState:
    """Let a call's result change the state.

    While closed: a failure lengthens the run of failures, a success or a slow call ends it. A probe that is slow closes
    a breaker that failures opened, for it answered; it opens one again that slow calls opened, for nothing is better.
    An ignored outcome changes neither the run nor the status; a probe that ends so gives its lease back.

    Args:
        state: the state when the result came in.
        config: the settings.
        epoch: the epoch in which the call was let through.
        probe: whether it was the probe.
        outcome: how it ended.
        too_many_slow: whether the rate of slow calls, this one included, is over the limit.
        now: seconds since 1970.
        random: a number from 0 to 1 for the jitter.

    Returns:
        The state after it; the same object where nothing changes.
    """
    if (
        state.mode in {Mode.DISABLED, Mode.FORCED_OPEN}
        or epoch != state.epoch
        or probe != (state.status is Status.HALF_OPEN)
    ):
        return state
    if state.status is Status.HALF_OPEN:
        return _record_probe(state, config, outcome, now=now, random=random)
    if state.status is Status.OPEN or outcome is Outcome.IGNORE:
        return state
    failures = state.failures + 1 if outcome is Outcome.FAILURE else 0
    after = state
    if failures != state.failures:
        after = with_failures(state, config, failures, now=now, random=random)
    if too_many_slow and after.status is Status.CLOSED:
        after = open_again(after, config, cause=Cause.SLOW_CALLS, now=now, random=random)
    return after


def _record_probe(
    state: BreakerState, config: BreakerConfig, outcome: Outcome, *, now: float, random: float
) -> BreakerState:
    if outcome is Outcome.IGNORE:
        return replace(state, lease=None)
    still_slow = outcome is Outcome.SLOW and state.cause is Cause.SLOW_CALLS
    if outcome is Outcome.FAILURE or still_slow:
        cause = Cause.SLOW_CALLS if outcome is Outcome.SLOW else Cause.FAILURES
        return open_again(state, config, cause=cause, now=now, random=random)
    return close(state)

"""Who answers a query, as far as the flags say: pure, and quick enough to be asked for every query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from core.flags import Flags, bucket_key, in_rollout, rollout_bucket
from core.model import Decision, FallbackDecision, Query, Reason

_BUCKETS: Final = 100


class DecisionTable:
    """One decision for each bucket, made in advance: a frozen value costs more to make than all else of a decision."""

    __slots__ = ("_by_bucket",)

    def __init__(self, decision: Decision, reason: Reason, *, shadow: bool = False) -> None:
        self._by_bucket: Final = (
            FallbackDecision(decision, reason, None, shadow=shadow),
            *(FallbackDecision(decision, reason, bucket, shadow=shadow) for bucket in range(1, _BUCKETS + 1)),
        )

    def of(self, bucket: int | None) -> FallbackDecision:
        """The decision for a query of this bucket; `None` where the query has no key."""
        return self._by_bucket[bucket or 0]


_ENABLED: Final = DecisionTable(Decision.REDO, Reason.ENABLED)
_SHADOW: Final = DecisionTable(Decision.LEGACY, Reason.SHADOW, shadow=True)
_FLAG_OFF: Final = DecisionTable(Decision.LEGACY, Reason.FLAG_OFF)
_NOT_IN_ROLLOUT: Final = DecisionTable(Decision.LEGACY, Reason.NOT_IN_ROLLOUT)


def decide(query: Query, flags: Flags, *, shadow: bool = False) -> FallbackDecision:
    """Decide who answers the query by the flags alone; `RedoFallbackManager.decide` asks health and breaker too.

    Args:
        query: the question; its session, user or own id places it in the rollout.
        flags: the flags in force.
        shadow: compute both selections and serve legacy, whatever the flags say.
    """
    key = bucket_key(query)
    bucket = None if key is None else rollout_bucket(key)
    if shadow:
        return _SHADOW.of(bucket)
    if not flags.redo_enabled:
        return _FLAG_OFF.of(bucket)
    if key is None or bucket is None:
        return _NOT_IN_ROLLOUT.of(None)
    # A whole bucket is in or out by its number, as `in_rollout` says; only a split one needs the hash's other digits.
    percentage = flags.rollout_percentage
    if bucket <= percentage or (bucket < percentage + 1 and in_rollout(key, percentage)):
        return _ENABLED.of(bucket)
    return _NOT_IN_ROLLOUT.of(bucket)


_LEGACY_BY_CHOICE: Final = frozenset({Reason.KILL_SWITCH})
_NO_STOPS: Final = frozenset({Reason.ENABLED, Reason.SHADOW, Reason.FLAG_OFF, Reason.NOT_IN_ROLLOUT})
_STOPS: Final = tuple(reason for reason in Reason if reason not in _NO_STOPS)
_STOPPED_SHADOW: Final[Mapping[Reason, DecisionTable]] = {
    reason: DecisionTable(Decision.LEGACY, reason) for reason in _STOPS
}
_STOPPED: Final[Mapping[Reason, DecisionTable]] = {
    reason: DecisionTable(Decision.LEGACY if reason in _LEGACY_BY_CHOICE else Decision.FALLBACK, reason)
    for reason in _STOPS
}


def stopped(reason: Reason, bucket: int | None, *, shadow: bool = False) -> FallbackDecision:
    """The decision where REDO was meant to work and cannot. A shadow run serves legacy by choice, then as before."""
    return (_STOPPED_SHADOW if shadow else _STOPPED)[reason].of(bucket)


def decide_for_all(flags: Flags) -> FallbackDecision:
    """Decide as for a query that is in the rollout; a rollout of 0 % has none in it."""
    if not flags.redo_enabled:
        return _FLAG_OFF.of(None)
    return (_ENABLED if flags.rollout_percentage > 0 else _NOT_IN_ROLLOUT).of(None)

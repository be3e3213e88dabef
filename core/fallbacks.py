"""The guard: who answers a query, decided before any work, as a value with its reason."""

from __future__ import annotations

from core.flags import Flags, bucket_key, in_rollout, rollout_bucket
from core.model import Decision, FallbackDecision, Query, Reason


def decide(query: Query, flags: Flags, *, shadow: bool = False) -> FallbackDecision:
    """Decide who answers the query.

    Args:
        query: the question; its session, user or own id places it in the rollout.
        flags: the flags in force for the run.
        shadow: compute both selections and serve legacy, whatever the flags say.
    """
    key = bucket_key(query)
    bucket = None if key is None else rollout_bucket(key)
    if shadow:
        return FallbackDecision(Decision.LEGACY, Reason.SHADOW, bucket, shadow=True)
    if not flags.redo_enabled:
        return FallbackDecision(Decision.LEGACY, Reason.FLAG_OFF, bucket)
    if key is None or not in_rollout(key, flags.rollout_percentage):
        return FallbackDecision(Decision.LEGACY, Reason.NOT_IN_ROLLOUT, bucket)
    return FallbackDecision(Decision.REDO, Reason.ENABLED, bucket)

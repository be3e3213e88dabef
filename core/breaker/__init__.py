"""The circuit breaker: takes a component that fails out of the way, and lets it back in when it works again.

`algebra` holds what the breaker knows and every rule by which it changes, as pure functions. `window` counts slow
calls. `circuit` holds the thread-safe object that guards calls and shares its state between processes.
"""

from core.breaker.algebra import (
    Admission,
    BreakerConfig,
    BreakerState,
    Cause,
    Lease,
    Mode,
    Outcome,
    Status,
)
from core.breaker.circuit import CircuitBreaker, Permit, Rejected, RejectReason

__all__ = [
    "Admission",
    "BreakerConfig",
    "BreakerState",
    "Cause",
    "CircuitBreaker",
    "Lease",
    "Mode",
    "Outcome",
    "Permit",
    "RejectReason",
    "Rejected",
    "Status",
]

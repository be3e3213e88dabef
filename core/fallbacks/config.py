"""The settings of the guard."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from core.breaker import BreakerConfig
from core.errors import ConfigError

_LONGEST_RESET_S: Final = 600.0
_SHORTEST_LEASE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class FallbackConfig:
    """When REDO is taken out of the way, and when it is let back in.

    Attributes:
        enable_health_checks: whether what the health checks found takes part in decisions.
        health_check_interval_seconds: how often components are checked. A finding that nobody has renewed for ten times
            as long counts no more.
        max_consecutive_failures: failures in a row that open a breaker.
        fallback_timeout_seconds: how long a call may take before it is given up.
        enable_circuit_breaker: whether the breakers take part in decisions and count results.
        circuit_breaker_reset_seconds: how long a breaker stays open the first time; then twice as long each time, up to
            600 seconds.
    """

    enable_health_checks: bool = True
    health_check_interval_seconds: float = 30.0
    max_consecutive_failures: int = 3
    fallback_timeout_seconds: float = 5.0
    enable_circuit_breaker: bool = True
    circuit_breaker_reset_seconds: float = 60.0

    def __post_init__(self) -> None:
        """Refuse settings that make no sense. Raises ConfigError."""
        for name in ("enable_health_checks", "enable_circuit_breaker"):
            if not isinstance(getattr(self, name), bool):
                raise self._refused(name, "true or false")
        failures: object = self.max_consecutive_failures
        if isinstance(failures, bool) or not isinstance(failures, int) or failures < 1:
            raise self._refused("max_consecutive_failures", "a whole number, at least 1")
        for name in ("health_check_interval_seconds", "fallback_timeout_seconds", "circuit_breaker_reset_seconds"):
            seconds: object = getattr(self, name)
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
                raise self._refused(name, "a number of seconds, more than 0")

    def _refused(self, name: str, expected: str) -> ConfigError:
        return ConfigError(f"fallback setting {name}: {getattr(self, name)!r} is not {expected}")

    def breaker(self, *, slow_call_s: float) -> BreakerConfig:
        """The settings of a breaker. A valid answer later than `slow_call_s` seconds is slow."""
        reset_s = float(self.circuit_breaker_reset_seconds)
        return BreakerConfig(
            fail_max=self.max_consecutive_failures,
            reset_timeout_s=reset_s,
            reset_timeout_max_s=max(_LONGEST_RESET_S, reset_s),
            slow_call_s=slow_call_s,
            lease_s=max(_SHORTEST_LEASE_S, 2.0 * self.fallback_timeout_seconds),  # longer than a call can take
        )

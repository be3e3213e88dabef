"""The guide's functions: one guard for the process, which shares its state with all others.

They exist so that one line on a command line does what a running flow does. Flows and services take the manager.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from core.fallbacks.execution import SafeExecution
from core.fallbacks.manager import RedoFallbackManager
from core.fallbacks.surroundings import Surroundings, configured
from core.model import FallbackDecision

_Result = TypeVar("_Result")


class _Process:
    """The one manager of this process. A process that is configured anew, as a test is, gets another one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made_for: Surroundings | None = None
        self._manager: RedoFallbackManager | None = None

    def manager(self) -> RedoFallbackManager:
        with self._lock:
            around = configured()
            if self._manager is None or self._made_for is not around:
                self._manager, self._made_for = RedoFallbackManager(surroundings=around), around
            return self._manager


_PROCESS = _Process()


def get_fallback_manager() -> RedoFallbackManager:
    """The manager of this process. It stays valid after a reset, for the state is not in it but shared.

    Raises:
        ConfigError, FlagError: the environment has a setting or a flag that cannot be used.
    """
    return _PROCESS.manager()


def is_redo_active(feature_flags: Mapping[str, object] | None = None) -> bool:
    """Whether REDO answers the queries that are in the rollout, as things stand now.

    Args:
        feature_flags: flags by name that hold for this question; those in force where it does not name them. A kill
            switch, ill health and an open breaker are stronger.

    Raises:
        FlagError: it names a flag that does not exist, or a value that the flag cannot take.
        ConfigError: the environment has a setting that cannot be used.
    """
    return get_fallback_manager().is_redo_active(feature_flags)


def get_health_status() -> dict[str, object]:
    """The state of everything, as plain values; see `RedoFallbackManager.get_health_status`."""
    return get_fallback_manager().get_health_status()


def safe_orchestrator_execution(decision: FallbackDecision | None = None) -> SafeExecution:
    """Guard a block in which REDO works; see `RedoFallbackManager.safe_orchestrator_execution`."""
    return get_fallback_manager().safe_orchestrator_execution(decision)


def safe_ledger_execution(*, enabled: bool | None = None) -> SafeExecution:
    """Guard a block that writes to the ledger; see `RedoFallbackManager.safe_ledger_execution`."""
    return get_fallback_manager().safe_ledger_execution(enabled=enabled)


def execute_with_fallback(
    primary: Callable[[], _Result],
    fallback: Callable[[], _Result],
    *,
    timeout_s: float | None = None,
    decision: FallbackDecision | None = None,
) -> _Result:
    """Call REDO, and legacy where REDO may not be called, raises or hangs; see `RedoFallbackManager.execute`."""
    return get_fallback_manager().execute_with_fallback(primary, fallback, timeout_s=timeout_s, decision=decision)


async def aexecute_with_fallback(
    primary: Callable[[], Awaitable[_Result]],
    fallback: Callable[[], _Result | Awaitable[_Result]],
    *,
    timeout_s: float | None = None,
    decision: FallbackDecision | None = None,
) -> _Result:
    """As `execute_with_fallback`, for coroutine functions; see `RedoFallbackManager.aexecute`."""
    manager = get_fallback_manager()
    return await manager.aexecute_with_fallback(primary, fallback, timeout_s=timeout_s, decision=decision)


def reset_fallback_state() -> None:
    """Close the breakers, forget failures and findings, for all processes; see `RedoFallbackManager.reset`."""
    get_fallback_manager().reset()


def simulate_db_failure() -> None:
    """Behave in all processes as if the database were gone; see `RedoFallbackManager.simulate_db_failure`."""
    get_fallback_manager().simulate_db_failure()


def simulate_orchestrator_failure() -> None:
    """Open the orchestrator's breaker; see `RedoFallbackManager.simulate_orchestrator_failure`."""
    get_fallback_manager().simulate_orchestrator_failure()

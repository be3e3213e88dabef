"""The guard: who answers a query, decided before any work, as a value with its reason.

`process` has the functions that the rollout guide names. `manager` has the guard itself. `decision` is what the flags
alone say; `flag_reader`, `health_reader` and `snapshot` keep what is known of the shared state; `stored_flags` and
`health` say what it looks like and how it changes; `guarded_component` and `calls` count how REDO and the ledger do.
"""

from core.fallbacks.config import FallbackConfig
from core.fallbacks.decision import decide
from core.fallbacks.execution import Executed, GuardedQuery, SafeExecution
from core.fallbacks.flag_reader import FlagView
from core.fallbacks.health import Component, Probe
from core.fallbacks.manager import LEDGER_BREAKER, ORCHESTRATOR_BREAKER, RedoFallbackManager
from core.fallbacks.process import (
    aexecute_with_fallback,
    execute_with_fallback,
    get_fallback_manager,
    get_health_status,
    is_redo_active,
    reset_fallback_state,
    safe_ledger_execution,
    safe_orchestrator_execution,
    simulate_db_failure,
    simulate_orchestrator_failure,
)
from core.fallbacks.surroundings import Surroundings

__all__ = [
    "LEDGER_BREAKER",
    "ORCHESTRATOR_BREAKER",
    "Component",
    "Executed",
    "FallbackConfig",
    "FlagView",
    "GuardedQuery",
    "Probe",
    "RedoFallbackManager",
    "SafeExecution",
    "Surroundings",
    "aexecute_with_fallback",
    "decide",
    "execute_with_fallback",
    "get_fallback_manager",
    "get_health_status",
    "is_redo_active",
    "reset_fallback_state",
    "safe_ledger_execution",
    "safe_orchestrator_execution",
    "simulate_db_failure",
    "simulate_orchestrator_failure",
]

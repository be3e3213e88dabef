"""What the guard needs from outside: where its state is, what time it is, who it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from core.clock import Clock
from core.fallbacks.config import FallbackConfig
from core.fallbacks.health import Component, Probe
from core.flags import FlagValue, KillSwitches
from core.ports import StateStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Everything that a guard is given.

    Attributes:
        store: where flags, breakers and health are shared.
        clock: tells the time.
        random: returns a number from 0 to 1, for the jitter of the breakers' waits.
        actor: who gives the orders of this process where nobody else is named: user and host, say.
        owner: names this process in leases and histories.
        environment_flags: reads the flags that environment variables set; raises FlagError for a bad one.
        kill_switches: looks at the kill switches of the environment and the file.
        probes: makes the checks of the components that can be checked here.
        config: the settings of the process's own manager.
        slow_call_s: a valid answer later than this many seconds is slow.
        refresh_s: how old, in seconds, what is known of the shared state may be before it is read again.
    """

    store: StateStore
    clock: Clock
    random: Callable[[], float]
    actor: str
    owner: str
    environment_flags: Callable[[], Mapping[str, FlagValue]] = dict
    kill_switches: Callable[[], KillSwitches] = KillSwitches
    probes: Callable[[], Mapping[Component, Probe]] = dict
    config: FallbackConfig = field(default_factory=FallbackConfig)
    slow_call_s: float = 0.4
    refresh_s: float = 1.0


def configured() -> Surroundings:
    """What this process is configured to have; the same object as long as the configuration is the same.

    Raises:
        ConfigError: a setting cannot be used.
    """
    # The one import against the direction of the layers, written down in pyproject.toml. It is made late, so that the
    # guide's one-liners share their state with running flows, and `import core.fallbacks` alone needs no adapter.
    from tasks.wiring import surroundings  # noqa: PLC0415

    return surroundings()

"""A guard to test with: a clock that stands still, a store that fails when it is told to, calls that run by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from core.adapters.manual_clock import ManualClock
from core.adapters.memory_state import MemoryStateStore
from core.bulkhead import Bulkhead
from core.errors import TransientStoreError
from core.fallbacks import FallbackConfig, RedoFallbackManager, SafeExecution, Surroundings
from core.flags import FlagValue, KillSwitches
from core.model import Query
from core.state import Versioned

ON: dict[str, object] = {"orchestrator.redo_enabled": True}


def a_query(session_id: str | None = "s-1", query_id: str = "q-1") -> Query:
    """A question of a session."""
    return Query(query_id, "What is it?", session_id=session_id)


def fail_in(block: SafeExecution, error: BaseException, *, allowed: bool = True) -> None:
    """Enter a block, see whether the work may be done, and let it raise."""
    with block as execution:
        assert execution.allowed is allowed
        raise error


class FlakyStore(MemoryStateStore):
    """A store that counts its calls, fails while it is told to, and lets things happen while it is asked."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock=clock)
        self.is_down = False
        self.loads = 0
        self.while_loading: Callable[[], object] = lambda: None

    def load(self, name: str) -> Versioned | None:
        """Load, unless it is down; `while_loading` is what happens meanwhile."""
        self.loads += 1
        self.while_loading()
        self._answer()
        return super().load(name)

    def swap(
        self, name: str, *, expected_version: int, value: Mapping[str, object], actor: str, reason: str
    ) -> Versioned:
        """Swap, unless it is down."""
        self._answer()
        return super().swap(name, expected_version=expected_version, value=value, actor=actor, reason=reason)

    def put(self, name: str, value: Mapping[str, object]) -> None:
        """Store a value as somebody does who edits it by hand."""
        present = super().load(name)
        version = 0 if present is None else present.version
        super().swap(name, expected_version=version, value=value, actor="by hand", reason="edited")

    def value(self, name: str) -> Any:
        """The stored value, whether the store is down or not."""
        present = super().load(name)
        return None if present is None else present.value

    def version(self, name: str) -> int:
        """How often a value has been written."""
        present = super().load(name)
        return 0 if present is None else present.version

    def _answer(self) -> None:
        """Fail where it is told to."""
        if self.is_down:
            raise TransientStoreError("the store is down")


class Place:
    """Where guards live: what they share, and what the environment of all of them says. A test sets what it likes."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = FlakyStore(self.clock)
        self.environment: dict[str, FlagValue] = {}
        self.kill = KillSwitches()

    def guard(
        self,
        config: FallbackConfig | None = None,
        *,
        owner: str = "here",
        bulkhead: Bulkhead | None = None,
        probe_bulkhead: Bulkhead | None = None,
    ) -> RedoFallbackManager:
        """A guard of one more process."""
        around = Surroundings(
            store=self.store,
            clock=self.clock,
            random=lambda: 0.0,
            actor="ann@here",
            owner=owner,
            environment_flags=lambda: self.environment,
            kill_switches=lambda: self.kill,
        )
        return RedoFallbackManager(config, surroundings=around, bulkhead=bulkhead, probe_bulkhead=probe_bulkhead)


class ByHand:
    """Threads that a test runs by hand, and waiting that takes no time: a call hangs until the test lets it run.

    Give `start` and `wait` to a `Bulkhead`. With `at_once` each thread runs when it is started.
    """

    def __init__(self, *, at_once: bool = False) -> None:
        self.at_once = at_once
        self.threads: list[tuple[str, Callable[[], None]]] = []
        self.waited_s: list[float] = []

    def start(self, run: Callable[[], None], name: str) -> None:
        """Start a thread, which runs now or when `let_run` is called."""
        self.threads.append((name, run))
        if self.at_once:
            self.let_run()

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Let all the time pass at once."""
        self.waited_s.append(timeout_s)
        return event.is_set()

    def let_run(self) -> None:
        """Let all threads run to their ends."""
        threads, self.threads = self.threads, []
        for _, run in threads:
            run()

    def bulkhead(self, *, abandoned_max: int = 8, running_max: int = 64) -> Bulkhead:
        """A bulkhead over these threads."""
        return Bulkhead(abandoned_max=abandoned_max, running_max=running_max, start=self.start, wait=self.wait)

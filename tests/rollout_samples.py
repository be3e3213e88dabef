"""A rollout to test with: a short plan, reports that pass or fail, and a place where orders are given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from core.adapters.manual_clock import ManualClock
from core.breaker import BreakerState, Mode
from core.fallbacks.manager import ORCHESTRATOR_BREAKER
from core.fallbacks.stored_flags import FLAGS
from core.rollout.decision import Order
from core.rollout.gates import GateKind, GateMode, GateReport, GateResult
from core.rollout.orders import Outcome, RolloutOrders
from core.rollout.plan import Phase, Plan, Step
from core.rollout.state import RolloutState, rollout_of
from core.rollout.verdict import Verdict
from tests.guard_samples import FlakyStore

NOW = datetime(2030, 1, 1, tzinfo=UTC)  # where a `ManualClock` begins

# A minute a step and ten samples an arm; the last step needs a person's yes.
PLAN = Plan(
    steps=(
        Step(phase=Phase.INFRASTRUCTURE, percentage=0, soak_s=60, min_samples_per_arm=10, shadow=True),
        Step(phase=Phase.GRADUAL, percentage=10, soak_s=60, min_samples_per_arm=10),
        Step(phase=Phase.GRADUAL, percentage=25, soak_s=60, min_samples_per_arm=10, ledger_enabled=True),
        Step(phase=Phase.GRADUAL, percentage=50, soak_s=60, min_samples_per_arm=10, ledger_enabled=True),
        Step(phase=Phase.FULL, percentage=100, soak_s=60, min_samples_per_arm=10, ledger_enabled=True, approval=True),
    ),
    rollback_soak_s=30,
)


def an_order(now: datetime = NOW, *, actor: str = "ann", reason: str = "a test") -> Order:
    """Ann wants something."""
    return Order(actor=actor, reason=reason, now=now)


def a_result(
    verdict: Verdict = Verdict.PASS,
    *,
    kind: GateKind = GateKind.GUARDRAIL,
    mode: GateMode = GateMode.ENFORCE,
    name: str = "failures",
    n: int = 10,
) -> GateResult:
    """What one gate came to."""
    return GateResult(name, kind, mode, verdict, value=0.5, threshold="<= 1", n=n)


def a_report(
    state: RolloutState, *results: GateResult, now: datetime, samples: int | dict[str, int] = 10, **changes: Any
) -> GateReport:
    """A report on the step in which the rollout is, of this moment; it passes where nothing else is said."""
    told: dict[str, Any] = {
        "report_id": f"report-{state.attempt}-{state.step}",
        "phase": state.phase,
        "attempt": state.attempt,
        "step": state.step,
        "created_at": now,
        "window_start": state.entered_at,
        "window_end": max(now, state.entered_at),
        "samples": {"redo": samples, "legacy": samples} if isinstance(samples, int) else samples,
        "results": results or (a_result(),),
    }
    return GateReport(**(told | changes))


class Rollout:
    """A rollout in a store of its own, and orders to it. `step` is the usual way up: time passes, the gates pass."""

    def __init__(self, store: FlakyStore | None = None, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock()
        self.store = store or FlakyStore(self.clock)
        self.kill_switch: list[str] = []
        self.orders = RolloutOrders(self.store, clock=self.clock, actor="ann", kill_switch=self.kill_switch.append)

    @property
    def now(self) -> datetime:
        """The date and time."""
        return self.clock.utc_now()

    @property
    def flags(self) -> dict[str, Any]:
        """The stored flags."""
        value: dict[str, Any] = self.store.value(FLAGS) or {}
        return value

    @property
    def state(self) -> RolloutState:
        """Where the rollout stands."""
        state = rollout_of(self.flags)
        assert state is not None
        return state

    @property
    def exposed(self) -> float:
        """The share of the keys that REDO answers, by the stored flags; all of them where they say none that counts."""
        flags = self.flags
        is_on = flags.get("orchestrator.redo_enabled") is True and not flags.get("killed")
        percentage = flags.get("rollout_percentage")
        return (percentage if isinstance(percentage, int | float) else 100) if is_on else 0

    def mode(self, breaker: str = ORCHESTRATOR_BREAKER) -> Mode:
        """The stored mode of a breaker."""
        return BreakerState.from_dict(self.store.value(breaker) or {}).mode

    def start(self, plan: Plan = PLAN) -> None:
        """Begin."""
        assert self.orders.start(plan, reason="begin").is_written

    def advance(self, *results: GateResult, after_s: float = 60, **changes: Any) -> Outcome:
        """Let time pass and look once, with a report of then."""
        self.clock.advance(after_s)
        return self.orders.advance(a_report(self.state, *results, now=self.now, **changes))

    def climb(self, step: int) -> None:
        """Start, and go up to a step; a person says yes where that is asked."""
        self.start()
        while self.state.step < step:
            self.advance()
            if self.state.status.value == "awaiting_approval":
                self.orders.approve(attempt=self.state.attempt, step=self.state.step, reason="yes")

    def edit(self, **values: Any) -> None:
        """Change the stored flags by hand; `redo`, `ledger` and `percentage` stand for the flags."""
        names = {"redo": "orchestrator.redo_enabled", "ledger": "ledger.enabled", "percentage": "rollout_percentage"}
        self.store.put(FLAGS, self.flags | {names.get(name, name): value for name, value in values.items()})

    def sleep(self, delta: timedelta) -> None:
        """Set the wall clock on or back."""
        self.clock.set_utc(self.now + delta)

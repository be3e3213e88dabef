"""The desk from which a rollout is steered: what flows, the command line and HTTP all use.

It brings together the orders, the stored gate reports, and whoever evaluates the gates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from core.clock import Clock
from core.fallbacks import RedoFallbackManager
from core.fallbacks.stored_flags import FLAGS
from core.ports import StateStore
from core.rollout import rollbacks
from core.rollout.decision import NOT_STARTED, Order
from core.rollout.description import describe
from core.rollout.event import Event
from core.rollout.gates import GateReport
from core.rollout.orders import Outcome, RolloutOrders
from core.rollout.reasons import Hold, HoldReason
from core.rollout.state import RolloutState, rollout_of
from tasks.rollout.evaluation import Limits, evaluate_step, is_worth_asking
from tasks.rollout.reports import Reports, StoredReport
from tasks.settings import load_settings
from tasks.wiring import CLOCK, surroundings

Evaluate = Callable[[RolloutState, Limits], StoredReport]

_HISTORY: Final = 200
"""Changes of the flags that are looked through for the reports that decisions rest on."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision: what became of it, and the report that it rests on, where the gates were asked."""

    outcome: Outcome
    stored: StoredReport | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Everything that is needed to steer a rollout.

    Attributes:
        orders: gives orders, in the shared state.
        store: that state.
        clock: tells the time.
        actor: who gives the orders where nobody is named.
        reports: the gate reports of this machine's `REDO_HOME`.
        evaluate: asks the gates about a step and keeps the report. Only `advance` and `look` call it.
    """

    orders: RolloutOrders
    store: StateStore
    clock: Clock
    actor: str
    reports: Reports
    evaluate: Evaluate

    def advance(
        self, *, limits: Limits = "production", actor: str | None = None, reason: str = "", dry_run: bool = False
    ) -> Decided:
        """Ask the gates, and go one step up, down, or none.

        A dry run asks the gates too and keeps their report; the rollout stays as it is.

        Args:
            limits: which limits the gates have.
            actor: who wants it.
            reason: why; the decision says by itself why it came out so.
            dry_run: whether nothing shall be changed.

        Raises:
            StoreError: the shared state does not answer, or holds a rollout that cannot be read.
            StateConflict: others kept being faster.
        """
        stored = self.look(limits=limits)
        report = None if stored is None else stored.report
        decided = Decided(self.orders.advance(report, actor=actor, reason=reason, dry_run=dry_run), stored)
        if stored is not None:
            self.reports.prune(self._evidence())
        return decided

    def approve(
        self,
        *,
        attempt: int | None = None,
        step: int | None = None,
        actor: str | None = None,
        reason: str,
        dry_run: bool = False,
    ) -> Outcome:
        """Say yes to the step that waits.

        Args:
            attempt: the attempt that the person has looked at; the present one by default.
            step: the step that the person has looked at; the present one by default.
            actor: who says yes.
            reason: why.
            dry_run: whether nothing shall be changed.

        Raises:
            StoreError: the shared state does not answer, or holds a rollout that cannot be read.
        """
        state = self.orders.state()
        if state is None:
            return Outcome(decision=NOT_STARTED, version=0, state=None, is_written=False)
        return self.orders.approve(
            attempt=state.attempt if attempt is None else attempt,
            step=state.step if step is None else step,
            actor=actor,
            reason=reason,
            dry_run=dry_run,
        )

    def look(self, *, limits: Limits = "production") -> StoredReport | None:
        """Ask the gates about the step at which the rollout stands; `None` where they could change nothing."""
        state = self.orders.state()
        return self.evaluate(state, limits) if state is not None and is_worth_asking(state) else None

    def why(self) -> tuple[tuple[HoldReason, ...], GateReport | None]:
        """Every reason why the rollout does not rise, by the newest report of its step; it asks no gate anew."""
        state = self.orders.state()
        stored = None if state is None else self.reports.newest(step=state)
        report = None if stored is None else stored.report
        return self.orders.why(report), report

    def status(self) -> dict[str, Any]:
        """Where the rollout stands, as plain values: with the plan's steps, its breakers and its newest report."""
        state = self.orders.state()
        told = describe(state)
        if state is None:
            return told
        stored = self.reports.newest(step=state)
        return told | {
            "plan": state.plan.to_dict(),
            "open_breakers": list(self.orders.open_breakers()),
            "report": None if stored is None else stored.report.to_dict(),
        }

    def history(self, limit: int) -> tuple[Event, ...]:
        """What happened, the newest first, among the newest `limit` changes of the flags."""
        return tuple(reversed(self.orders.events(limit)))

    def emergency_preview(self, *, actor: str | None, reason: str) -> Outcome:
        """What an emergency rollback would do to the flags and the rollout. It would also force both breakers open."""
        loaded = self.store.load(FLAGS)
        stored, version = (None, 0) if loaded is None else (loaded.value, loaded.version)
        order = Order(actor=actor or self.actor, reason=reason, now=self.clock.utc_now())
        decision = rollbacks.rollback_emergency(stored, order)
        state = rollout_of(stored) if isinstance(decision, Hold) else decision.before
        return Outcome(decision=decision, version=version, state=state, is_written=False)

    def _evidence(self) -> set[str]:
        return {report_id for event in self.orders.events(_HISTORY) for report_id in event.evidence}


def open_desk(manager: RedoFallbackManager, *, evaluate: Evaluate = evaluate_step) -> Desk:
    """The desk of this process, over the state that it is configured to share.

    Args:
        manager: the guard, which sees each change at once.
        evaluate: asks the gates; in this process by default.

    Raises:
        ConfigError: a setting cannot be used.
    """
    around, home = surroundings(), load_settings().home_folder
    return Desk(
        orders=RolloutOrders(
            around.store,
            clock=CLOCK,
            actor=around.actor,
            changed=manager.refresh,
            kill_switch=lambda text: turn_kill_switch_on(home, text),
        ),
        store=around.store,
        clock=CLOCK,
        actor=around.actor,
        reports=Reports(home),
        evaluate=evaluate,
    )


def turn_kill_switch_on(home: Path, text: str) -> None:
    """Leave the file `kill-switch`, which turns everything off for the processes of this `REDO_HOME`.

    Raises:
        OSError: it cannot be written.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "kill-switch").open("a", encoding="utf-8") as stream:
        stream.write(text)

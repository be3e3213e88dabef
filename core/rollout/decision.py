"""What an order comes to: a change to be written, or the reasons why nothing changes. And how changes are made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypeAlias

from core.fallbacks.stored_flags import Stored
from core.rollout import flag_changes
from core.rollout.event import Event, EventKind, GateNote, Part
from core.rollout.gates import GateReport
from core.rollout.plan import Plan
from core.rollout.reasons import Hold, HoldCode
from core.rollout.state import RolloutState, apply
from core.rollout.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Who wants something, why, and when. A controller that looks by itself may leave the reason empty."""

    actor: str
    reason: str
    now: datetime

    def because(self, why: str) -> Order:
        """The same order with what was found put before its reason."""
        return replace(self, reason=f"{why}; {self.reason}" if self.reason else why)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A change to be written.

    Attributes:
        before: the rollout before it; `None` where there was none that could be read.
        after: the rollout after it. `after.event` is what happened.
        value: the stored flags after it, the rollout inside them.
    """

    before: RolloutState | None
    after: RolloutState
    value: dict[str, object]

    @property
    def event(self) -> Event:
        """What happened."""
        return self.after.event


Decision: TypeAlias = Transition | Hold

NOT_STARTED: Final = Hold.because(HoldCode.NOT_STARTED, "no rollout has been started")


def already(text: str) -> Hold:
    """What is ordered is so already."""
    return Hold.because(HoldCode.ALREADY, text, Verdict.PASS)


def refused(text: str) -> Hold:
    """What is ordered cannot be done as things are."""
    return Hold.because(HoldCode.REFUSED, text)


def event_after(
    state: RolloutState | None,
    kind: EventKind,
    order: Order,
    *,
    step: int | None = None,
    attempt: int | None = None,
    report: GateReport | None = None,
    plan: Plan | None = None,
    part: Part | None = None,
) -> Event:
    """The next event of a rollout; step and attempt stay where none are given."""
    old_step, old_attempt, number = (0, 1, 0) if state is None else (state.step, state.attempt, state.event.number)
    return Event(
        number=number + 1,
        kind=kind,
        actor=order.actor,
        reason=order.reason,
        at=order.now,
        step=old_step if step is None else step,
        attempt=old_attempt if attempt is None else attempt,
        evidence=() if report is None else (report.report_id,),
        gate=None if report is None else GateNote.of(report),
        plan=plan,
        part=part,
    )


def down(
    stored: Stored | None,
    state: RolloutState,
    kind: EventKind,
    order: Order,
    *,
    step: int,
    attempt: int | None = None,
    report: GateReport | None = None,
    part: Part | None = None,
) -> Transition:
    """A change that lowers the flags, or leaves them."""
    after = apply(state, event_after(state, kind, order, step=step, attempt=attempt, report=report, part=part))
    return Transition(before=state, after=after, value=flag_changes.lowered(stored, after))


def noted(
    stored: Stored | None, state: RolloutState, kind: EventKind, order: Order, report: GateReport | None = None
) -> Transition:
    """A change of the rollout that leaves the flags as they are."""
    after = apply(state, event_after(state, kind, order, report=report))
    return Transition(before=state, after=after, value=flag_changes.noted(stored, after))

"""Where a rollout stands: what its events have come to. Stored inside the flags, so that both change in one step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from core.errors import ConfigError, StoreError
from core.flags import LEDGER_ENABLED, REDO_ENABLED, ROLLOUT_PERCENTAGE, FlagValue
from core.rollout.event import Event, EventKind, Part
from core.rollout.fields import Fields
from core.rollout.plan import Phase, Plan, Step, percentage_of
from core.state import Change

ROLLOUT: Final = "rollout"
"""Key of the rollout inside the stored flags."""

_PLACE: Final = "stored flags, rollout"


class Status(StrEnum):
    """What a rollout is doing."""

    RUNNING = "running"
    AWAITING_APPROVAL = "awaiting_approval"  # all is well, a person must say yes
    PAUSED = "paused"  # stays where it is until `resume`
    ROLLING_BACK = "rolling_back"  # goes down step by step
    ROLLED_BACK = "rolled_back"  # stays down until `resume`
    COMPLETE = "complete"  # the last step passed; it is still watched


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's yes to leaving one step of one attempt. For any other one it is worth nothing."""

    actor: str
    at: datetime
    attempt: int
    step: int

    def to_dict(self) -> dict[str, object]:
        """The approval as JSON can hold it."""
        return {"actor": self.actor, "at": self.at.isoformat(), "attempt": self.attempt, "step": self.step}


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutState:
    """Where a rollout stands.

    Attributes:
        plan: what it goes by.
        step: number of the step in the plan, from 0.
        attempt: goes up with every start, rollback and resume. Evidence of another attempt counts for nothing.
        status: what it is doing.
        entered_at: when this step began, by the clock of whoever made it begin.
        highest_passed: the highest step that passed its gates and has not failed them since; -1 is none.
        emergency: everything was turned off at once, and nothing turns it on again but `resume`.
        parts_off: the components that were taken out.
        approval: the newest approval.
        event: what happened last.
    """

    plan: Plan
    step: int
    attempt: int
    status: Status
    entered_at: datetime
    highest_passed: int = -1
    emergency: bool = False
    parts_off: frozenset[Part] = frozenset()
    approval: Approval | None = None
    event: Event

    @property
    def at(self) -> Step:
        """The step itself."""
        return self.plan.steps[self.step]

    @property
    def phase(self) -> Phase:
        """The phase that the step belongs to."""
        return self.at.phase

    @property
    def next(self) -> Step | None:
        """The step after this one; `None` after the last."""
        return None if self.step == self.plan.last else self.plan.steps[self.step + 1]

    @property
    def is_approved(self) -> bool:
        """Whether a person has said yes to leaving this very step, in this attempt."""
        approval = self.approval
        return approval is not None and (approval.attempt, approval.step) == (self.attempt, self.step)

    @property
    def redo_enabled(self) -> bool:
        """Whether REDO is to answer anybody."""
        return self.at.redo_enabled and not self.emergency and Part.ORCHESTRATOR not in self.parts_off

    @property
    def percentage(self) -> FlagValue:
        """The share of the keys that REDO is to answer; 0 where it is off."""
        return percentage_of(self.at) if self.redo_enabled else 0

    @property
    def ledger_enabled(self) -> bool:
        """Whether traces are to go to the ledger."""
        return self.at.ledger_enabled and not self.emergency and Part.LEDGER not in self.parts_off

    @property
    def flags(self) -> dict[str, FlagValue]:
        """The flags as the rollout wants them."""
        return {
            REDO_ENABLED: self.redo_enabled,
            LEDGER_ENABLED: self.ledger_enabled,
            ROLLOUT_PERCENTAGE: self.percentage,
        }

    def to_dict(self) -> dict[str, object]:
        """The state as JSON can hold it. Phase and percentage are for readers: they follow from the rest."""
        return {
            "phase": self.phase.value,
            "percentage": self.percentage,
            "step": self.step,
            "attempt": self.attempt,
            "status": self.status.value,
            "entered_at": self.entered_at.isoformat(),
            "highest_passed": self.highest_passed,
            "emergency": self.emergency,
            "parts_off": sorted(part.value for part in self.parts_off),
            "approval": None if self.approval is None else self.approval.to_dict(),
            "event": self.event.to_dict(),
            "plan": self.plan.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: object) -> RolloutState:
        """Read a state.

        Raises:
            StoreError: names the field that is missing or cannot be used.
        """
        fields = Fields(data, _PLACE, error=StoreError)
        try:
            plan = Plan.from_dict(fields.raw("plan"))
            event = Event.from_fields(fields.inner("event"))
        except ConfigError as error:
            raise StoreError(f"{_PLACE}: {error}") from None
        step = fields.whole("step")
        if step > plan.last:
            raise fields.refused("step", step, f"a step of the plan, 0 to {plan.last}")
        highest_passed = fields.whole("highest_passed", -1, least=-1)
        return cls(
            plan=plan,
            step=step,
            attempt=fields.whole("attempt", least=1),
            status=fields.member("status", Status),
            entered_at=fields.time("entered_at"),
            highest_passed=min(highest_passed, plan.last),
            emergency=fields.switch("emergency", default=False),
            parts_off=frozenset(_part(fields, text) for text in fields.texts("parts_off")),
            approval=_approval(fields.inner("approval")) if fields.has("approval") else None,
            event=event,
        )


def _part(fields: Fields, text: str) -> Part:
    try:
        return Part(text)
    except ValueError:
        raise fields.refused("parts_off", text, f"one of {', '.join(Part)}") from None


def _approval(fields: Fields) -> Approval:
    return Approval(
        actor=fields.text("actor"),
        at=fields.time("at"),
        attempt=fields.whole("attempt"),
        step=fields.whole("step"),
    )


def rollout_of(stored: Mapping[str, object] | None) -> RolloutState | None:
    """Return the rollout that the stored flags hold; `None` where none has ever been started.

    Raises:
        StoreError: what is stored cannot be read.
    """
    data = (stored or {}).get(ROLLOUT)
    return None if data is None else RolloutState.from_dict(data)


# --- events -------------------------------------------------------------------------------------------------------

_STATUS_AFTER: Final[Mapping[EventKind, Status]] = {
    EventKind.PROMOTED: Status.RUNNING,
    EventKind.COMPLETED: Status.COMPLETE,
    EventKind.APPROVAL_REQUESTED: Status.AWAITING_APPROVAL,
    EventKind.PAUSED: Status.PAUSED,
    EventKind.HAND_EDITED: Status.PAUSED,
    EventKind.STEPPED_BACK: Status.ROLLED_BACK,
    EventKind.ROLLBACK_BEGUN: Status.ROLLING_BACK,
    EventKind.STEPPED_DOWN: Status.ROLLING_BACK,
    EventKind.EMERGENCY: Status.ROLLED_BACK,
    EventKind.PART_OFF: Status.ROLLED_BACK,
    EventKind.RESUMED: Status.RUNNING,
}
# After these the step is where it was, and has been there as long as before.
_STAYS: Final = frozenset(
    {
        EventKind.COMPLETED,
        EventKind.APPROVAL_REQUESTED,
        EventKind.APPROVED,
        EventKind.PAUSED,
        EventKind.HAND_EDITED,
    }
)


def apply(state: RolloutState | None, event: Event) -> RolloutState:
    """Return the state after an event. This is the only place where states come from.

    An event that carries a plan begins anew, whatever was there.

    Raises:
        ValueError: there is no state, and the event begins none.
    """
    if event.plan is not None:
        began = RolloutState(
            plan=event.plan,
            step=event.step,
            attempt=event.attempt,
            status=Status.RUNNING,
            entered_at=event.at,
            event=event,
        )
        if event.kind is EventKind.STARTED:
            return began
        return replace(apply(began, replace(event, plan=None)), event=event)
    if state is None:
        raise ValueError(f"event {event.number}, {event.kind.value}: there is no rollout that it could happen to")
    after = replace(
        state,
        step=event.step,
        attempt=event.attempt,
        status=_STATUS_AFTER.get(event.kind, state.status),
        entered_at=state.entered_at if event.kind in _STAYS else event.at,
        event=event,
    )
    return _with_consequences(state, after, event)


def _with_consequences(before: RolloutState, after: RolloutState, event: Event) -> RolloutState:
    """What an event means beside the step and the status."""
    match event.kind:
        case EventKind.PROMOTED | EventKind.COMPLETED:
            return replace(after, highest_passed=max(before.highest_passed, before.step))
        case EventKind.APPROVED:
            return replace(after, approval=Approval(event.actor, event.at, event.attempt, event.step))
        case EventKind.STEPPED_BACK:
            return replace(after, highest_passed=min(before.highest_passed, before.step - 1))
        case EventKind.ROLLBACK_BEGUN | EventKind.STEPPED_DOWN if after.step == 0:
            return replace(after, status=Status.ROLLED_BACK)
        case EventKind.EMERGENCY:
            return replace(after, emergency=True)
        case EventKind.PART_OFF if event.part is not None:
            status = before.status if before.status is Status.ROLLING_BACK else after.status
            return replace(after, status=status, parts_off=before.parts_off | {event.part})
        case EventKind.RESUMED:
            return replace(after, emergency=False, parts_off=frozenset())
        case _:
            return after


def rebuild(events: Iterable[Event], base: RolloutState | None = None) -> RolloutState | None:
    """Return the state that events come to, the oldest first.

    Args:
        events: every event since `base`.
        base: the state before the first of them; `None` where that one begins a rollout.
    """
    state = base
    for event in events:
        state = apply(state, event)
    return state


def events_of(changes: Sequence[Change]) -> tuple[Event, ...]:
    """Return the events that a history of the flags holds, the oldest first.

    Args:
        changes: as a `StateStore` returns them, the newest first. Changes of flags alone repeat the event before, and
            are passed over, as are those that hold a rollout that cannot be read.
    """
    found: list[Event] = []
    for change in reversed(changes):
        with suppress(StoreError):
            state = rollout_of(change.after)
            if state is not None and state.event not in found[-1:]:
                found.append(state.event)
    return tuple(found)

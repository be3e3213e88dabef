"""The ways down. They work from every state, need no evidence, and change nothing where they are repeated."""

from __future__ import annotations

from collections.abc import Mapping

from core.errors import StoreError
from core.fallbacks.stored_flags import Stored
from core.rollout import flag_changes
from core.rollout.decision import NOT_STARTED, Decision, Order, Transition, already, down
from core.rollout.event import Event, EventKind, Part
from core.rollout.plan import Plan
from core.rollout.state import ROLLOUT, RolloutState, Status, apply, rollout_of


def rollback_emergency(stored: Stored | None, order: Order) -> Decision:
    """Turn everything off at once, and keep it off until `resume`.

    It works on whatever is stored: where there is no rollout, or none that can be read, one is written that stands at
    the first step of the default plan, so that only `resume` goes on from here too.
    """
    state, attempt, number = _readable(stored)
    if state is not None and state.emergency and not _is_any_on(stored):
        return already("the emergency rollback is in force")
    # Repeated where a hand has undone it: the attempt has not seen anything yet.
    attempt += 0 if state is not None and state.emergency else 1
    event = Event(
        number=number + 1,
        kind=EventKind.EMERGENCY,
        actor=order.actor,
        reason=order.reason,
        at=order.now,
        step=0,
        attempt=attempt,
        plan=Plan() if state is None else None,
    )
    after = apply(state, event)
    return Transition(before=state, after=after, value=flag_changes.all_off(stored, after))


def rollback_gradual(stored: Stored | None, order: Order) -> Decision:
    """Go one step down now, and on from `advance`, step by step, to the first one.

    Raises:
        StoreError: the stored rollout cannot be read: an emergency rollback still works.
    """
    state = rollout_of(stored)
    if state is None:
        return NOT_STARTED
    if state.status is Status.ROLLING_BACK:
        return already(f"the rollout is rolling back, at {state.at.name}")
    if state.status is Status.ROLLED_BACK and state.step == 0 and not flag_changes.is_above(stored, state, order.now):
        return already("the rollout is rolled back to its first step")
    return down(stored, state, EventKind.ROLLBACK_BEGUN, order, step=max(0, state.step - 1), attempt=state.attempt + 1)


def rollback_part(stored: Stored | None, part: Part, order: Order) -> Decision:
    """Take one component out and leave the other as it is.

    Raises:
        StoreError: the stored rollout cannot be read: an emergency rollback still works.
    """
    state = rollout_of(stored)
    if state is None:
        return NOT_STARTED
    if state.emergency:
        return already("the emergency rollback is in force")
    if part in state.parts_off and not flag_changes.is_on(stored, part):
        return already(f"the {part.value} is taken out")
    return down(stored, state, EventKind.PART_OFF, order, step=state.step, attempt=state.attempt + 1, part=part)


def _readable(stored: Stored | None) -> tuple[RolloutState | None, int, int]:
    """The rollout where it can be read, its attempt and the number of its last event as far as they can."""
    try:
        state = rollout_of(stored)
    except StoreError:
        data = (stored or {}).get(ROLLOUT)
        event = data.get("event") if isinstance(data, Mapping) else None
        return None, _count(data, "attempt"), _count(event, "number")
    return (None, 0, 0) if state is None else (state, state.attempt, state.event.number)


def _count(data: object, name: str) -> int:
    value = data.get(name) if isinstance(data, Mapping) else 0
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _is_any_on(stored: Stored | None) -> bool:
    """Whether anything could be on that an emergency has turned off."""
    return not flag_changes.is_killed(stored) or any(flag_changes.is_on(stored, part) for part in Part)

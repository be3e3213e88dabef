"""The rules of the rollout: what each order, and each look at the evidence, makes of the stored flags. Pure functions.

Each takes the stored flags, the rollout inside them, and returns a `Transition` to write in one step, or a `Hold` with
the reasons why nothing changes. Three rules stand above the rest:

- Up goes one step at a time, from `advance` alone, on a passed report of that very phase, attempt and step.
- Down goes from every state, needs no evidence, and never raises a flag that somebody has set lower by hand.
- After a rollback nothing rises without `resume`, or a `start` that says that it replaces the old rollout.

Flags that are edited beside the rollout are never fought: it holds, or counts as paused where they were lowered. A
guardrail that fails steps back all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from core.fallbacks.stored_flags import Stored
from core.rollout import flag_changes
from core.rollout.decision import NOT_STARTED, Decision, Order, Transition, already, down, event_after, noted, refused
from core.rollout.event import EventKind
from core.rollout.gates import GateKind, GateReport
from core.rollout.plan import FailPolicy, Plan
from core.rollout.reasons import Hold, HoldCode, duration_text, explain, is_of_this_step
from core.rollout.state import RolloutState, Status, apply, rollout_of

_MOVES: Final = frozenset({Status.RUNNING, Status.AWAITING_APPROVAL})


# --- up -----------------------------------------------------------------------------------------------------------


def start(stored: Stored | None, plan: Plan, order: Order, *, over_old: bool = False) -> Decision:
    """Begin a rollout at its first step: everything off.

    Args:
        stored: the stored flags.
        plan: the steps. It is kept with the rollout, which goes by it to its end.
        order: who, why, when.
        over_old: whether a rollout that is complete or rolled back may be replaced; else it must be gone on with. One
            that is under way, or under an emergency, is never replaced.

    Raises:
        StoreError: the stored rollout cannot be read.
    """
    state = rollout_of(stored)
    if state is not None:
        if state.emergency or state.parts_off:
            return refused("an emergency or component rollback is in force: only `resume` ends it")
        if state.status not in {Status.COMPLETE, Status.ROLLED_BACK}:
            return refused(f"a rollout is {state.status.value} at {state.at.name}: roll it back before another starts")
        if not over_old:
            return refused(
                f"the last rollout is {state.status.value} at {state.at.name}: say that it is to be replaced"
            )
    event = event_after(
        state, EventKind.STARTED, order, step=0, attempt=1 if state is None else state.attempt + 1, plan=plan
    )
    after = apply(state, event)
    return Transition(before=state, after=after, value=flag_changes.begun(stored, after))


def advance(
    stored: Stored | None, report: GateReport | None, order: Order, *, open_breakers: Iterable[str] = ()
) -> Decision:
    """Look once at where the rollout stands: one step up, down, or none. This is what runs on a schedule.

    Args:
        stored: the stored flags.
        report: what the gates say; `None` where nobody could ask them.
        order: who, why, when. Where the reason is empty the event says by itself why it happened.
        open_breakers: names of the breakers that are not closed.

    Raises:
        StoreError: the stored rollout cannot be read.
    """
    state = rollout_of(stored)
    if state is None:
        return NOT_STARTED
    open_breakers = tuple(open_breakers)
    counted = report if report is not None and is_of_this_step(state, report) else None
    down = _for_guardrails(stored, state, counted, order)
    if down is None and state.status is Status.ROLLING_BACK:
        down = _walked_down(stored, state, order)
    if down is not None:
        return down
    if state.status in _MOVES or state.status is Status.COMPLETE:
        stopped = _for_surroundings(stored, state, order) or _for_signals(stored, state, counted, order)
        if stopped is not None:
            return stopped
    reasons = explain(state, stored, report, order.now, open_breakers=open_breakers)
    if {reason.code for reason in reasons} == {HoldCode.APPROVAL} and state.status is Status.RUNNING:
        return noted(stored, state, EventKind.APPROVAL_REQUESTED, order.because(reasons[0].text), counted)
    if reasons:
        return Hold(reasons)
    order = order.because(f"{state.at.name} passed")
    if state.next is None:
        return noted(stored, state, EventKind.COMPLETED, order, counted)
    event = event_after(state, EventKind.PROMOTED, order, step=state.step + 1, report=counted)
    after = apply(state, event)
    return Transition(before=state, after=after, value=flag_changes.raised(stored, after))


def approve(stored: Stored | None, order: Order, *, attempt: int, step: int) -> Decision:
    """Say yes to leaving one step of one attempt; the next `advance` goes on if all is still well then.

    Args:
        stored: the stored flags.
        order: who, why, when.
        attempt: the attempt that was looked at when the yes was given.
        step: the step, likewise. A yes to anything but what waits is refused.

    Raises:
        StoreError: the stored rollout cannot be read.
    """
    state = rollout_of(stored)
    if state is None:
        return NOT_STARTED
    if (attempt, step) != (state.attempt, state.step):
        text = f"the approval is for attempt {attempt}, step {step}; the rollout is at attempt {state.attempt}, step "
        return Hold.because(HoldCode.STALE_APPROVAL, f"{text}{state.step}")
    if state.is_approved:
        return already(f"attempt {attempt}, step {step} is approved")
    if state.status is not Status.AWAITING_APPROVAL:
        return refused(f"the rollout is {state.status.value}: it does not wait for an approval")
    return noted(stored, state, EventKind.APPROVED, order)


def pause(stored: Stored | None, order: Order) -> Decision:
    """Stay at this step until `resume`. A guardrail that fails still steps back.

    Raises:
        StoreError: the stored rollout cannot be read.
    """
    state = rollout_of(stored)
    if state is None:
        return NOT_STARTED
    if state.status in {Status.PAUSED, Status.ROLLED_BACK}:
        return already(f"the rollout is {state.status.value}: nothing rises")
    if state.status is Status.ROLLING_BACK:
        return refused("the rollout is rolling back: `resume` ends that, a pause does not")
    return noted(stored, state, EventKind.PAUSED, order)


def resume(stored: Stored | None, order: Order, *, step: int | None = None) -> Decision:
    """Go on after a pause, a rollback, an emergency or an edit by hand: with a new attempt, so on new evidence.

    The flags are put back to the step; overrides for everybody and the stored kill switch are lifted.

    Args:
        stored: the stored flags.
        order: who, why, when.
        step: where to go on; at most the highest step that has passed, or the default, whichever is higher. The
            default is the step at which the rollout stands; where it answers nobody any more, the first one that does.

    Raises:
        StoreError: the stored rollout cannot be read.
    """
    state = rollout_of(stored)
    if state is None:
        return NOT_STARTED
    moves = state.status in _MOVES or state.status is Status.COMPLETE
    if moves and not flag_changes.differences(stored, state, now=order.now):
        return already(f"the rollout is {state.status.value}: there is nothing to resume")
    default = resume_step(state)
    target = default if step is None else step
    highest = max(default, state.highest_passed)
    if not 0 <= target <= highest:
        return refused(f"step {target} is not open: step {highest} is the highest that is")
    event = event_after(state, EventKind.RESUMED, order, step=target, attempt=state.attempt + 1)
    after = apply(state, event)
    return Transition(before=state, after=after, value=flag_changes.put_back(stored, after))


def resume_step(state: RolloutState) -> int:
    """The step at which `resume` goes on where nobody names one."""
    stays = state.status not in {Status.ROLLED_BACK, Status.ROLLING_BACK}
    if stays or state.redo_enabled:
        return state.step
    return max(0, min(state.plan.first_exposed, state.highest_passed + 1))


# --- what `advance` finds -----------------------------------------------------------------------------------------


def _for_guardrails(
    stored: Stored | None, state: RolloutState, report: GateReport | None, order: Order
) -> Decision | None:
    """What a guardrail that failed leads to, whatever the rollout is doing. Its age does not matter: it failed here."""
    failed = () if report is None else report.failed(GateKind.GUARDRAIL)
    if not failed or (state.status is Status.ROLLED_BACK and state.step == 0):
        return None
    order = order.because(f"failed: {', '.join(gate.name for gate in failed)}")
    if state.status is Status.ROLLING_BACK:
        return down(stored, state, EventKind.STEPPED_DOWN, order, step=state.step - 1, report=report)
    return _for_failure(stored, state, state.plan.on_guardrail_fail, order, report)


def _for_signals(
    stored: Stored | None, state: RolloutState, report: GateReport | None, order: Order
) -> Decision | None:
    failed = () if report is None else report.failed(GateKind.SIGNAL)
    if not failed:
        return None
    order = order.because(f"failed: {', '.join(gate.name for gate in failed)}")
    return _for_failure(stored, state, state.plan.on_signal_fail, order, report)


def _for_failure(
    stored: Stored | None,
    state: RolloutState,
    policy: FailPolicy,
    order: Order,
    report: GateReport | None,
) -> Decision | None:
    if policy is FailPolicy.PAUSE:
        if state.status in {Status.PAUSED, Status.ROLLED_BACK}:
            return None
        return noted(stored, state, EventKind.PAUSED, order, report)
    step = 0 if policy is FailPolicy.TO_ZERO else max(0, state.step - 1)
    attempt = state.attempt + 1
    return down(stored, state, EventKind.STEPPED_BACK, order, step=step, attempt=attempt, report=report)


def _walked_down(stored: Stored | None, state: RolloutState, order: Order) -> Decision | None:
    """The next step of a gradual rollback, when its time has come, or the clock cannot tell."""
    stayed_s = (order.now - state.entered_at).total_seconds()
    if -state.plan.clock_skew_s <= stayed_s < state.plan.rollback_soak_s:
        return None
    why = f"{duration_text(state.plan.rollback_soak_s)} at {state.at.name} are over"
    return down(stored, state, EventKind.STEPPED_DOWN, order.because(why), step=state.step - 1)


def _for_surroundings(stored: Stored | None, state: RolloutState, order: Order) -> Decision | None:
    """A clock that was set back restarts the soak; flags that were lowered by hand pause the rollout."""
    found = flag_changes.differences(stored, state, now=order.now)
    if found and all(difference.is_lower for difference in found):
        why = f"lowered beside the rollout: {'; '.join(difference.text for difference in found)}"
        return noted(stored, state, EventKind.HAND_EDITED, order.because(why))
    ahead_s = (state.entered_at - order.now).total_seconds()
    if ahead_s > state.plan.clock_skew_s:
        why = f"the clock says {duration_text(ahead_s)} before the step began: its time begins anew"
        return noted(stored, state, EventKind.SOAK_RESTARTED, order.because(why))
    return None

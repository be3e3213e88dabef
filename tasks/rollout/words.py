"""What became of an order: one sentence for people, one object for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from core.rollout.decision import Transition
from core.rollout.description import describe
from core.rollout.event import EventKind
from core.rollout.orders import EmergencyOutcome, Outcome
from core.rollout.reasons import Hold
from core.rollout.state import RolloutState

_DONE: Final[Mapping[EventKind, str]] = {
    EventKind.STARTED: "started at {at}",
    EventKind.PROMOTED: "promoted to {at}",
    EventKind.COMPLETED: "complete at {at}",
    EventKind.APPROVAL_REQUESTED: "{next} waits for approval",
    EventKind.APPROVED: "approved: {next} may begin",
    EventKind.PAUSED: "paused at {at}",
    EventKind.HAND_EDITED: "paused at {at}",
    EventKind.SOAK_RESTARTED: "the soak at {at} begins anew",
    EventKind.STEPPED_BACK: "stepped back to {at}",
    EventKind.ROLLBACK_BEGUN: "rolling back, now at {at}",
    EventKind.STEPPED_DOWN: "stepped down to {at}",
    EventKind.EMERGENCY: "everything is off",
    EventKind.PART_OFF: "the {part} is taken out",
    EventKind.RESUMED: "resumed at {at}, attempt {attempt}",
}


def event_text(kind: EventKind, after: RolloutState) -> str:
    """What an event did, without its reason: `promoted to gradual 25 %`."""
    return _DONE[kind].format(
        at=after.at.name,
        next="the next step" if after.next is None else after.next.name,
        attempt=after.attempt,
        part=after.event.part.value if after.event.part else "component",
    )


def sentence(outcome: Outcome) -> str:
    """What became of an order, with why: `promoted to gradual 25 %: gradual 10 % passed`."""
    decision = outcome.decision
    if isinstance(decision, Transition):
        text = event_text(decision.event.kind, decision.after)
        has_why = decision.event.reason and decision.event.kind is not EventKind.APPROVAL_REQUESTED
        why = f": {decision.event.reason}" if has_why else ""
        return f"{text}{why}" if outcome.is_written else f"dry run, nothing was changed; it would be: {text}{why}"
    first, *others = decision.reasons
    more = f" (and {len(others)} more: `redo rollout why`)" if others else ""
    if decision.is_refusal:
        return f"not done: {first.text}{more}"
    if decision.is_already_so:
        return f"nothing to do: {first.text}"
    where = "" if outcome.state is None else f" at {outcome.state.at.name}"
    return f"held{where}: {first.text}{more}"


def emergency_sentence(outcome: EmergencyOutcome) -> str:
    """How far an emergency rollback got."""
    if outcome.is_complete:
        return "everything is off, for all processes; `redo rollout resume` goes on"
    errors = "; ".join(f"{place}: {error}" for place, error in outcome.errors.items())
    if outcome.is_off_everywhere:
        return f"everything is off, for all processes; not reached: {errors}. Repeat the order"
    if outcome.kill_switch:
        return f"everything is off on THIS MACHINE only, by its kill switch; not reached: {errors}. Repeat the order"
    return f"NOTHING was reached: {errors}. Repeat the order, or set REDO_KILL_SWITCH=1 where REDO runs"


def outcome_as_dict(outcome: Outcome, *, dry_run: bool = False) -> dict[str, Any]:
    """What became of an order as JSON values.

    `changed` says whether anything was written; `refused` whether the order cannot be carried out as things are.
    """
    decision = outcome.decision
    told: dict[str, Any] = {
        "said": sentence(outcome),
        "changed": outcome.is_written,
        "dry_run": dry_run,
        "refused": isinstance(decision, Hold) and decision.is_refusal,
        "decision": "hold" if isinstance(decision, Hold) else decision.event.kind.value,
        "reasons": [reason.to_dict() for reason in decision.reasons] if isinstance(decision, Hold) else [],
        "breakers": list(outcome.breakers),
        "version": outcome.version,
        "rollout": describe(outcome.state),
    }
    if isinstance(decision, Transition):
        told["event"] = {name: value for name, value in decision.event.to_dict().items() if name != "plan"}
        if not outcome.is_written:
            told["would_be"] = describe(decision.after)
    return told


def emergency_as_dict(outcome: EmergencyOutcome) -> dict[str, Any]:
    """How far an emergency rollback got, as JSON values."""
    told: dict[str, Any] = {} if outcome.outcome is None else outcome_as_dict(outcome.outcome)
    return told | {
        "said": emergency_sentence(outcome),
        "decision": EventKind.EMERGENCY.value,
        "changed": bool(told.get("changed", outcome.kill_switch)),
        "dry_run": False,
        "refused": False,
        "off_everywhere": outcome.is_off_everywhere,
        "off_on_this_machine": outcome.is_off_here,
        "complete": outcome.is_complete,
        "breakers": list(outcome.forced_open),
        "kill_switch": outcome.kill_switch,
        "errors": dict(outcome.errors),
    }

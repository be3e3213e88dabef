"""A rollout in words and plain values, for `redo rollout status`, the Prefect UI and HTTP."""

from __future__ import annotations

from typing import Final

from core.errors import StoreError
from core.rollout.state import RolloutState, Status

_WORDS: Final = {Status.AWAITING_APPROVAL: "waits for approval", Status.ROLLING_BACK: "rolling back"}


def headline(state: RolloutState | None) -> str:
    """The rollout in one line: `gradual 25 % (step 2 of 4), running, attempt 3`."""
    if state is None:
        return "no rollout has been started"
    status = _WORDS.get(state.status, state.status.value.replace("_", " "))
    if state.emergency:
        status = "rolled back by an emergency"
    out = "".join(f", {part.value} taken out" for part in sorted(state.parts_off))
    return f"{state.at.name} (step {state.step} of {state.plan.last}), {status}, attempt {state.attempt}{out}"


def headline_of_stored(data: object) -> str:
    """The same for what is stored under `rollout`, whatever it is; empty where nothing is. Never raises StoreError."""
    if data is None:
        return ""
    try:
        return headline(RolloutState.from_dict(data))
    except StoreError as error:
        return f"cannot be read: {error}"


def describe(state: RolloutState | None) -> dict[str, object]:
    """The rollout as plain values that JSON can hold, with its headline; without the plan's policies."""
    if state is None:
        return {"status": "not_started", "headline": headline(None)}
    above, event = state.next, state.event
    return {
        "headline": headline(state),
        "status": state.status.value,
        "phase": state.phase.value,
        "step": state.step,
        "step_name": state.at.name,
        "attempt": state.attempt,
        "percentage": state.percentage,
        "shadow": state.at.shadow,
        "ledger_enabled": state.ledger_enabled,
        "entered_at": state.entered_at.isoformat(),
        "highest_passed": state.highest_passed,
        "emergency": state.emergency,
        "parts_off": sorted(part.value for part in state.parts_off),
        "next": None if above is None else above.name,
        "next_needs_approval": above is not None and above.approval,
        "is_approved": state.is_approved,
        "steps": [step.name for step in state.plan.steps],
        "event": {name: value for name, value in event.to_dict().items() if name != "plan"},
    }

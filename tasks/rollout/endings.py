"""How a flow of the rollout ends: a state whose name and message say what became of the order."""

from __future__ import annotations

from typing import Any, Final

from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from core.rollout.event import EventKind
from core.rollout.orders import EmergencyOutcome, Outcome
from core.rollout.reasons import Hold
from core.rollout.verdict import Verdict
from tasks.rollout.words import emergency_as_dict, emergency_sentence, outcome_as_dict, sentence

_STOPPED_BY_GATES: Final = frozenset({EventKind.STEPPED_BACK, EventKind.PAUSED})


def who_runs(who: str) -> str:
    """Who is recorded: the given name, else the run's. Prefect's own server does not know its users."""
    return who.strip() or f"flow run {flow_run.name or flow_run.flow_name}"


def ending(outcome: Outcome, *, dry_run: bool = False) -> State[dict[str, Any]]:
    """The state that a run ends in. It is Failed where gates failed, and where an order cannot be carried out."""
    said, told = sentence(outcome), outcome_as_dict(outcome, dry_run=dry_run)
    if is_bad(outcome):
        get_run_logger().error("%s", said)
        return Failed(message=said, name=_name(outcome), data=RuntimeError(said))
    get_run_logger().info("%s", said)
    return Completed(message=said, name=_name(outcome), data=told)


def emergency_ending(outcome: EmergencyOutcome) -> State[dict[str, Any]]:
    """The state that an emergency ends in. It is Failed where a place was not reached: it must be repeated then."""
    said = emergency_sentence(outcome)
    if not outcome.is_complete:
        get_run_logger().error("%s", said)
        return Failed(message=said, name="Incomplete", data=RuntimeError(said))
    get_run_logger().warning("%s", said)
    return Completed(message=said, name="Everything off", data=emergency_as_dict(outcome))


def is_bad(outcome: Outcome) -> bool:
    """Whether gates failed, or the order was refused."""
    decision = outcome.decision
    if isinstance(decision, Hold):
        return decision.is_refusal or decision.verdict is Verdict.FAIL
    return decision.event.kind in _STOPPED_BY_GATES and decision.event.gate is not None


def _name(outcome: Outcome) -> str:
    decision = outcome.decision
    if isinstance(decision, Hold):
        if decision.is_refusal:
            return "Not done"
        if decision.is_already_so:
            return "Nothing to do"
        return "Gate failed" if decision.verdict is Verdict.FAIL else "Held"
    name = decision.event.kind.value.replace("_", " ").capitalize()
    return name if outcome.is_written else f"Dry run: {name.lower()}"

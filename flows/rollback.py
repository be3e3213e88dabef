"""Take REDO back: everything at once, step by step, or one component. No gate is asked, and no ledger is needed."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from core.fallbacks import get_fallback_manager
from core.rollout.event import Part
from core.rollout.orders import Outcome
from tasks.rollout.desk import Decided, Desk, open_desk
from tasks.rollout.endings import emergency_ending, ending, who_runs
from tasks.rollout.publishing import publish, tell, tell_emergency

Kind: TypeAlias = Literal["emergency", "gradual", "component"]
PartName: TypeAlias = Literal["orchestrator", "ledger"]


@flow(name="rollback", persist_result=False)
def rollback(
    *,
    kind: Kind,
    part: PartName = "orchestrator",
    why: Annotated[str, Field(min_length=1, max_length=500)],
    who: Annotated[str, Field(max_length=100)] = "",
    dry_run: bool = False,
) -> State[dict[str, Any]]:
    """Roll back, for all workers, services and command lines. It works from every state, and may be repeated.

    Whatever it is, nothing rises again without resume (steer-rollout).

    Args:
        kind: emergency: everything off at once. gradual: one step down now, then on, step by step, with
            advance-rollout. component: one component off, the other stays.
        part: Which component, where the kind is component.
        why: The reason, for the history.
        who: Your name, for the history; the run's by default.
        dry_run: Only say what would change.

    Returns:
        What was done, as `redo rollout rollback --json` prints it.

    Raises:
        StoreError: the shared state does not answer, and the kind is not emergency, which never raises for that.
    """
    desk, actor = open_desk(get_fallback_manager()), who_runs(who)
    if kind == "emergency" and not dry_run:
        reached = desk.orders.rollback_emergency(actor=actor, reason=why)
        tell_emergency(reached)
        if reached.outcome is not None:
            _publish(desk, reached.outcome)
        return emergency_ending(reached)
    if kind == "emergency":
        outcome = desk.emergency_preview(actor=actor, reason=why)
    elif kind == "gradual":
        outcome = desk.orders.rollback_gradual(actor=actor, reason=why, dry_run=dry_run)
    else:
        outcome = desk.orders.rollback_part(Part(part), actor=actor, reason=why, dry_run=dry_run)
    tell(outcome)
    _publish(desk, outcome)
    return ending(outcome, dry_run=dry_run)


def _publish(desk: Desk, outcome: Outcome) -> None:
    publish(desk, Decided(outcome, None))

"""Start a rollout, approve its next step, pause it, or let it go on: what a person does in the Prefect UI."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from core.fallbacks import get_fallback_manager
from tasks.rollout.desk import Decided, open_desk
from tasks.rollout.endings import ending, who_runs
from tasks.rollout.plans import Approval, plan_of
from tasks.rollout.publishing import publish, tell

Action: TypeAlias = Literal["start", "approve", "pause", "resume"]
Share: TypeAlias = Annotated[float, Field(gt=0, lt=100)]
_MINUTE_S: Final = 60.0


@flow(name="steer-rollout", persist_result=False)
def steer_rollout(  # noqa: PLR0913 - the parameters of a flow are its run form
    *,
    action: Action,
    why: Annotated[str, Field(min_length=1, max_length=500)],
    who: Annotated[str, Field(max_length=100)] = "",
    dry_run: bool = False,
    percentages: Annotated[tuple[Share, ...], Field(min_length=1, max_length=20)] = (10, 25, 50),
    soak_minutes: Annotated[float, Field(ge=0, le=10_080)] = 60,
    min_samples: Annotated[int, Field(ge=1, le=10_000_000)] = 500,
    approval: Approval = "never",
    replace_old: bool = False,
    resume_at_step: Annotated[int | None, Field(ge=0, le=21)] = None,
) -> State[dict[str, Any]]:
    """Steer the rollout. What raises the percentage is advance-rollout alone; what lowers it at once is rollback.

    Args:
        action: start: begin at 0 %, with shadow runs. approve: say yes to the step that waits. pause: stay at this
            step. resume: go on after a pause, a rollback or an edit by hand, on new evidence.
        why: The reason, for the history.
        who: Your name, for the history; the run's by default.
        dry_run: Only say what would change.
        percentages: start: The shares of the sessions between nobody and everybody, rising. The ledger comes on with
            the second one.
        soak_minutes: start: How long each step lasts at least.
        min_samples: start: How many queries each arm must have answered at each step.
        approval: start: Before which steps a person must say yes: never, before full (100 %), or always.
        replace_old: start: Replace a rollout that is complete or rolled back.
        resume_at_step: resume: The step to go on at. Empty: where it stands, or the first step that serves anybody.

    Returns:
        What was done, as `redo rollout ... --json` prints it.

    Raises:
        ConfigError: the percentages do not rise.
        StoreError: the shared state does not answer.
    """
    desk, actor = open_desk(get_fallback_manager()), who_runs(who)
    if action == "start":
        plan = plan_of(
            percentages=percentages, soak_s=soak_minutes * _MINUTE_S, min_samples=min_samples, approval=approval
        )
        outcome = desk.orders.start(plan, actor=actor, reason=why, over_old=replace_old, dry_run=dry_run)
    elif action == "approve":
        outcome = desk.approve(actor=actor, reason=why, dry_run=dry_run)
    elif action == "pause":
        outcome = desk.orders.pause(actor=actor, reason=why, dry_run=dry_run)
    else:
        outcome = desk.orders.resume(step=resume_at_step, actor=actor, reason=why, dry_run=dry_run)
    tell(outcome)
    publish(desk, Decided(outcome, None))
    return ending(outcome, dry_run=dry_run)

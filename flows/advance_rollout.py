"""Look at the evidence and take one decision about the rollout: one step up, one down, or none."""

from __future__ import annotations

from typing import Annotated, Any, Final

from prefect import flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.states import Completed
from pydantic import Field

from core.fallbacks import get_fallback_manager
from core.rollout.reasons import Hold, HoldCode
from core.rollout.state import RolloutState, Status
from tasks.rollout.desk import open_desk
from tasks.rollout.endings import ending, who_runs
from tasks.rollout.evaluation import Limits
from tasks.rollout.publishing import publish, tell
from tasks.wiring import CLOCK

_APPROVE: Final = "approve-rollout/approve-rollout"


@flow(name="advance-rollout", persist_result=False)
def advance_rollout(
    *,
    dry_run: bool = False,
    limits: Limits = "production",
    why: Annotated[str, Field(max_length=500)] = "",
    who: Annotated[str, Field(max_length=100)] = "",
) -> State[dict[str, Any]]:
    """Evaluate the gates of the present step, and promote, hold, pause or step back. Each run takes one decision.

    The run is Failed where gates failed, with their names in its message. The artifacts are redo-gates and
    redo-rollout. Where a person must say yes first, it starts a run of approve-rollout, which waits for the answer, and
    goes on watching.

    Args:
        dry_run: Only say what would be decided. The gates are asked and their report is kept; nothing else changes.
        limits: The limits of the gates. demonstration is for a few dozen queries: no real rollout may rest on it.
        why: A reason to add to the history. The decision says by itself why it came out so.
        who: Your name, for the history; the run's by default.

    Returns:
        The decision, as `redo rollout advance --json` prints it.

    Raises:
        StoreError: the shared state does not answer; nothing was decided.
    """
    desk = open_desk(get_fallback_manager())
    decided = desk.advance(limits=limits, actor=who_runs(who), reason=why, dry_run=dry_run)
    outcome = decided.outcome
    is_idle = isinstance(outcome.decision, Hold) and outcome.decision.reasons[0].code is HoldCode.NOT_STARTED
    if is_idle:
        return Completed(name="No rollout", message="no rollout has been started; steer-rollout starts one")
    if not dry_run:
        tell(outcome, None if decided.stored is None else decided.stored.report)
        if outcome.state is not None and outcome.state.status is Status.AWAITING_APPROVAL:
            _ask_for_approval(outcome.state, limits)
    publish(desk, decided)
    return ending(outcome, dry_run=dry_run)


def _ask_for_approval(state: RolloutState, limits: Limits) -> None:
    """Start the run that waits for a person: one for each step of each attempt, a new one each day."""
    if state.is_approved:
        return
    try:
        run = run_deployment(
            _APPROVE,
            parameters={"attempt": state.attempt, "step": state.step, "limits": limits},
            timeout=0,
            as_subflow=False,
            idempotency_key=f"redo-approval-{state.attempt}-{state.step}-{CLOCK.utc_now():%Y%m%d}",
        )
    except ObjectNotFound:
        get_run_logger().warning("approve-rollout is not deployed: `redo rollout approve` says yes")
    except Exception as error:  # noqa: BLE001 - the decision stands, and there are other ways to say yes
        get_run_logger().warning(
            "nobody was asked: %s: %s; `redo rollout approve` says yes", type(error).__name__, error
        )
    else:
        name = run.name if isinstance(run, FlowRun) else _APPROVE
        get_run_logger().info("the run %s waits for a person's answer", name)

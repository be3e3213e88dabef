"""Wait for a person to approve the next step of the rollout, and go on with what they say."""

from __future__ import annotations

from typing import Annotated, Any, Final

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import Field

from core.fallbacks import get_fallback_manager
from core.rollout.gates import GateReport
from core.rollout.state import RolloutState, Status
from tasks.rollout.desk import Decided, Desk, open_desk
from tasks.rollout.endings import ending, is_bad, who_runs
from tasks.rollout.evaluation import Limits
from tasks.rollout.page import SIGNS
from tasks.rollout.publishing import publish, tell

_POLL_S: Final = 5
_HOUR_S: Final = 3600


class Answer(RunInput):
    """What a person says, in the form that the Resume button opens."""

    approve: bool = Field(default=False, title="Approve", description="On: the next step may begin. Off: it pauses.")
    why: str = Field(default="", title="Why", description="The reason, for the history.", max_length=500)
    who: str = Field(default="", title="Who", description="Your name, for the history.", max_length=100)


def _name_of_this_run() -> str:
    """Which step is asked about."""
    parameters = flow_run.parameters
    step, attempt = parameters.get("step"), parameters.get("attempt")
    return "approve-the-next-step" if step is None else f"approve-leaving-step-{step}-of-attempt-{attempt}"


@flow(name="approve-rollout", flow_run_name=_name_of_this_run, persist_result=False)
def approve_rollout(
    *,
    attempt: Annotated[int | None, Field(ge=1)] = None,
    step: Annotated[int | None, Field(ge=0)] = None,
    limits: Limits = "production",
    wait_hours: Annotated[float, Field(gt=0, le=168)] = 24,
) -> State[dict[str, Any]]:
    """Ask a person whether the rollout may go on. The run waits as Paused: Resume opens the form for the answer.

    After a yes the gates are asked once more: what was good when the run began may not be any more. A no pauses the
    rollout. A yes to a step or attempt that is over is refused. advance-rollout starts this by itself.

    Args:
        attempt: The attempt that is asked about. Empty: the present one.
        step: The step that is to be left. Empty: the present one.
        limits: The limits of the gates, as in advance-rollout.
        wait_hours: How long it waits for the answer.

    Returns:
        The decision after the answer, as `redo rollout advance --json` prints it.

    Raises:
        StoreError: the shared state does not answer.
    """
    desk = open_desk(get_fallback_manager())
    state = desk.orders.state()
    if state is None or state.status is not Status.AWAITING_APPROVAL or state.is_approved:
        return Completed(name="Nothing to approve", message="the rollout does not wait for an approval")
    asked = (state.attempt if attempt is None else attempt, state.step if step is None else step)
    stored = desk.reports.newest(step=state)
    question = Answer.with_initial_data(description=_question(state, None if stored is None else stored.report))
    try:
        answer = pause_flow_run(wait_for_input=question, timeout=round(wait_hours * _HOUR_S), poll_interval=_POLL_S)
    except FlowPauseTimeout:
        return Failed(name="No answer", message=f"nobody has answered within {wait_hours:g} h; the rollout still waits")
    who, why = who_runs(answer.who), answer.why.strip()
    if not answer.approve:
        declined = desk.orders.pause(actor=who, reason=f"not approved: {why}" if why else "not approved")
        tell(declined)
        return ending(declined)
    approved = desk.orders.approve(
        attempt=asked[0], step=asked[1], actor=who, reason=why or "approved in the Prefect UI"
    )
    tell(approved)
    if is_bad(approved):
        return ending(approved)
    get_run_logger().info("%s has approved: the gates are asked once more", who)
    return _go_on(desk, limits, who)


def _go_on(desk: Desk, limits: Limits, who: str) -> State[dict[str, Any]]:
    decided: Decided = desk.advance(limits=limits, actor=who)
    tell(decided.outcome, None if decided.stored is None else decided.stored.report)
    publish(desk, decided)
    return ending(decided.outcome)


def _question(state: RolloutState, report: GateReport | None) -> str:
    """What the person decides about, in Markdown."""
    above = state.at.name if state.next is None else state.next.name
    lines = [f"**May {above} begin?** The rollout is at {state.at.name}, attempt {state.attempt}.", ""]
    if report is None:
        return "\n".join([*lines, "The gates' report is not on this machine: see the artifact redo-gates."])
    arms = ", ".join(f"{arm} {count:,}" for arm, count in report.samples.items())
    lines += [f"Queries: {arms}. The gates say **{report.verdict.value}**:", ""]
    lines += [
        f"- {SIGNS[gate.counted]} {gate.name}: {'' if gate.value is None else f'{gate.value:.4g}, '}n {gate.n:,}"
        for gate in report.enforced
    ]
    return "\n".join(lines)

"""What a decision leaves in Prefect: artifacts for people, events for automations."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any, Final

from core.rollout.decision import Transition
from core.rollout.event import EventKind
from core.rollout.gates import GateReport
from core.rollout.orders import EmergencyOutcome, Outcome
from core.rollout.reasons import HoldCode
from core.rollout.verdict import Verdict
from tasks.events import EventName, emit
from tasks.rollout.chart import data_uri
from tasks.rollout.desk import Decided, Desk
from tasks.rollout.page import arms_svg, gate_rows, gates_caption, story
from tasks.rollout.words import sentence
from tasks.settings import prefect_api_url

_LOGGER: Final = logging.getLogger(__name__)
_ROLLOUT: Final = "rollout"
_NAMES: Final[Mapping[EventKind, EventName]] = {
    EventKind.STARTED: EventName.ROLLOUT_STARTED,
    EventKind.PROMOTED: EventName.ROLLOUT_PROMOTED,
    EventKind.COMPLETED: EventName.ROLLOUT_COMPLETED,
    EventKind.APPROVAL_REQUESTED: EventName.ROLLOUT_APPROVAL_WANTED,
    EventKind.APPROVED: EventName.ROLLOUT_APPROVED,
    EventKind.PAUSED: EventName.ROLLOUT_PAUSED,
    EventKind.HAND_EDITED: EventName.ROLLOUT_PAUSED,
    EventKind.SOAK_RESTARTED: EventName.ROLLOUT_HELD,
    EventKind.STEPPED_BACK: EventName.ROLLOUT_ROLLED_BACK,
    EventKind.ROLLBACK_BEGUN: EventName.ROLLOUT_ROLLED_BACK,
    EventKind.STEPPED_DOWN: EventName.ROLLOUT_ROLLED_BACK,
    EventKind.EMERGENCY: EventName.ROLLOUT_ROLLED_BACK,
    EventKind.PART_OFF: EventName.ROLLOUT_ROLLED_BACK,
    EventKind.RESUMED: EventName.ROLLOUT_RESUMED,
}
_QUIET: Final = frozenset({HoldCode.NOT_STARTED, HoldCode.COMPLETE, HoldCode.ALREADY, HoldCode.REFUSED})
"""Holds that nobody needs to be told of again and again."""


def publish(desk: Desk, decided: Decided) -> None:
    """Leave the artifacts of a decision: `redo-rollout`, and, where the gates were asked, `redo-gates`.

    The decision stands without them, so this never raises.
    """
    try:
        _publish(desk, decided)
    except Exception as error:  # noqa: BLE001 - pages for people
        _LOGGER.warning("no artifact was left: %s: %s", type(error).__name__, error)


def _publish(desk: Desk, decided: Decided) -> None:
    from prefect.artifacts import (  # noqa: PLC0415 - seconds, for whoever never publishes
        create_markdown_artifact,
        create_table_artifact,
    )

    outcome, stored, picture = decided.outcome, decided.stored, None
    state = outcome.state
    if stored is not None:
        report = stored.report
        create_table_artifact(key="redo-gates", table=gate_rows(report), description=gates_caption(report))
        if stored.arms is not None and state is not None:
            percentage = state.plan.steps[min(report.step, state.plan.last)].percentage
            picture = data_uri(arms_svg(report, stored.arms, percentage))
    reasons, _ = desk.why()
    docs = None if stored is None else str(desk.reports.docs(stored.report.report_id) / "index.html")
    create_markdown_artifact(
        key="redo-rollout",
        markdown=story(state, sentence(outcome), desk.history(50), reasons, docs=docs, picture=picture),
        description="Where the rollout stands, and why.",
    )


def tell(outcome: Outcome, report: GateReport | None = None) -> None:
    """Send the events of a decision: what became of the rollout, and of the gates where they were asked.

    Nothing is sent where no Prefect API is configured and no flow is running.
    """
    if prefect_api_url() is None and "prefect" not in sys.modules:
        return  # nobody listens, and Prefect takes seconds to import
    decision = outcome.decision
    if isinstance(decision, Transition):
        if not outcome.is_written:
            return
        _tell_gates(report)
        emit(_NAMES[decision.event.kind], _ROLLOUT, _payload(outcome, report))
        return
    _tell_gates(report)
    if not all(reason.code in _QUIET for reason in decision.reasons):
        emit(EventName.ROLLOUT_HELD, _ROLLOUT, _payload(outcome, report))


def tell_emergency(outcome: EmergencyOutcome) -> None:
    """Send the event of an emergency rollback, if Prefect can be reached. It never raises."""
    if outcome.outcome is not None:
        tell(outcome.outcome)


def _tell_gates(report: GateReport | None) -> None:
    if report is None:
        return
    known = {"report": report.report_id, "phase": report.phase.value, "step": report.step, "attempt": report.attempt}
    for result in report.of(Verdict.FAIL):
        emit(EventName.GATE_FAILED, f"gate/{result.name}", {**known, **result.to_dict()})
    if report.verdict is Verdict.PASS:
        emit(EventName.GATE_PASSED, "gate/all", {**known, "samples": dict(report.samples)})


def _payload(outcome: Outcome, report: GateReport | None) -> dict[str, Any]:
    state = outcome.state
    decision = outcome.decision
    payload: dict[str, Any] = {"said": sentence(outcome), "report": None if report is None else report.report_id}
    if isinstance(decision, Transition):
        event = decision.event
        payload |= {"event": event.kind.value, "actor": event.actor, "reason": event.reason, "number": event.number}
        payload["failed"] = [] if event.gate is None else list(event.gate.failed)
    else:
        payload["reasons"] = [reason.to_dict() for reason in decision.reasons]
    if state is not None:
        payload |= {"step": state.step, "attempt": state.attempt, "percentage": state.percentage}
    return payload

"""What a decision looks like in the Prefect UI: the gates as a table, both arms as a picture, the story in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from core.rollout.event import Event
from core.rollout.gates import GateReport, GateResult
from core.rollout.reasons import HoldReason
from core.rollout.state import RolloutState, Status
from core.rollout.verdict import Verdict
from tasks.rollout.arms import Arms
from tasks.rollout.chart import chart_svg

SIGNS: Final[Mapping[Verdict, str]] = {
    Verdict.PASS: "✓",
    Verdict.PENDING: "…",
    Verdict.INCONCLUSIVE: "?",
    Verdict.ERROR: "!",
    Verdict.FAIL: "✗",
}
_EVENTS: Final = 8


def gate_rows(report: GateReport) -> list[dict[str, Any]]:
    """The gates, a row each, the worst first."""
    worst_first = sorted(report.results, key=lambda result: (not result.is_enforced, -result.counted.severity))
    return [
        {
            "verdict": f"{SIGNS[result.counted]} {result.counted.value}" if result.is_enforced else "(observed)",
            "gate": result.name,
            "value": "" if result.value is None else f"{result.value:.4g}",
            "n": f"{result.n:,}",
            "threshold": result.threshold,
            "detail": result.detail if result.is_enforced else f"{result.counted.value}: {result.detail}",
            "if it fails": _consequence(result),
            "window": result.window,
        }
        for result in worst_first
    ]


def _consequence(result: GateResult) -> str:
    if not result.is_enforced:
        return "nothing"
    return "steps back" if result.kind.value == "guardrail" else "pauses"


def gates_caption(report: GateReport) -> str:
    """What the table is about, and how both arms are filled."""
    arms = ", ".join(f"{arm} {count:,}" for arm, count in report.samples.items())
    return (
        f"{SIGNS[report.verdict]} {report.verdict.value}: step {report.step} ({report.phase.value}), attempt "
        f"{report.attempt}. Queries: {arms}. Report {report.report_id}."
    )


def arms_svg(report: GateReport, arms: Arms, percentage: float) -> str:
    """Both arms as a picture."""
    return chart_svg(arms, f"Both arms at {report.phase.value} {percentage:g} %, attempt {report.attempt}")


def story(
    state: RolloutState | None,
    said: str,
    events: Sequence[Event],
    reasons: Sequence[HoldReason],
    *,
    docs: str | None,
    picture: str | None,
) -> str:
    """The decision, the plan with where the rollout stands, what happened before, and what is missing.

    Args:
        state: the rollout after the decision.
        said: the decision in a sentence.
        events: what happened, the newest first.
        reasons: why it does not rise.
        docs: where the Data Docs of the report are.
        picture: the picture of both arms, as an address that holds it.
    """
    if state is None:
        return f"## {_plain(said)}\n\nNo rollout has been started. `steer-rollout` starts one.\n"
    lines = [f"## {_plain(said[:1].upper() + said[1:])}", "", "| step | share | what | |", "|---:|---:|---|---|"]
    lines += [_step_row(state, number) for number in range(len(state.plan.steps))]
    if picture is not None:
        lines += ["", f"![How long the queries of both arms took, and how many broke]({picture})"]
    if reasons:
        lines += ["", "### Why it does not rise", ""]
        lines += [f"- {SIGNS[reason.verdict]} {_plain(reason.text)}" for reason in reasons]
    lines += ["", "### What happened", "", "| when (UTC) | what | why | who |", "|---|---|---|---|"]
    lines += [
        f"| {event.at:%Y-%m-%d %H:%M:%S} | {event.kind.value.replace('_', ' ')}, step {event.step} "
        f"| {_plain(event.reason)} | {_plain(event.actor)} |"
        for event in events[:_EVENTS]
    ]
    if docs is not None:
        lines += ["", f"Data Docs on the worker: `{docs}`"]
    return "\n".join(lines) + "\n"


def _step_row(state: RolloutState, number: int) -> str:
    step = state.plan.steps[number]
    notes = ["shadow runs"] if step.shadow else []
    notes += ["ledger on"] if step.ledger_enabled else []
    notes += ["needs approval"] if step.approval else []
    share = f"{step.percentage:g} %"
    if number == state.step:
        now = "rolled back by an emergency" if state.emergency else state.status.value.replace("_", " ")
        sign = "✓" if state.status is Status.COMPLETE else "◀"
        return f"| **{number}** | **{share}** | **{step.phase.value}** | {sign} {now}{_listed(notes)} |"
    passed = "passed" if number <= state.highest_passed and number < state.step else ""
    return f"| {number} | {share} | {step.phase.value} | {', '.join([*([passed] if passed else []), *notes])} |"


def _listed(notes: Sequence[str]) -> str:
    return f", {', '.join(notes)}" if notes else ""


def _plain(text: str) -> str:
    """What somebody typed, as text: nothing in it is taken for Markdown. Code stays code."""
    parts = " ".join(text.split()).split("`")
    escaped = (
        part
        if place % 2 and len(parts) % 2
        else "".join(f"\\{sign}" if sign in r"\*_{}[]#<>|~&" else sign for sign in part)
        for place, part in enumerate(parts)
    )
    return "`".join(escaped) if len(parts) % 2 else "'".join(escaped)

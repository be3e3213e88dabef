"""`redo rollout`: where the rollout stands, why it does not rise, what happened, and whether it succeeded."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from core.rollout.event import Event
from core.rollout.gates import GateReport
from core.rollout.reasons import HoldReason, duration_text
from core.rollout.state import RolloutState, Status
from core.rollout.verdict import Verdict
from deployments.cli.shared_state import Json, guard
from deployments.cli.terminal import OUT
from tasks.rollout.desk import Desk, open_desk
from tasks.rollout.evaluation import Limits

rollout_app = typer.Typer(no_args_is_help=True, help="The rollout: from nobody to everybody in steps, on evidence.")

STYLES: Final = {
    Verdict.PASS: "green",
    Verdict.PENDING: "cyan",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.ERROR: "red",
    Verdict.FAIL: "bold red",
}
_STATUS_STYLES: Final = {
    Status.RUNNING: "bold green",
    Status.AWAITING_APPROVAL: "bold cyan",
    Status.COMPLETE: "bold green",
    Status.PAUSED: "bold yellow",
    Status.ROLLING_BACK: "bold red",
    Status.ROLLED_BACK: "bold red",
}
_BAR: Final = 10

GateLimits = Annotated[
    Limits, typer.Option("--limits", help="Limits of the gates; demonstration is for a few dozen queries only.")
]


def desk() -> Desk:
    """The desk of this process, over the state that it is configured to share.

    Raises:
        ConfigError, FlagError: the environment has a setting or a flag that cannot be used.
    """
    return open_desk(guard())


@rollout_app.command()
def status(*, as_json: Json = False) -> None:
    """Say where the rollout stands, and what the gates said last."""
    place = desk()
    if as_json:
        print(json.dumps(place.status()))  # noqa: T201 - exactly this, whatever the terminal
        return
    state = place.orders.state()
    if state is None:
        OUT.print("No rollout has been started. `redo rollout start` starts one.")
        return
    OUT.print(headline(state))
    OUT.print()
    OUT.print(steps_table(state))
    stored = place.reports.newest(step=state)
    OUT.print()
    if stored is None:
        OUT.print(Text("no gate report of this step on this machine yet", "dim"))
    else:
        OUT.print(report_line(stored.report))
    event = state.event
    OUT.print(
        Text.assemble(
            ("last    ", "dim"),
            f"{event.kind.value.replace('_', ' ')} by {event.actor}: {event.reason or 'no reason given'}",
        )
    )
    OUT.print(Text("\nNext: `redo rollout why` says what is missing.", "dim"))


@rollout_app.command()
def why(
    *,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ask the gates now, which takes some seconds.")] = False,
    limits: GateLimits = "production",
    as_json: Json = False,
) -> None:
    """Say why it does not rise: every reason, every gate."""
    place = desk()
    if fresh:
        place.look(limits=limits)
    reasons, report = place.why()
    if as_json:
        print(json.dumps(why_as_dict(reasons, report)))  # noqa: T201 - exactly this, whatever the terminal
        return
    state = place.orders.state()
    if state is not None:
        OUT.print(headline(state))
        OUT.print()
    if not reasons:
        OUT.print(Text("Nothing is in the way: the next `redo rollout advance` goes on.", "green"))
    else:
        OUT.print(reasons_table(reasons))
    if report is not None:
        OUT.print()
        OUT.print(gates_table(report))
        OUT.print(report_line(report))
        docs = place.reports.docs(report.report_id) / "index.html"
        if docs.exists():
            OUT.print(Text.assemble(("pages   ", "dim"), str(docs)), soft_wrap=True)


@rollout_app.command()
def history(
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many changes of the flags are looked at.")] = 50,
    as_json: Json = False,
) -> None:
    """Show what happened, the newest first: who, when, why, on what."""
    events = desk().history(limit)
    if as_json:
        print(json.dumps([event_as_dict(event) for event in events]))  # noqa: T201 - as above
        return
    if not events:
        OUT.print("No rollout has been started.")
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("time (UTC)", no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column("at", no_wrap=True)
    table.add_column("who, why, on what", overflow="fold")
    for event in events:
        who = Text.assemble(event.actor, "\n", (event.reason or "no reason given", "dim"))
        if event.evidence:
            who.append("\n" + ", ".join(event.evidence), "dim")
        step = f"step {event.step}\nattempt {event.attempt}"
        time = f"{event.at:%Y-%m-%d}\n{event.at:%H:%M:%S}"
        table.add_row(time, Text(event.kind.value.replace("_", " "), _event_style(event)), step, who)
    OUT.print(table)


# --- how it looks -------------------------------------------------------------------------------------------------


def headline(state: RolloutState) -> Text:
    """The rollout in one line."""
    words = "rolled back by an emergency" if state.emergency else state.status.value.replace("_", " ")
    style = "bold red" if state.emergency else _STATUS_STYLES[state.status]
    line = Text.assemble((words, style), f" at {state.at.name}", (f"  attempt {state.attempt}", "dim"))
    for part in sorted(state.parts_off):
        line.append(f"  {part.value} taken out", "bold red")
    return line


def steps_table(state: RolloutState) -> Table:
    """The plan, with where the rollout is."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    table.add_column("", no_wrap=True)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("phase", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("soak", justify="right", no_wrap=True)
    table.add_column("samples", justify="right", no_wrap=True)
    table.add_column("with", overflow="fold")
    for number, step in enumerate(state.plan.steps):
        notes = ["shadow"] if step.shadow else []
        notes += ["ledger"] if step.ledger_enabled else []
        notes += ["approval"] if step.approval else []
        filled = round(step.percentage / 100 * _BAR)
        is_here = number == state.step
        table.add_row(
            Text(">", "bold") if is_here else Text("✓", "green") if number <= state.highest_passed else "",
            str(number),
            step.phase.value,
            f"{step.percentage:g} %",
            Text.assemble(("█" * filled, "green" if number <= state.step else "dim"), ("░" * (_BAR - filled), "dim")),
            duration_text(step.soak_s),
            f"{step.min_samples_per_arm:,}",
            ", ".join(notes),
            style="bold" if is_here else None,
        )
    return table


def reasons_table(reasons: tuple[HoldReason, ...]) -> Table:
    """Why it does not rise, the worst first."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("verdict", no_wrap=True)
    table.add_column("it does not rise, because", overflow="fold")
    for reason in reasons:
        table.add_row(Text(reason.verdict.value, STYLES[reason.verdict]), Text(reason.text))
    return table


def gates_table(report: GateReport) -> Table:
    """Every gate of a report; the verdicts of those that decide nothing are in brackets."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("gate", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("asked for", overflow="fold")
    for gate in report.results:
        table.add_row(
            Text(gate.name, "" if gate.is_enforced else "dim"),
            Text(gate.counted.value, STYLES[gate.counted])
            if gate.is_enforced
            else Text(f"({gate.counted.value})", "dim"),
            "" if gate.value is None else f"{gate.value:.3g}",
            f"{gate.n:,}",
            Text(gate.threshold, "" if gate.is_enforced else "dim"),
        )
        if gate.is_enforced and gate.counted is not Verdict.PASS and gate.detail:
            table.add_row("", "", "", "", Text(gate.detail, "dim"))
    return table


def report_line(report: GateReport) -> Text:
    """A report in a line or two."""
    arms = ", ".join(f"{arm} {count:,}" for arm, count in report.samples.items())
    return Text.assemble(
        ("gates   ", "dim"),
        (report.verdict.value, STYLES[report.verdict]),
        f"  {report.created_at:%Y-%m-%d %H:%M:%S} UTC, queries: {arms}\n",
        ("report  ", "dim"),
        report.report_id,
    )


def event_as_dict(event: Event) -> dict[str, Any]:
    """An event as JSON values; the plan it began with is in `redo rollout status`."""
    return {name: value for name, value in event.to_dict().items() if name != "plan"}


def why_as_dict(reasons: tuple[HoldReason, ...], report: GateReport | None) -> dict[str, Any]:
    """Why it does not rise, and the report that it goes by."""
    return {
        "is_ready": not reasons,
        "reasons": [reason.to_dict() for reason in reasons],
        "report": None if report is None else report.to_dict(),
    }


def _event_style(event: Event) -> str:
    if event.kind.value in {"stepped_back", "rollback_begun", "stepped_down", "emergency", "part_off"}:
        return "red"
    return "green" if event.kind.value in {"started", "promoted", "completed", "resumed", "approved"} else "yellow"

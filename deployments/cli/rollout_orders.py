"""`redo rollout start|approve|pause|resume|advance|rollback`: orders to the rollout, each with a dry run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from core.errors import ConfigError
from core.rollout.decision import Transition
from core.rollout.event import Part
from core.rollout.orders import EmergencyOutcome, Outcome
from core.rollout.plan import Plan
from core.rollout.reasons import Hold
from core.rollout.verdict import Verdict
from deployments.cli.rollout import (
    STYLES,
    GateLimits,
    desk,
    gates_table,
    headline,
    report_line,
    rollout_app,
    steps_table,
)
from deployments.cli.shared_state import Actor, Json
from deployments.cli.terminal import ERRORS, OUT
from tasks.rollout.plans import Approval, parse_duration_s, parse_percentages, plan_from_file, plan_of
from tasks.rollout.publishing import tell, tell_emergency
from tasks.rollout.words import emergency_as_dict, emergency_sentence, outcome_as_dict, sentence

rollback_app = typer.Typer(no_args_is_help=True, help="Take REDO back: all at once, step by step, or one component.")
rollout_app.add_typer(rollback_app, name="rollback")

Reason = Annotated[str, typer.Option("--reason", help="Why, for the history.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")]

_NO_REASON = "no reason given"


@rollout_app.command()
def start(  # noqa: PLR0913 - one parameter an option
    *,
    plan: Annotated[
        Path | None, typer.Option(help="TOML file with the steps; instead of the next five options.")
    ] = None,
    percentages: Annotated[str | None, typer.Option(help="Steps between 0 and 100 %.  [default: 10,25,50]")] = None,
    soak: Annotated[str | None, typer.Option(help="Least time of each step: 30m, 2h.  [default: 1h]")] = None,
    min_samples: Annotated[
        int | None, typer.Option(min=1, help="Least queries of each arm in each step.  [default: 500]")
    ] = None,
    approval: Annotated[
        Approval | None, typer.Option(help="Before which steps a person must say yes.  [default: never]")
    ] = None,
    rollback_soak: Annotated[
        str | None, typer.Option(help="Time of each step of a gradual rollback.  [default: 10m]")
    ] = None,
    over_old: Annotated[
        bool, typer.Option("--over-old", help="Replace a rollout that is complete or rolled back.")
    ] = False,
    reason: Reason = _NO_REASON,
    actor: Actor = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Begin a rollout: everything off, with shadow runs. It rises by `advance` alone."""
    given = {
        "percentages": None if percentages is None else parse_percentages(percentages),
        "soak_s": None if soak is None else parse_duration_s(soak),
        "min_samples": min_samples,
        "approval": approval,
        "rollback_soak_s": None if rollback_soak is None else parse_duration_s(rollback_soak),
    }
    outcome = desk().orders.start(_plan(plan, given), actor=actor, reason=reason, over_old=over_old, dry_run=dry_run)
    _show(outcome, dry_run=dry_run, as_json=as_json, with_plan=True)


@rollout_app.command()
def advance(
    *,
    limits: GateLimits = "production",
    reason: Reason = "",
    actor: Actor = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Ask the gates, and go one step up, down, or none. The deployment advance-rollout does this on a schedule."""
    place = desk()
    with ERRORS.status("asking the gates"):
        decided = place.advance(limits=limits, actor=actor, reason=reason, dry_run=dry_run)
    report = None if decided.stored is None else decided.stored.report
    if not dry_run:
        tell(decided.outcome, report)
    if as_json:
        told = outcome_as_dict(decided.outcome, dry_run=dry_run)
        print(json.dumps(told | {"report": None if report is None else report.to_dict()}))  # noqa: T201 - exactly this
        return
    _say(decided.outcome)
    if report is not None:
        OUT.print()
        OUT.print(gates_table(report))
        OUT.print(report_line(report))


@rollout_app.command()
def approve(
    *,
    attempt: Annotated[
        int | None, typer.Option(min=1, help="The attempt you have looked at.  [default: the present]")
    ] = None,
    step: Annotated[
        int | None, typer.Option(min=0, help="The step you have looked at.  [default: the present]")
    ] = None,
    reason: Reason = _NO_REASON,
    actor: Actor = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Say yes to the step that waits. The next `advance` goes on, if all is still well then."""
    outcome = desk().approve(attempt=attempt, step=step, actor=actor, reason=reason, dry_run=dry_run)
    _show(outcome, dry_run=dry_run, as_json=as_json)


@rollout_app.command()
def pause(*, reason: Reason = _NO_REASON, actor: Actor = None, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Stay at this step until `resume`. A guardrail that fails still steps back."""
    _show(desk().orders.pause(actor=actor, reason=reason, dry_run=dry_run), dry_run=dry_run, as_json=as_json)


@rollout_app.command()
def resume(
    *,
    step: Annotated[
        int | None, typer.Option(min=0, help="Where to go on, at most the highest step that passed.")
    ] = None,
    reason: Reason = _NO_REASON,
    actor: Actor = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Go on after a pause or rollback, on new evidence.

    Flags that were edited by hand are put back. An emergency ends.
    """
    outcome = desk().orders.resume(step=step, actor=actor, reason=reason, dry_run=dry_run)
    _show(outcome, dry_run=dry_run, as_json=as_json)


# --- down ---------------------------------------------------------------------------------------------------------


@rollback_app.command()
def emergency(
    *, reason: Reason = _NO_REASON, actor: Actor = None, dry_run: DryRun = False, as_json: Json = False
) -> None:
    """Everything off at once, for everybody, until `resume`. No gate is asked."""
    place = desk()
    if dry_run:
        _show(place.emergency_preview(actor=actor, reason=reason), dry_run=True, as_json=as_json)
        return
    outcome = place.orders.rollback_emergency(actor=actor, reason=reason)
    tell_emergency(outcome)
    if as_json:
        print(json.dumps(emergency_as_dict(outcome)))  # noqa: T201 - exactly this, whatever the terminal
    else:
        _show_emergency(outcome)
    if not outcome.is_complete:
        raise typer.Exit(1)


@rollback_app.command()
def gradual(
    *, reason: Reason = _NO_REASON, actor: Actor = None, dry_run: DryRun = False, as_json: Json = False
) -> None:
    """One step down now, and on, step by step, with each `advance`."""
    _show(desk().orders.rollback_gradual(actor=actor, reason=reason, dry_run=dry_run), dry_run=dry_run, as_json=as_json)


@rollback_app.command()
def component(
    part: Annotated[Part, typer.Argument(help="Which one is taken out.")],
    *,
    reason: Reason = _NO_REASON,
    actor: Actor = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Take the orchestrator or the ledger out, and leave the other as it is."""
    outcome = desk().orders.rollback_part(part, actor=actor, reason=reason, dry_run=dry_run)
    _show(outcome, dry_run=dry_run, as_json=as_json)


# --- how it looks -------------------------------------------------------------------------------------------------


def _plan(file: Path | None, given: Mapping[str, Any]) -> Plan:
    options = {name: value for name, value in given.items() if value is not None}
    if file is None:
        return plan_of(**options)
    if options:
        names = ", ".join(f"--{name.removesuffix('_s').replace('_', '-')}" for name in options)
        raise ConfigError(f"--plan {file} has all steps; leave out {names}")
    return plan_from_file(file)


def _show(outcome: Outcome, *, dry_run: bool, as_json: bool, with_plan: bool = False) -> None:
    """Tell Prefect, print, and leave with 1 where the order was refused."""
    tell(outcome)
    if as_json:
        print(json.dumps(outcome_as_dict(outcome, dry_run=dry_run)))  # noqa: T201 - exactly this, whatever the terminal
    else:
        _say(outcome)
        decision = outcome.decision
        if isinstance(decision, Transition):
            OUT.print(headline(decision.after))
            if with_plan:
                OUT.print()
                OUT.print(steps_table(decision.after))
        for breaker in outcome.breakers:
            OUT.print(Text.assemble(("breaker ", "dim"), breaker.removeprefix("breaker-"), ": its mode was changed"))
    if isinstance(outcome.decision, Hold) and outcome.decision.is_refusal:
        raise typer.Exit(1)


def _say(outcome: Outcome) -> None:
    decision = outcome.decision
    if isinstance(decision, Hold):
        OUT.print(Text(sentence(outcome), "red" if decision.is_refusal else STYLES[decision.verdict]))
        return
    is_bad = decision.event.gate is not None and decision.event.gate.verdict is Verdict.FAIL
    OUT.print(Text(sentence(outcome), "yellow" if not outcome.is_written else "bold red" if is_bad else "bold"))


def _show_emergency(outcome: EmergencyOutcome) -> None:
    OUT.print(Text(emergency_sentence(outcome), "bold green" if outcome.is_complete else "bold red"))
    rows = [("flags", outcome.is_off_everywhere, "off, the stored kill switch is on")]
    rows += [(name, name in outcome.forced_open, "forced open") for name in ("breaker-orchestrator", "breaker-ledger")]
    for name, is_reached, what in rows:
        said = Text(what, "green") if is_reached else Text(f"not reached: {outcome.errors.get(name, '')}", "red")
        OUT.print(Text.assemble((f"{name:<22}", "dim"), said))
    if outcome.kill_switch:
        OUT.print(Text.assemble((f"{'kill switch':<22}", "dim"), "on, for the processes of this REDO_HOME"))

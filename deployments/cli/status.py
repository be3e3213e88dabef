"""`redo status` and `redo reset`: whether REDO answers, and what would keep it from answering."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from rich import box
from rich.table import Table
from rich.text import Text

from core.flags import ROLLOUT_PERCENTAGE
from core.model import Reason
from deployments.cli.flags import UNKNOWN
from deployments.cli.shared_state import Actor, Json, Why, flag_table, guard, moment, shown, state_place, warn_if_stale
from deployments.cli.terminal import OUT

_BECAUSE: Final[Mapping[str, str]] = {
    Reason.KILL_SWITCH: "a kill switch is on",
    Reason.FLAG_OFF: "orchestrator.redo_enabled is off",
    Reason.NOT_IN_ROLLOUT: "the rollout is at 0 %",
    Reason.DATABASE_UNAVAILABLE: "the passage index or the shared state does not answer",
    Reason.SIMULATED: "a failure of the database is being simulated",
    Reason.UNHEALTHY: "the orchestrator does not pass its self-test",
    Reason.BREAKER_OPEN: "the orchestrator's breaker is open",
}


def status(*, as_json: Json = False) -> None:
    """Say whether REDO is active, and if not, why."""
    report: dict[str, Any] = guard().get_health_status()
    place = state_place()
    if as_json:
        print(json.dumps(report | {"state": place.as_dict()}))  # noqa: T201 - exactly this, whatever the terminal
        return
    OUT.print(_headline(report))
    OUT.print()
    OUT.print(_health(report))
    OUT.print()
    OUT.print(_breakers(report))
    OUT.print()
    sources = report["flag_sources"]
    OUT.print(flag_table((name, value, sources.get(name, UNKNOWN)) for name, value in report["flags"].items()))
    OUT.print()
    checked = "never" if report["last_check"] is None else moment(report["last_check"])
    OUT.print(Text.assemble(("last check  ", "dim"), checked))
    OUT.print(Text.assemble(("state       ", "dim"), str(place)), soft_wrap=True)  # a path in two lines is two paths
    warn_if_stale(report["stale_because"])


def reset(*, reason: Why = None, actor: Actor = None, as_json: Json = False) -> None:
    """Close the breakers and forget failures, for everybody.

    Findings of health checks and simulations end too. Flags and kill switches stay as they are.
    """
    manager = guard()
    before: dict[str, Any] = manager.get_health_status()
    manager.reset(actor=actor, reason=reason)
    after: dict[str, Any] = manager.get_health_status()
    if as_json:
        print(json.dumps({"before": before, "after": after}))  # noqa: T201 - exactly this, whatever the terminal
        return
    was = [
        f"{name} breaker was {before[key]['state'].replace('_', '-')}"
        for name, key in (("orchestrator", "circuit_breaker"), ("ledger", "ledger_circuit_breaker"))
        if before[key]["state"] != "closed"
    ]
    OUT.print(f"reset: {', '.join(was) or 'both breakers were closed'}")
    OUT.print(_headline(after))


def _headline(report: Mapping[str, Any]) -> Text:
    reason = report["reason"]
    if report["redo_active"]:
        share = shown(report["flags"][ROLLOUT_PERCENTAGE])
        return Text.assemble(("REDO is active", "bold green"), f": it answers {share} % of the keys ({reason})")
    names = f" ({', '.join(report['kill_switches'])})" if report["kill_switches"] else ""
    return Text.assemble(("REDO is not active", "bold yellow"), f": {_BECAUSE.get(reason, reason)}{names} ({reason})")


def _health(report: Mapping[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("component", no_wrap=True)
    table.add_column("health", no_wrap=True)
    table.add_column("last error", overflow="fold")
    errors = report["last_errors"]
    for name, parts in (
        ("orchestrator", ("orchestrator",)),
        ("database", ("index", "state")),
        ("ledger", ("ledger",)),
    ):
        is_healthy = report[f"{name}_healthy"]
        notes = [f"{moment(errors[part]['time'])}: {errors[part]['error']}" for part in parts if part in errors]
        if name == "database" and report["simulated_database_failure_until"]:
            notes.append(f"a failure is simulated until {moment(report['simulated_database_failure_until'])}")
        table.add_row(name, Text("good", "green") if is_healthy else Text("bad", "red"), Text("\n".join(notes)))
    return table


def _breakers(report: Mapping[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("breaker", "state", "mode"):
        table.add_column(name, no_wrap=True)
    table.add_column("failures in a row", justify="right")
    table.add_column("", overflow="fold")
    for name, prefix in (("orchestrator", ""), ("ledger", "ledger_")):
        breaker = report[f"{prefix}circuit_breaker"]
        state = breaker["state"]
        table.add_row(
            name,
            Text(state.replace("_", "-"), "" if state == "closed" else "red"),
            Text(breaker["mode"].replace("_", " "), "" if breaker["mode"] == "automatic" else "yellow"),
            str(report[f"{prefix}consecutive_failures"]),
            Text(_note(breaker)),
        )
    return table


def _note(breaker: Mapping[str, Any]) -> str:
    notes = []
    if breaker["state"] == "open":
        notes.append(f"tries again in {breaker['retry_after_s']:.0f} s")
    if breaker["probed_by"]:
        notes.append(f"{breaker['probed_by']} is trying")
    if breaker["mode_actor"]:
        notes.append(f"set by {breaker['mode_actor']}: {breaker['mode_reason'] or 'no reason given'}")
    return "; ".join(notes)

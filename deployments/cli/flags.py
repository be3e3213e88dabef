"""`redo flags`: read and set the flags that all processes share, and see who changed them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from core.errors import FlagError
from core.fallbacks import FlagView
from core.fallbacks.stored_time import stored_time
from core.flags import DEFINITIONS, FlagValue, ResolvedFlag, parse_flag_text
from core.state import Change
from deployments.cli.shared_state import Actor, Json, Why, flag_table, guard, moment, shown, warn_if_stale
from deployments.cli.terminal import ERRORS, OUT

flags_app = typer.Typer(no_args_is_help=True, help="The flags that all processes share, and who changed them.")

UNKNOWN: Final = "unknown: the shared state has not answered, so everything is off"
"""Where a flag comes from while nothing is known of the shared state."""

_UNSET: Final = "not set"
_WHO_WIDTH: Final = 23  # leaves 41 of 80 columns: the longest name of a flag, from not set to false


@flags_app.command("list")
def list_flags(*, as_json: Json = False) -> None:
    """List the flags in force, with sources and defaults."""
    manager = guard()
    stale_because = manager.get_health_status()["stale_because"]
    view = manager.flag_view()
    if as_json:
        report = flags_as_dict(view) | {"stale_because": stale_because}
        print(json.dumps(report))  # noqa: T201 - exactly this, whatever the terminal
        return
    OUT.print(flag_table(flag_rows(view), with_default=True))
    for key, flags in view.by_key.items():
        values = ", ".join(f"{name}={shown(value)}" for name, value in flags.as_dict().items())
        OUT.print(Text.assemble(("for ", "dim"), key, (": ", "dim"), values))
    warn_if_stale(stale_because)


@flags_app.command("set")
def set_flags(
    assignments: Annotated[list[str], typer.Argument(metavar="NAME=VALUE", help="Flags, with their new values.")],
    *,
    reason: Why = None,
    actor: Actor = None,
    as_json: Json = False,
) -> None:
    """Set flags for everybody: all of them in one step, or none."""
    values = parse_assignments(assignments)
    manager = guard()
    manager.flags.set(values, actor=actor, reason=reason)
    view = manager.flag_view()
    if as_json:
        print(json.dumps(flags_as_dict(view) | {"set": values}))  # noqa: T201 - as above
        return
    OUT.print(flag_table(flag_rows(view), with_default=True))
    for flag in view.resolved:
        if flag.name in values and flag.value != values[flag.name]:
            hidden = f"{flag.name}={shown(values[flag.name])} is stored, but this is stronger: {_origin(flag)}"
            ERRORS.print(Text(hidden, "yellow"))


@flags_app.command("history")
def show_history(
    *,
    limit: Annotated[int, typer.Option(min=1, help="How many changes, the newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """Show who changed the flags, when, why, and from what to what."""
    changes = guard().flags.history(limit)
    if as_json:
        print(json.dumps([_change_as_dict(change) for change in changes]))  # noqa: T201 - as above
        return
    if not changes:
        OUT.print("nobody has set a flag yet", style="dim")
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("time (UTC)", no_wrap=True)
    table.add_column("who, why", overflow="fold", max_width=_WHO_WIDTH)
    table.add_column("change", overflow="fold")
    for change in changes:
        day, clock, _ = moment(change.time.isoformat()).split()
        who = Text.assemble(change.actor, "\n", (change.reason, "dim"))
        table.add_row(f"{day}\n{clock}", who, Text("\n".join(differences(change))))
    OUT.print(table)


def parse_assignments(assignments: list[str]) -> dict[str, FlagValue]:
    """Read `NAME=VALUE` texts.

    Raises:
        FlagError: one is no such text, names no flag or one that was named before, or its flag cannot take the value.
    """
    values: dict[str, FlagValue] = {}
    for text in assignments:
        name, separator, value = text.partition("=")
        if not separator:
            raise FlagError(f"{text!r}: expected NAME=VALUE")
        if name in values:
            raise FlagError(f"flag {name!r}: given twice")
        values[name] = parse_flag_text(name, value)
    return values


def differences(change: Change) -> list[str]:
    """What a change changed, a line for each flag: `rollout_percentage 10 -> 25`."""
    before = change.before or {}
    names = [*before, *(name for name in change.after if name not in before)]
    return [
        f"{name} {_side(before.get(name))} -> {_side(change.after.get(name))}"
        for name in names
        if before.get(name) != change.after.get(name)
    ]


def _side(value: object) -> str:
    if value is None:
        return _UNSET
    if isinstance(value, list):
        return ", ".join(map(_override, value)) or "none"
    return shown(value)


def _override(record: object) -> str:
    """An override in words; what somebody has written there by hand as it is."""
    if not isinstance(record, Mapping):
        return str(record)
    whom = record.get("key") or "everybody"
    expires_at = stored_time(record.get("expires_at"))
    until = record.get("expires_at") if expires_at is None else moment(expires_at.isoformat())
    return f"{record.get('flag')}={shown(record.get('value'))} for {whom} until {until}"


def flag_rows(view: FlagView) -> list[tuple[str, FlagValue, str]]:
    """Name, value and source of each flag in force, for people."""
    if not view.resolved:
        return [(name, value, UNKNOWN) for name, value in view.flags.as_dict().items()]
    return [(flag.name, flag.value, _origin(flag)) for flag in view.resolved]


def _origin(flag: ResolvedFlag) -> str:
    return f"{flag.source.value.replace('_', ' ')} {flag.detail}".strip()


def flags_as_dict(view: FlagView) -> dict[str, Any]:
    """The flags in force as JSON has them: each with its source, those that single keys have, and the kill switches."""
    sources = {flag.name: flag for flag in view.resolved}
    return {
        "flags": {
            name: {
                "value": value,
                "source": sources[name].source.value if name in sources else "unknown",
                "detail": sources[name].detail if name in sources else "",
                "default": DEFINITIONS[name].default,
                "description": DEFINITIONS[name].description,
            }
            for name, value in view.flags.as_dict().items()
        },
        "by_key": {key: flags.as_dict() for key, flags in view.by_key.items()},
        "kill_switches": list(view.killed),
    }


def _change_as_dict(change: Change) -> dict[str, Any]:
    return {
        "version": change.version,
        "time": change.time.isoformat(),
        "actor": change.actor,
        "reason": change.reason,
        "before": change.before,
        "after": change.after,
    }

"""`redo config`: what this process is configured to do, and where each value comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from deployments.cli.flags import flag_rows, flags_as_dict
from deployments.cli.shared_state import (
    HIDDEN,
    Json,
    flag_table,
    guard,
    shown,
    state_place,
    warn_if_stale,
    without_password,
)
from deployments.cli.terminal import OUT
from tasks.settings import Settings, load_settings


def config(*, as_json: Json = False) -> None:
    """Show the settings, the flags, and where the state is."""
    settings, place = settings_as_dict(load_settings()), state_place()
    manager = guard()
    stale_because = manager.get_health_status()["stale_because"]
    view = manager.flag_view()
    if as_json:
        report = {"settings": settings, **flags_as_dict(view), "state": place.as_dict(), "stale_because": stale_because}
        print(json.dumps(report))  # noqa: T201 - exactly this, whatever the terminal
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("variable", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("from", no_wrap=True)
    for variable, setting in settings.items():
        value = "not set" if setting["value"] is None else shown(setting["value"])
        origin = Text("default", "dim") if setting["is_default"] else Text("environment")
        table.add_row(variable, Text(value), origin)
    OUT.print(table)
    OUT.print()
    OUT.print(flag_table(flag_rows(view), with_default=True))
    OUT.print()
    OUT.print(Text.assemble(("state  ", "dim"), str(place)), soft_wrap=True)
    warn_if_stale(stale_because)


def settings_as_dict(settings: Settings) -> dict[str, dict[str, Any]]:
    """Every setting by its variable: the value in force, its default, whether that is it, and what the setting is.

    Secrets are hidden. A place is shown as the absolute path that it stands for.
    """
    in_force = {"home": str(settings.home_folder), "ledger_uri": settings.ledger}
    report: dict[str, dict[str, Any]] = {}
    for name, field in Settings.model_fields.items():
        value = in_force.get(name, getattr(settings, name))
        is_secret = field.repr is False
        report[str(field.alias)] = {
            "value": HIDDEN if is_secret and value is not None else _plain(value),
            "default": _plain(field.default),
            "is_default": name not in settings.model_fields_set,
            "description": field.description,
        }
    return report


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    return without_password(value) if isinstance(value, str) and "://" in value else value

"""`redo deploy`: register the deployments and automations with the Prefect server that is configured."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from core.errors import ConfigError
from deployments.cli.children import showing_the_tail
from deployments.cli.shared_state import Json, without_password
from deployments.cli.terminal import ERRORS, OUT
from tasks.settings import prefect_api_url, prepare_prefect_environment

if TYPE_CHECKING:
    from deployments.cli.deployed import Deployed, DeployReport

BATCH_FILES: Final = ("REDO_QUERIES", "REDO_PASSAGES")
"""The files that the scheduled run-batch works on; prefect.yaml reads them when it is deployed."""


def deploy(
    *,
    file: Annotated[Path | None, typer.Option(metavar="PATH", help="The deployments. Default: prefect.yaml.")] = None,
    notify: Annotated[
        str | None,
        typer.Option(metavar="TYPE/NAME", help="Notification block for the automations, as slack-webhook/redo."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Register deployments and automations with the Prefect server; what was toggled in its UI is kept."""
    api_url = prefect_api_url()
    if api_url is None:
        raise ConfigError("no Prefect server is configured: set PREFECT_API_URL, or use `redo up`, which starts one")
    prepare_prefect_environment(PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL="CRITICAL")
    from deployments.cli.deployed import deploy_all, prefect_file  # noqa: PLC0415 - Prefect takes seconds to import

    place = prefect_file(file)
    with showing_the_tail(), ERRORS.status(f"deploying to {without_password(api_url)}"):
        report = deploy_all(
            place,
            api_url=api_url,
            variables=batch_files(),
            notify=notify,
            off_at_first=() if batch_files()[BATCH_FILES[0]] else ("run-batch",),
        )
    if as_json:
        print(json.dumps(report.as_dict()))  # noqa: T201 - exactly this, whatever the terminal
        return
    show_deployments(report)
    if not batch_files()[BATCH_FILES[0]]:
        ERRORS.print("REDO_QUERIES is not set: the scheduled run-batch has no batch to run", style="yellow")


def batch_files(defaults: Mapping[str, Path] | None = None) -> dict[str, str]:
    """The files of the scheduled batch: those of the environment, else the defaults; empty where there are none."""
    known = defaults or {}
    return {name: os.environ.get(name) or str(known.get(name, "")) for name in BATCH_FILES}


def show_deployments(report: DeployReport, *, console: Console = OUT) -> None:
    """Print what was registered."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("deployment", no_wrap=True)
    table.add_column("schedule", no_wrap=True)
    table.add_column("", no_wrap=True, style="dim")
    for item in report.deployments:
        table.add_row(item.name, _schedule(item), "new" if item.is_new else "")
    console.print(table)
    kept = ", ".join(f"{name.removeprefix('REDO: ')} ({what})" for name, what in report.automations.items())
    console.print(Text.assemble(("automations  ", "dim"), kept))


def _schedule(item: Deployed) -> Text:
    if not item.schedules:
        return Text("on demand", "dim")
    if item.paused:
        return Text("paused", "yellow")
    return Text(", ".join(slug if is_on else f"{slug} (off)" for slug, is_on in item.schedules.items()))

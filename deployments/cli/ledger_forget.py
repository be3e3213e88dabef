"""`redo ledger forget`: a person's content out of the ledger."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from core.errors import InputError
from deployments.cli.ledger import Json, Ledger, ledger_app
from deployments.cli.ledger_upkeep import DryRun
from deployments.cli.terminal import ERRORS, OUT
from tasks.settings import load_settings, prepare_prefect_environment


@ledger_app.command()
def forget(
    *,
    user: Annotated[list[str] | None, typer.Option(help="A user's id; may be given several times.")] = None,
    session: Annotated[list[str] | None, typer.Option(help="A session's id; likewise.")] = None,
    ledger: Ledger = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Remove a person's content from the ledger and keep the audit: ids, scores and decisions stay.

    What waits in the spool of this machine is delivered first. Exit code 1 where content may be left.
    """
    if not user and not session:
        raise InputError("forget whom? --user or --session")
    prepare_prefect_environment(PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL="CRITICAL")
    from ledger.forget import forget as forget_rows  # noqa: PLC0415 - PyArrow takes a second to import
    from tasks.upkeep import person_hashes, ready_store  # noqa: PLC0415
    from tasks.wiring import CLOCK, trace_spool  # noqa: PLC0415

    store = ready_store(ledger)
    hashes = person_hashes(user or [], session or [])
    if not dry_run:
        _deliver()
    report = forget_rows(store, hashes, clock=CLOCK, dry_run=dry_run)
    spool = trace_spool(load_settings())
    waiting, aside = spool.usage().entries, len(spool.quarantined())
    if as_json:
        record = {"ledger": store.uri, **asdict(report), "waiting": waiting, "quarantined": aside}
        print(json.dumps(record))  # noqa: T201 - exactly this, whatever the terminal
    else:
        words = "would lose" if dry_run else "lost"
        OUT.print(f"{report.rows:,} rows {words} their content, in {len(report.objects):,} objects")
        OUT.print(f"{len(report.removed):,} objects {'would be' if dry_run else 'were'} removed")
        OUT.print(Text("Runs' folders in REDO_HOME keep their inputs and outputs; remove those by hand.", "dim"))
    for text in report.damaged:
        ERRORS.print(Text(f"content may be left: {text}", "red"), soft_wrap=True)
    if waiting:
        later = f"{waiting:,} entries wait in {spool.folder}: run this again when they are delivered"
        ERRORS.print(Text(f"{later}, or let maintain-ledger take the content out", "yellow"), soft_wrap=True)
    if aside:
        ERRORS.print(
            Text(f"content may be left in {spool.folder}/quarantine: {aside:,} entries", "yellow"), soft_wrap=True
        )
    if report.damaged:
        raise typer.Exit(1)


def _deliver() -> None:
    from tasks.delivery import deliver_waiting  # noqa: PLC0415 - as above
    from tasks.wiring import metrics_recorder  # noqa: PLC0415

    deliver_waiting(probe=True)
    metrics_recorder().flush()

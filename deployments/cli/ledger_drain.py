"""`redo ledger drain`: send what waits for the ledger now, and say what is left."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import typer
from rich.text import Text

from deployments.cli.ledger import Json, ledger_app
from deployments.cli.shared_state import moment
from deployments.cli.terminal import OUT
from tasks.settings import load_settings, prepare_prefect_environment


@ledger_app.command()
def drain(*, as_json: Json = False) -> None:
    """Send the traces that wait in the spool, though the ledger may have failed a moment ago.

    Exit code 1 where some still wait.
    """
    prepare_prefect_environment(PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL="CRITICAL")
    from tasks.delivery import deliver_waiting  # noqa: PLC0415 - PyArrow takes a second to import
    from tasks.wiring import metrics_recorder, trace_spool  # noqa: PLC0415

    spool = trace_spool(load_settings())
    sent = deliver_waiting(probe=True)
    metrics_recorder().flush()
    left, aside = spool.usage(), spool.quarantined()
    oldest = None if left.oldest_us is None else datetime.fromtimestamp(left.oldest_us / 1e6, UTC).isoformat()
    report: dict[str, Any] = {
        "spool": str(spool.folder),
        "delivered": {"rows": sent.rows, "objects": [asdict(item) for item in sent.delivered]},
        "waiting": {"entries": left.entries, "bytes": left.bytes, "oldest": oldest},
        "quarantined": [asdict(item) for item in aside],
        "errors": list(sent.errors),
    }
    if as_json:
        print(json.dumps(report))  # noqa: T201 - exactly this, whatever the terminal
    else:
        _show(report)
    if left.entries:
        raise typer.Exit(1)


def _show(report: dict[str, Any]) -> None:
    """Print what was done and what is left, for people."""
    delivered, waiting, aside = report["delivered"], report["waiting"], report["quarantined"]
    objects = len(delivered["objects"])
    if objects:
        OUT.print(Text(f"delivered {_counted(delivered['rows'], 'trace')} in {_counted(objects, 'object')}", "green"))
    elif not waiting["entries"]:
        OUT.print("nothing waits for the ledger")
    if waiting["entries"]:
        size = f"{waiting['bytes'] / 1e6:,.1f} MB"
        since = f"since {moment(waiting['oldest'])}"
        OUT.print(Text(f"still waiting: {_counted(waiting['entries'], 'file')}, {size}, {since}", "yellow"))
    for error in report["errors"]:
        OUT.print(Text(f"because {error}", "yellow"), soft_wrap=True)
    for item in aside:
        style = "dim" if item["kind"] == "another_attempt" else "red"
        OUT.print(Text(f"in quarantine: {_counted(item['rows'], 'trace')}, {item['reason']}", style), soft_wrap=True)
    if waiting["entries"] or aside:
        OUT.print(Text(f"spool  {report['spool']}", "dim"), soft_wrap=True)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"

"""`redo ledger`: questions to the ledger."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from deployments.cli.ledger_options import Json, Ledger, Since, day
from deployments.cli.ledger_reports import attach, conflicts, diff, summary, warn_of_missing
from deployments.cli.terminal import ERRORS, show_table
from deployments.cli.trace_view import show_trace
from tasks.settings import load_settings

__all__ = ["Json", "Ledger", "Since", "day", "ledger_app", "show_trace"]

ledger_app = typer.Typer(no_args_is_help=True, help="Questions to the ledger, where every decision is recorded.")


@ledger_app.command()
def query(
    sql: Annotated[
        str, typer.Argument(help="One SELECT over traces, documents, conflicts, stages, decisions, manifests.")
    ],
    *,
    ledger: Ledger = None,
    since: Since = None,
    uncommitted: Annotated[
        bool, typer.Option("--uncommitted", help="Show also rows whose writer has not committed them, or never will.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run SQL over the ledger, by DuckDB; it can only read, and reads nothing else."""
    from ledger.query import run_query  # noqa: PLC0415 - DuckDB and PyArrow take a second to import

    answer = run_query(ledger or load_settings().ledger, sql, uncommitted=uncommitted, since=day(since))
    warn_of_missing(len(answer.missing))
    if as_json:
        print(json.dumps(answer.records()))  # noqa: T201 - exactly this, whatever the terminal
        return
    show_table(answer.columns, answer.rows)
    if answer.truncated:
        ERRORS.print(f"only the first {len(answer.rows):,} rows are shown; add a limit or aggregate", style="yellow")


@ledger_app.command()
def show(
    trace_id: Annotated[str, typer.Argument(help="A trace id, the beginning of one, or a query id.")],
    *,
    ledger: Ledger = None,
    as_json: Json = False,
) -> None:
    """Show what happened to one query, and why: stages, evidence, what was left out, and who contradicts whom."""
    from ledger.query import find_trace  # noqa: PLC0415 - as above

    trace = find_trace(ledger or load_settings().ledger, trace_id)
    if as_json:
        print(json.dumps(trace))  # noqa: T201 - as above
        return
    show_trace(trace)


ledger_app.command()(summary)
ledger_app.command()(conflicts)
ledger_app.command()(diff)
ledger_app.command()(attach)

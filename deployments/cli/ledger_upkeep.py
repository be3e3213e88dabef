"""`redo ledger compact | gc | verify | doctor`: the ledger's upkeep by hand; the flow maintain_ledger does it too."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from deployments.cli.ledger import Json, Ledger, ledger_app
from deployments.cli.terminal import OUT

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]

_SHOWN = 10


@ledger_app.command()
def compact(
    *,
    before: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Only days before this one. Default: all that are over."),
    ] = None,
    ledger: Ledger = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Write the days that are over into few large objects; readers see each row once all the time.

    What was replaced stays for readers that are at it, until `redo ledger gc` removes it. Exit code 1 where an object
    is damaged; it is left alone.
    """
    from ledger.compact import compact as compact_days  # noqa: PLC0415 - PyArrow takes a second to import
    from tasks.upkeep import compacted, ready_store  # noqa: PLC0415
    from tasks.wiring import CLOCK  # noqa: PLC0415

    store = ready_store(ledger)
    report = compact_days(store, clock=CLOCK, before=None if before is None else before.date(), dry_run=dry_run)
    damaged = [text for day in report.days for text in day.damaged]
    if as_json:
        _print({"ledger": store.uri, **asdict(report)})
    else:
        if report.days:
            table = _table("day", "objects", "", "MB", "", "rows", "doubles")
            for day in report.days:
                after = ("", "") if day.objects_after is None else (f"-> {day.objects_after:,}", _mb(day.bytes_after))
                rows = "" if day.rows is None else f"{day.rows:,}"
                objects = f"{day.objects_before:,}"
                table.add_row(day.day, objects, after[0], _mb(day.bytes_before), after[1], rows, f"{day.doubles:,}")
            OUT.print(table)
        OUT.print(f"{'would compact ' if dry_run and report.days else ''}{_in_future(compacted(report), dry_run)}")
        _show_problems("left alone", damaged)
    if damaged:
        raise typer.Exit(1)


@ledger_app.command()
def gc(
    *,
    grace_hours: Annotated[
        float, typer.Option(min=0, help="What was replaced stays so many hours, for readers that are at it.")
    ] = 24,
    ledger: Ledger = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Remove what counts no more: replaced objects, their manifests, orphans, old checkpoints."""
    from ledger.garbage import collect  # noqa: PLC0415 - as above
    from tasks.upkeep import ready_store  # noqa: PLC0415
    from tasks.wiring import CLOCK  # noqa: PLC0415

    store = ready_store(ledger)
    report = collect(store, clock=CLOCK, grace=timedelta(hours=grace_hours), dry_run=dry_run)
    if as_json:
        _print({"ledger": store.uri, **asdict(report)})
        return
    table = _table("what", "would go" if dry_run else "removed")
    for name in ("objects", "manifests", "orphans", "checkpoints", "probes"):
        table.add_row(name, f"{len(getattr(report, name)):,}")
    table.add_row("MB", _mb(report.bytes))
    table.add_row("younger than the grace", f"{report.waiting:,}")
    OUT.print(table)


@ledger_app.command()
def verify(
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Look for objects and walk the chains; read no object.")
    ] = False,
    ledger: Ledger = None,
    as_json: Json = False,
) -> None:
    """Check that the ledger is what was written: every object, every manifest, both kinds of chain.

    Names what is tampered with, missing or unexpected. Exit code 1 where anything is wrong.
    """
    from ledger.verify import verify as look  # noqa: PLC0415 - as above
    from tasks.upkeep import ready_store, verified  # noqa: PLC0415
    from tasks.wiring import CLOCK  # noqa: PLC0415

    store = ready_store(ledger)
    report = look(store, clock=CLOCK, deep=not quick)
    if as_json:
        _print({"ledger": store.uri, "clean": report.is_clean, **asdict(report)})
    else:
        for found in report.findings:
            style = "bold red" if found.is_error else "yellow"
            OUT.print(Text.assemble((f"{found.problem.value}  ", style), found.key), soft_wrap=True)
            OUT.print(Text(f"    {found.text}"))
        words = ("clean: ", "bold green") if report.is_clean else ("not clean: ", "bold red")
        OUT.print(Text.assemble(words, verified(report)))
    if not report.is_clean:
        raise typer.Exit(1)


@ledger_app.command()
def doctor(*, ledger: Ledger = None, as_json: Json = False) -> None:
    """Try whether the store keeps the promises that the ledger is built on, and remove what was tried.

    Exit code 1 where one is not kept.
    """
    from ledger.doctor import examine  # noqa: PLC0415 - as above
    from tasks.upkeep import upkeep_store  # noqa: PLC0415
    from tasks.wiring import CLOCK  # noqa: PLC0415

    diagnosis = examine(upkeep_store(ledger), clock=CLOCK)
    if as_json:
        _print({"ledger": diagnosis.uri, "well": diagnosis.is_well, "checks": [asdict(c) for c in diagnosis.checks]})
    else:
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for check in diagnosis.checks:
            mark = {True: Text("ok", "green"), False: Text("WRONG", "bold red"), None: Text("-", "dim")}[check.ok]
            table.add_row(mark, check.name, Text(check.detail))
        OUT.print(table)
        OUT.print(Text(diagnosis.uri, "dim"), soft_wrap=True)
    if not diagnosis.is_well:
        raise typer.Exit(1)


def _print(record: dict[str, object]) -> None:
    print(json.dumps(record))  # noqa: T201 - exactly this, whatever the terminal


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left", no_wrap=True)
    return table


def _mb(size: int | None) -> str:
    return "" if size is None else f"{size / 1e6:,.1f}"


def _in_future(text: str, dry_run: bool) -> str:  # noqa: FBT001 - one option passed on
    return text.partition(" became ")[0] if dry_run else text


def _show_problems(what: str, problems: list[str]) -> None:
    for problem in problems[:_SHOWN]:
        OUT.print(Text(f"{what}: {problem}", "red"), soft_wrap=True)
    if len(problems) > _SHOWN:
        OUT.print(Text(f"and {len(problems) - _SHOWN:,} more", "red"))

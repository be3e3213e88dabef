"""`redo ledger summary`, `conflicts`, `diff` and `attach`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from core.clock import SystemClock
from deployments.cli.ledger_options import Json, Ledger, Since, day
from deployments.cli.terminal import ERRORS, OUT
from deployments.cli.trace_view import conflict_table
from tasks.settings import load_settings

_ID_CHARS = 12


def summary(*, ledger: Ledger = None, since: Since = None, as_json: Json = False) -> None:
    """Say what is in the ledger: decisions, latency by version, whether anything is missing, and what still waits."""
    from ledger.summary import summarize  # noqa: PLC0415 - DuckDB and PyArrow take a second to import
    from tasks.wiring import trace_spool  # noqa: PLC0415 - as above

    settings = load_settings()
    found = asdict(summarize(ledger or settings.ledger, since=day(since), spool=trace_spool(settings)))
    if as_json:
        print(json.dumps(found))  # noqa: T201 - exactly this, whatever the terminal
        return
    show_summary(found)


def conflicts(
    *,
    kind: Annotated[
        str | None, typer.Option(help="Kind of the examples: numeric, date, entity, polarity or ambiguity.")
    ] = None,
    examples: Annotated[int, typer.Option(min=0, help="How many examples to show.")] = 3,
    sources: Annotated[int, typer.Option(min=0, help="How many sources to list.")] = 10,
    ledger: Ledger = None,
    since: Since = None,
    as_json: Json = False,
) -> None:
    """Say who contradicts whom: disputes by kind, the sources that lose them, and examples with both sentences."""
    from ledger.reports import report_conflicts  # noqa: PLC0415 - as above

    place = ledger or load_settings().ledger
    report = report_conflicts(place, kind=kind, sources=sources, examples=examples, since=day(since))
    if as_json:
        print(json.dumps(asdict(report)))  # noqa: T201 - as above
        return
    if not report.kinds:
        OUT.print("no conflict in the ledger")
        return
    OUT.print(_table(report.kinds))
    if report.sources:
        OUT.print(_table(report.sources, title="sources, by contradictions lost"))
    for example in report.examples:
        OUT.print(Text.assemble(("trace ", "dim"), str(example["trace_id"])[:_ID_CHARS], f"  {example['query_id']}"))
        OUT.print(conflict_table(example))
        OUT.print()


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A batch id, a code version, or 6 digits of a config digest.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The other one.")],
    *,
    limit: Annotated[int, typer.Option(min=0, help="How many changed queries to list.")] = 10,
    ledger: Ledger = None,
    since: Since = None,
    as_json: Json = False,
) -> None:
    """Compare two batches or versions: decisions, latency, and each query whose selection changed."""
    from ledger.reports import report_diff  # noqa: PLC0415 - as above

    report = report_diff(ledger or load_settings().ledger, a, b, limit=limit, since=day(since))
    if as_json:
        print(json.dumps(asdict(report)))  # noqa: T201 - as above
        return
    OUT.print(_measures(report.measures))
    churn = report.churn
    OUT.print(_churn(churn))
    if churn["queries"]:
        OUT.print(_table(report.decisions))
    for changed in report.changed:
        OUT.print(_changed(changed))


def attach(
    path: Annotated[Path, typer.Argument(help="The DuckDB file to write, as ledger.duckdb.")],
    *,
    ledger: Ledger = None,
    as_json: Json = False,
) -> None:
    """Write a DuckDB file with the ledger's views, for any DuckDB client; run it again to see what came later."""
    from ledger.attach import attach as write  # noqa: PLC0415 - as above

    written = write(ledger or load_settings().ledger, path, now=SystemClock().utc_now())
    warn_of_missing(len(written.missing))
    if as_json:
        print(json.dumps(asdict(written)))  # noqa: T201 - as above
        return
    OUT.print(Text(f"{written.path}: the views of {written.objects:,} objects, as of now"), soft_wrap=True)
    if written.how_to_open:
        OUT.print("The file holds no key. A client that has AWS_* in its environment runs first:", style="dim")
        OUT.print(Text(written.how_to_open, "cyan"), soft_wrap=True)


def warn_of_missing(objects: int) -> None:
    """Say that rows are missing where committed objects are not there."""
    if objects:
        words = "1 committed object is" if objects == 1 else f"{objects:,} committed objects are"
        ERRORS.print(f"{words} missing in the store, with all rows: redo ledger verify names what", style="bold red")


def show_summary(found: Mapping[str, Any]) -> None:
    """Print the numbers of a ledger, for people."""
    rows, objects, kept = found["rows"], found["objects"], found["kept"]
    OUT.print(Text.assemble(("ledger  ", "dim"), found["ledger"]), soft_wrap=True)
    OUT.print()
    OUT.print(_complete(found))
    OUT.print(_places(rows, objects, kept))
    OUT.print(_spool(found["spool"]))
    if found["decisions"]:
        OUT.print()
        shares = [{**record, "share": f"{100 * record['share']:.1f} %"} for record in found["decisions"]]
        OUT.print(_table(shares))
        OUT.print(_latency(found["latency"]))


def _complete(found: Mapping[str, Any]) -> Text:
    rows, objects = found["rows"], found["objects"]
    if rows["complete"]:
        return Text.assemble(("complete", "bold green"), f": {rows['traces']:,} traces, every committed row is there")
    wrong = [f"{objects['missing']:,} objects with {rows['missing']:,} rows are gone"] if objects["missing"] else []
    if rows["stored"] != rows["committed"]:
        wrong.append(f"{rows['stored']:,} rows where {rows['committed']:,} were committed")
    absent = sum(gap["absent"] for gap in found["gaps"])
    if absent:
        named = ", ".join(str(gap["batch_id"]) for gap in found["gaps"][:3])
        more = ", ..." if len(found["gaps"]) > 3 else ""  # noqa: PLR2004 - as many as are named
        wrong.append(f"{absent:,} chunks have not arrived ({named}{more})")
    return Text.assemble(("not complete", "bold red"), f": {'; '.join(wrong)}")


def _places(rows: Mapping[str, Any], objects: Mapping[str, Any], kept: Mapping[str, Any]) -> Table:
    table = _grid()
    if rows["traces"]:
        table.add_row("traces", f"{rows['traces']:,} of {kept['batches']:,} batches, {_span(kept)}")
        per_trace = f"{objects['bytes'] / rows['stored'] / 1000:.2f} kB a trace" if rows["stored"] else ""
        table.add_row("bytes", f"{objects['bytes'] / 1e6:,.2f} MB in {objects['live']:,} objects, {per_trace}")
        table.add_row("detail", f"{kept['full_traces']:,} full, {kept['min_traces']:,} min")
    told = {
        "errors": kept["errors"],
        "out of time": kept["deadline_hits"],
        "shortened": kept["truncated"],
        "secrets masked": kept["redactions"],
        "rows stored twice": rows["doubles"],
        "objects without manifest": objects["orphans"],
        "replaced, not removed": objects["replaced"],
    }
    for name, count in told.items():
        if count:
            table.add_row(name, f"{count:,}")
    return table


def _span(kept: Mapping[str, Any]) -> str:
    first, last = str(kept["first_recorded_at"])[:16], str(kept["last_recorded_at"])[:16]
    return f"{first.replace('T', ' ')} to {last.replace('T', ' ')} UTC"


def _spool(spool: Mapping[str, Any] | None) -> Table:
    table = _grid()
    if spool is None:
        return table
    if spool["entries"]:
        here = f"{spool['for_this_ledger']:,} for this ledger"
        waits = f"{spool['entries']:,} entries wait, {here}, {spool['bytes']:,} bytes"
        table.add_row("spool", Text(f"{waits}: redo ledger drain sends them", "yellow"))
    else:
        table.add_row("spool", "empty: nothing waits here")
    for entry in spool["quarantined"]:
        table.add_row("quarantine", Text(f"{entry['rows']:,} rows, {entry['kind']}: {entry['reason']}", "red"))
    return table


def _latency(latency: Sequence[Mapping[str, Any]]) -> Table:
    table = _columns("latency, ms", "config", "decision", right=("traces", "p50", "p95", "p99", "max", "late"))
    for record in latency:
        times = (f"{record[name]:.1f}" for name in ("p50", "p95", "p99", "max"))
        words = (record["code_version"], record["config"][:8], record["decision"])
        table.add_row(*(Text(word) for word in words), f"{record['n']:,}", *times, f"{record['deadline_hits']:,}")
    return table


def _measures(measures: Sequence[Mapping[str, Any]]) -> Table:
    table = _columns("measure", right=("A", "B", "change"))
    for record in measures:
        values = (_measured(record["measure"], record[name]) for name in ("a", "b"))
        table.add_row(
            str(record["measure"]).replace("_", " "), *values, _measured(record["measure"], record["change"], "+")
        )
    return table


def _measured(measure: str, value: float | None, sign: str = "") -> str:
    if value is None:
        return "-"
    if measure.endswith("_share"):
        return f"{100 * value:{sign}.1f} %"
    return f"{value:{sign},.2f}" if measure.endswith("_ms") else f"{value:{sign},.0f}"


def _churn(churn: Mapping[str, Any]) -> Text:
    if not churn["queries"]:
        return Text("no query is in both: selections cannot be compared", "yellow")
    return Text(
        f"{churn['queries']:,} queries are in both: {churn['same']:,} selections are the same, "
        f"{churn['reordered']:,} reordered, {churn['changed']:,} changed; "
        f"{churn['first_changed']:,} have another first passage; mean overlap {churn['mean_jaccard']:.3f}"
    )


def _changed(changed: Mapping[str, Any]) -> Table:
    table = _grid()
    table.add_row(Text(str(changed["query_id"])), f"{changed['churn']}, overlap {changed['jaccard']:.2f}")
    for sign, name in (("+", "added"), ("-", "removed")):
        if changed[name]:
            table.add_row("", Text(f"{sign} {', '.join(changed[name])}"))
    if changed["decision_a"] != changed["decision_b"]:
        table.add_row("", f"{changed['decision_a']} -> {changed['decision_b']}")
    return table


def _table(records: Sequence[Mapping[str, Any]], *, title: str | None = None) -> Table:
    """Records as they are."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1), title=title)
    table.title_justify = "left"
    for name, value in records[0].items():
        number = isinstance(value, int | float) or name == "share"
        table.add_column(name.replace("_", " "), justify="right" if number else "left", overflow="fold")
    for record in records:
        table.add_row(
            *(
                Text("-" if value is None else f"{value:,}" if isinstance(value, int) else str(value))
                for value in record.values()
            )
        )
    return table


def _columns(*left: str, right: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _grid() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table

"""What a run looks like in a terminal: the summary of a batch, in words and tables."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

OUT = Console(highlight=False)
"""What a command was asked for."""

ERRORS = Console(stderr=True, highlight=False)
"""Everything else: progress, hints, errors."""

_ID_CHARS = 12
"""So much of a trace id is printed: enough to find one among millions."""

_MEASURES = {
    "recall_correct": "correct passages selected",
    "misinfo_share": "misinformation in selection",
    "conflict_precision": "flagged conflicts are true",
    "conflict_recall": "true conflicts are flagged",
}


def show_error(message: str) -> None:
    """Print an error as one line, whatever is in it."""
    ERRORS.print(Text.assemble(("redo:", "bold red"), " ", " ".join(message.split())), soft_wrap=True)


def show_summary(summary: Mapping[str, Any], *, default_ledger: str) -> None:
    """Print the summary of a run, and what to type next."""
    OUT.print()
    OUT.print(_headline(summary))
    OUT.print(_numbers(summary))
    if summary["quality"]:
        OUT.print(_quality(summary["quality"]))
    OUT.print(_places(summary))
    OUT.print(_next(summary, default_ledger), soft_wrap=True)  # a command in two lines is two commands


def _headline(summary: Mapping[str, Any]) -> Text:
    text = Text.assemble(("batch ", "dim"), (summary["batch_id"], "bold"))
    if summary["resumed"] == summary["chunks"]:
        text.append(f"  nothing to do: all {summary['chunks']} chunks were done before", "green")
    elif summary["resumed"]:
        text.append(f"  taken up: {summary['resumed']} of {summary['chunks']} chunks were done before", "green")
    return text


def _numbers(summary: Mapping[str, Any]) -> Table:
    latency, decisions = summary["latency_ms"], summary["decisions"]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    for name in ("queries", *decisions, f"{' / '.join(latency)} ms", "budget", "quarantined"):
        table.add_column(name, justify="right", no_wrap=True)
    late = latency["p99"] > summary["budget_ms"]
    table.add_row(
        f"{summary['queries']:,}",
        *(_count(count, "bold red" if decision == "fallback" else "") for decision, count in decisions.items()),
        Text(" / ".join(f"{value:.1f}" for value in latency.values()), "red" if late else ""),
        f"{summary['budget_ms']:.0f} ms",
        _count(summary["quarantined"], "yellow"),
    )
    return table


def _count(count: int, style_if_any: str) -> Text:
    return Text(f"{count:,}", style_if_any if count else "")


def _quality(quality: Mapping[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    table.add_column("quality, 95 % interval")
    table.add_column("n", justify="right")
    for arm in quality:
        table.add_column(arm, justify="right", no_wrap=True)
    for measure, words in _MEASURES.items():
        count = max(quality[arm][measure]["n"] for arm in quality)
        table.add_row(words, f"{count:,}", *(_estimate(quality[arm][measure]) for arm in quality))
    return table


def _estimate(estimate: Mapping[str, Any]) -> str:
    if estimate["value"] is None:
        return "none flagged"
    return f"{estimate['value']:.3f} ({estimate['low']:.3f}-{estimate['high']:.3f})"


def _places(summary: Mapping[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    found = [f"{count:,} {kind}" for kind, count in summary["contradictions"].items()]
    table.add_row("contradictions", ", ".join([*found, f"{summary['ambiguities']:,} ambiguities"]))
    table.add_row("reasons", ", ".join(f"{reason} {count:,}" for reason, count in summary["reasons"].items()))
    if summary["deadline_hits"]:
        table.add_row("out of time", f"{summary['deadline_hits']:,} queries")
    if summary["without_evidence"]:
        table.add_row("without evidence", f"{summary['without_evidence']:,} queries")
    for error, count in summary["errors"].items():
        table.add_row("error", Text(f"{count:,} x {error}", "red"))
    if summary["quarantined"]:
        table.add_row("quarantine", Text(f"{summary['run_folder']}/quarantine.jsonl"))
    table.add_row("output", Text(summary["output"]))
    ledger = summary["ledger"]
    table.add_row("ledger", Text("off" if ledger is None else f"{ledger['uri']}  ({ledger['rows']:,} rows)"))
    if ledger is not None and ledger["pending"]:
        pending = f"{ledger['pending']:,} traces wait in the spool; `redo ledger drain` sends them,"
        table.add_row("", Text(f"{pending} or the same command (--batch-id {summary['batch_id']})", "yellow"))
    if ledger is not None and ledger["error"]:
        table.add_row("", Text(f"because {ledger['error']}", "yellow"))
    if ledger is not None and ledger["refused"]:
        table.add_row("", Text(f"{ledger['refused']:,} traces are lost: there was no room for them", "red"))
    if ledger is not None and ledger["quarantined"]:
        table.add_row("", Text(f"{ledger['quarantined']:,} traces are in quarantine; the ledger never has them", "red"))
    for note in summary["notes"]:
        table.add_row("note", Text(note, "yellow"))
    return table


def _next(summary: Mapping[str, Any], default_ledger: str) -> Text:
    ledger = summary["ledger"]
    if ledger is None:
        return Text("\nNext: --shadow or --flag ledger.enabled=true writes every decision to the ledger.", "dim")
    place = [] if ledger["uri"] == default_ledger else ["--ledger", ledger["uri"]]
    commands = [["redo", "ledger", "query", "select decision, count(*) from traces group by 1", *place]]
    commands += [["redo", "ledger", "show", trace_id[:_ID_CHARS], *place] for trace_id in summary["disputed"][:1]]
    return Text("\nNext:\n").append("\n".join(f"  {' '.join(map(_word, command))}" for command in commands), "cyan")


def _word(word: str) -> str:
    """The word as a shell reads it; in double quotes where these do, because SQL is full of single ones."""
    quoted = shlex.quote(word)
    return quoted if quoted == word or any(sign in word for sign in "'\"$`\\!") else f'"{word}"'


def show_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print the answer to a query as a table."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for place, column in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[place], int | float) or row[place] is None for row in rows)
        table.add_column(Text(column), justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text("null", "dim") if value is None else Text(_cell(value)) for value in row))
    OUT.print(table)
    OUT.print(Text(f"{len(rows):,} row{'' if len(rows) == 1 else 's'}", "dim"))


def _cell(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)

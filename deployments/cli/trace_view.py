"""What happened to one query, in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from deployments.cli.terminal import OUT


def show_trace(trace: Mapping[str, Any]) -> None:
    """Print one trace, for people."""
    OUT.print(_head(trace))
    OUT.print(_stages(trace["stages"]))
    OUT.print(_documents(trace["documents"], trace["selection_arm"]))
    if trace["legacy_selection"] is not None and trace["selection_arm"] == "redo":
        OUT.print(Text.assemble(("legacy selected  ", "dim"), ", ".join(trace["legacy_selection"])))
    for conflict in trace["conflicts"]:
        OUT.print(conflict_table(conflict))


def _head(trace: Mapping[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_row("query", Text(str(trace["query_text"]), "bold"))
    table.add_row("trace", Text(f"{trace['trace_id']}  (query {trace['query_id']}, batch {trace['batch_id']})"))
    table.add_row("decision", f"{trace['decision']}, because {trace['reason']}")
    late = "  out of time" if trace["deadline_hit"] else ""
    table.add_row("latency", f"{trace['latency_ms']:.1f} ms of {trace['budget_ms']:.0f} ms{late}")
    if trace["error"] is not None:
        table.add_row("error", Text(trace["error"], "red"))
    return table


def _stages(stages: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("stage", "arm"):
        table.add_column(name)
    for name in ("ms", "in", "out"):
        table.add_column(name, justify="right")
    table.add_column("")
    for stage in stages:
        counts = (str(stage["items_in"]), str(stage["items_out"]))
        note = "" if stage["complete"] else "stopped: out of time"
        table.add_row(stage["name"], stage["arm"], f"{stage['latency_ms']:.2f}", *counts, note)
    return table


def _documents(documents: Sequence[Mapping[str, Any]], arm: str) -> Table:
    title = Text(f"{arm} selection")
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0, title=title, title_justify="left")
    for name in ("place", "from", "score", "support", "tokens"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("passage", no_wrap=True)
    table.add_column("source")  # the one that gives way in a narrow terminal
    table.add_column("note", no_wrap=True)
    in_place = sorted(documents, key=lambda found: (found["rank_out"] is None, found["rank_out"], found["rank_in"]))
    for found in in_place:
        style = "" if found["selected"] else "dim"
        table.add_row(
            "-" if found["rank_out"] is None else str(found["rank_out"]),
            str(found["rank_in"]),
            "" if found["order_score"] is None else f"{found['order_score']:.3f}",
            "" if found["support"] is None else str(found["support"]),
            "" if found["tokens"] is None else str(found["tokens"]),
            Text(found["id"]),
            Text(found["source"] or "", no_wrap=True, overflow="ellipsis"),
            _note(found),
            style=style,
        )
    return table


def _note(found: Mapping[str, Any]) -> Text:
    if not found["selected"]:
        because = f" of {found['excluded_because_of']}" if found["excluded_because_of"] else ""
        return Text(f"{found['exclusion_reason']}{because}")
    if found["conflict_group"] is None:
        return Text()
    state = "open dispute" if found["disputed"] else "dispute"
    return Text(f"{state} {found['conflict_group']}", "yellow" if found["disputed"] else "")


def conflict_table(conflict: Mapping[str, Any]) -> Table:
    """A contradiction or an ambiguity: what is said on both sides, with the disputed values in bold."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    is_ambiguity = conflict["kind"] == "ambiguity"
    words = "ambiguity: two things of one name" if is_ambiguity else f"contradiction: {conflict['kind']}"
    table.add_row(
        "", Text(f"{words} ({conflict['score']:.2f}, {conflict['stage']})", "cyan" if is_ambiguity else "yellow")
    )
    for side in ("left", "right"):
        table.add_row(Text(conflict[f"{side}_passage_id"]), _marked(conflict, side))
    return table


def _marked(conflict: Mapping[str, Any], side: str) -> Text:
    """The sentence, with the value that the other side disputes in bold."""
    sentence = Text(conflict[f"{side}_sentence"])
    begin = conflict[f"{side}_sentence_start"]
    sentence.stylize("bold red", conflict[f"{side}_value_start"] - begin, conflict[f"{side}_value_end"] - begin)
    return sentence

"""`redo ledger replay`: stored traces once more, with today's code."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from core.errors import InputError
from deployments.cli.ledger import Json, Ledger, ledger_app
from deployments.cli.terminal import OUT
from tasks.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ledger.replay import Replay

_STYLES = {"same": "bold green", "different": "bold yellow", "not_reproducible": "bold"}
_SHOWN = 20


@ledger_app.command()
def replay(
    trace_id: Annotated[
        str | None, typer.Argument(help="A trace id, the beginning of one, or a query id. Default: the newest traces.")
    ] = None,
    *,
    batch: Annotated[str | None, typer.Option(help="The newest traces of this batch.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many of the newest traces.")] = 100,
    ledger: Ledger = None,
    as_json: Json = False,
) -> None:
    """Run stored traces with today's code, and explain where order, selection or conflicts differ.

    Exit code 1 where any differs.
    """
    if trace_id is not None and batch is not None:
        raise InputError("replay takes a trace or --batch, not both")
    from tasks.replay import replay_newest, replay_trace  # noqa: PLC0415 - DuckDB and PyArrow take a second to import

    uri = ledger or load_settings().ledger
    if trace_id is not None:
        replayed = [replay_trace(uri, trace_id)]
    else:
        replayed = replay_newest(uri, batch_id=batch, limit=limit)
    if as_json:
        print(json.dumps([item.as_dict() for item in replayed]))  # noqa: T201 - exactly this, whatever the terminal
    else:
        _show(replayed, every=trace_id is not None)
    if any(item.differences for item in replayed):
        raise typer.Exit(1)


def _show(replayed: Sequence[Replay], *, every: bool) -> None:
    shown = [item for item in replayed if every or item.differences]
    for item in shown[:_SHOWN]:
        OUT.print(_headline(item))
        for difference in item.differences:
            OUT.print(Text(f"  {difference.about:<9}  {difference.subject}  {difference.text}"))
        for reason in item.because:
            OUT.print(Text(f"  {'because' if item.outcome == 'not_reproducible' else 'note'}: {reason}", "dim"))
    if len(shown) > _SHOWN:
        OUT.print(Text(f"and {len(shown) - _SHOWN:,} more that differ", "yellow"))
    if every:
        return
    counts = Counter(item.outcome.value for item in replayed)
    OUT.print(", ".join(f"{counts[name]:,} {name.replace('_', ' ')}" for name in _STYLES))
    reasons = Counter(reason for item in replayed if item.outcome == "not_reproducible" for reason in item.because)
    for reason, count in reasons.most_common(_SHOWN):
        OUT.print(Text(f"{count:,} not reproducible: {reason}", "dim"))


def _headline(item: Replay) -> Text:
    words = item.outcome.value.replace("_", " ")
    about = f"  {item.trace_id}  (query {item.query_id}, batch {item.batch_id}, {item.arm} selection)"
    return Text.assemble((words, _STYLES[item.outcome.value]), about)
